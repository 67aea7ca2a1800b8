//! Registers by the HTML form and signs in as any OpenID Connect client does.

use anyhow::{Context, Result, bail};

use crate::demo::api::{Api, text};
use crate::demo::browser::Landed;
use crate::demo::form::{self, Form};
use crate::demo::sign_in::SignIn;
use crate::demo::story::Story;

pub async fn run(story: &mut Story) -> Result<String> {
    let client = story.suite.client()?;
    let sign_in = SignIn::begin(client.clone(), &story.suite.url).await?;
    // The authorization endpoint sends a stranger to the sign-in page; there is a link to register.
    let (_, page) = story.browser.open(sign_in.authorize.as_str()).await?.page()?;
    Form::with(&page, "password").context("the sign-in page")?;
    let mut links = page.split("href=\"").skip(1).filter_map(|l| l.split('"').next());
    let link = links.find(|l| l.starts_with("/register")).context("the sign-in page has no link to register")?;
    let (url, page) = story.browser.open(&link.replace("&amp;", "&").replace("&#x2f;", "/")).await?.page()?;
    let fields = [
        ("username", story.user.as_str()),
        ("email", &format!("{}@example.org", story.user)),
        ("password", &story.password),
        ("display_name", "Demo Developer"),
    ];
    let filled = fields.iter().fold(Form::with(&page, "email")?, |form, (name, value)| form.fill(name, value));
    let mut landed = story.browser.submit(&url, filled, None).await?;
    // Whether registering signs in at once or leads back to the sign-in page is the platform's choice.
    if let Landed::Page { url, html, .. } = &landed {
        if Form::with(html, "email").is_ok() {
            bail!("registration refused: {}", form::text(html));
        }
        if let Ok(form) = Form::with(html, "password") {
            let (url, form) = (url.clone(), form.fill("username", &story.user).fill("password", &story.password));
            landed = story.browser.submit(&url, form, None).await?;
        }
    }
    let tokens = sign_in.finish(&mut story.browser, landed).await?;
    story.api = Some(Api::new(client, &story.suite.url, tokens.access));
    let me = story.api()?.get("/api/v1/me").await?;
    anyhow::ensure!(text(&me, "username") == story.user, "/me says {me}");
    Ok(format!("{} is {}, ID token for {}", story.user, text(&me, "subject"), text(&tokens.claims, "sub")))
}
