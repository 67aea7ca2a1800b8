//! Registers by the HTML form and signs in as any OpenID Connect client does.

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::demo::api::{Api, text};
use crate::demo::browser::Landed;
use crate::demo::form::Form;
use crate::demo::story::Story;

/// A client of the command line's kind: public, with a redirect to a port of this machine (nobody listens; we read the address).
const CLIENT: &str = "gantry-cli";
const REDIRECT: &str = "http://127.0.0.1:49152/callback";

pub async fn run(story: &mut Story) -> Result<String> {
    let client = story.suite.client()?;
    let discovery: Value = client.get(format!("{}/.well-known/openid-configuration", story.suite.url)).send().await?.error_for_status()?.json().await?;
    let random = || uuid::Uuid::new_v4().simple().to_string();
    let (verifier, state, nonce) = (format!("{}{}", random(), random()), random(), random());
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
    let mut authorize = url::Url::parse(text(&discovery, "authorization_endpoint")).context("no authorization endpoint")?;
    authorize.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("redirect_uri", REDIRECT),
        ("scope", "openid profile email offline_access api"),
        ("state", &state),
        ("nonce", &nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    // The authorization endpoint sends a stranger to the sign-in page; there is a link to register.
    let (_, page) = story.browser.open(authorize.as_str()).await?.page()?;
    Form::with(&page, "password").context("the sign-in page")?;
    let link = page.split("href=\"").skip(1).filter_map(|l| l.split('"').next()).find(|l| l.starts_with("/register")).context("the sign-in page has no link to register")?;
    let (url, page) = story.browser.open(&link.replace("&amp;", "&")).await?.page()?;
    let form = Form::with(&page, "email")?;
    let again: Vec<String> = form.fields.iter().map(|(n, _)| n.clone()).filter(|n| n.starts_with("password") && n != "password").collect();
    let mut form = form.fill("username", &story.user).fill("email", &format!("{}@example.org", story.user)).fill("password", &story.password).fill("display_name", "Demo Developer");
    for name in again {
        form = form.fill(&name, &story.password);
    }
    let mut landed = story.browser.submit(&url, form, None).await?;
    // Whether registering signs in at once or leads back to the sign-in page is the platform's choice.
    if let Landed::Page { url, html, .. } = &landed
        && let Ok(form) = Form::with(html, "password")
    {
        if html.contains("name=\"email\"") {
            bail!("registration refused: {}", crate::demo::form::text(html));
        }
        let (url, form) = (url.clone(), form.fill("username", &story.user).fill("password", &story.password));
        landed = story.browser.submit(&url, form, None).await?;
    }
    if matches!(landed, Landed::Page { .. }) {
        landed = story.browser.open(authorize.as_str()).await?;
    }
    let back = match landed {
        Landed::Away(url) => url,
        Landed::Page { url, html, .. } => bail!("no code: the browser is at {url}: {}", crate::demo::form::text(&html)),
    };
    let answer = |key: &str| back.query_pairs().find(|(k, _)| k == key).map(|(_, v)| v.into_owned());
    anyhow::ensure!(answer("state").as_deref() == Some(state.as_str()), "another state came back: {back}");
    let code = answer("code").with_context(|| format!("no code came back: {back}"))?;
    let fields = [("grant_type", "authorization_code"), ("client_id", CLIENT), ("redirect_uri", REDIRECT), ("code", &code), ("code_verifier", &verifier)];
    let endpoint = text(&discovery, "token_endpoint");
    let wrong = [&fields[..4], &[("code_verifier", "not-the-verifier-not-the-verifier-not-the-verifier")]].concat();
    anyhow::ensure!(!client.post(endpoint).form(&wrong).send().await?.status().is_success(), "the code was taken without its PKCE verifier");
    let tokens = client.post(endpoint).form(&fields).send().await?;
    // A server may end the code at the first wrong try; then a fresh one is asked for.
    let tokens: Value = if tokens.status().is_success() {
        tokens.json().await?
    } else {
        let Landed::Away(back) = story.browser.open(authorize.as_str()).await? else { bail!("the session is not kept") };
        let code = back.query_pairs().find(|(k, _)| k == "code").map(|(_, v)| v.into_owned()).context("no code")?;
        let fields = [&fields[..3], &[("code", code.as_str()), ("code_verifier", verifier.as_str())]].concat();
        client.post(endpoint).form(&fields).send().await?.error_for_status()?.json().await?
    };
    let claims = payload(text(&tokens, "id_token"))?;
    anyhow::ensure!(text(&claims, "nonce") == nonce, "the ID token has another nonce");
    anyhow::ensure!(text(&claims, "iss") == story.suite.url, "the ID token is by {}", claims["iss"]);
    story.api = Some(Api::new(client, &story.suite.url, text(&tokens, "access_token").to_owned()));
    let me = story.api()?.get("/api/v1/me").await?;
    anyhow::ensure!(text(&me, "username") == story.user, "/me says {me}");
    Ok(format!("{} is {}, sub {}", story.user, text(&me, "subject"), text(&claims, "sub")))
}

/// The claims of a token that came straight from its issuer over TLS (OpenID Connect Core 3.1.3.7, number 6).
fn payload(token: &str) -> Result<Value> {
    let part = token.split('.').nth(1).context("no ID token")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
}
