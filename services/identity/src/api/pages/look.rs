//! What every page has around its contents: the look of the organisation that somebody comes for, and the switch of the
//! language. Worked out once for each request, before the page's own handler; a task's own value carries it to `render`.

use std::borrow::Cow;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use gantry_kernel::Problem;
use http::{HeaderMap, Method};
use minijinja::{Value, context};

use super::{cookie, encoded, safe_continue, see_other};
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::branding::{For, Shown};
use crate::domain::branding::support_link;
use crate::domain::language::Language;

const BRAND_COOKIE: &str = "__Host-gantry_brand";
const LANGUAGE_COOKIE: &str = "__Host-gantry_language";
const YEAR: time::Duration = time::Duration::days(365);

/// Pages that can be asked for again after their form was sent.
const ASKABLE: [&str; 5] = ["/login", "/login/second", "/login/enrol", "/login/forgotten", "/register"];

tokio::task_local! {
    static LOOK: Look;
}

struct Look {
    brand: Option<Shown>,
    path: String,
    /// Of a page that was asked for; none: a form was sent.
    query: Option<Form>,
}

/// The language that somebody chose in this browser.
pub fn chosen(headers: &HeaderMap) -> Option<Language> {
    Language::from_ui_locales(CookieJar::from_headers(headers).get(LANGUAGE_COOKIE)?.value())
}

/// Wraps the pages.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let query = Form::parse(request.uri().query().unwrap_or_default().as_bytes());
    let jar = CookieJar::from_headers(request.headers());
    let asked = request.method() == Method::GET;
    if let Some(language) = query.get("lang").filter(|_| asked).and_then(Language::from_ui_locales) {
        let mut kept = cookie(LANGUAGE_COOKIE, language.tag().to_owned());
        kept.set_max_age(YEAR);
        return (CookieJar::new().add(kept), see_other(&with(&path, &query, None))).into_response();
    }
    let before = jar.get(BRAND_COOKIE).map(|c| c.value().to_owned()).filter(|name| !name.is_empty());
    let known = if asked { found(&app, &path, &query).await } else { Ok(None) };
    let known = match known {
        Ok(Some(known)) => Ok(known),
        Ok(None) => match &before {
            Some(name) => app.brand_for(For::Named(name)).await,
            None => Ok(None),
        },
        Err(problem) => Err(problem),
    };
    // Without it the page does all that it should.
    let brand = known.unwrap_or_else(|problem| {
        tracing::warn!(error = problem.chain(), "the look of a sign-in page could not be read");
        None
    });
    let after = brand.as_ref().map(|b| b.org.clone());
    let look = Look { brand, path, query: asked.then_some(query) };
    let response = LOOK.scope(look, next.run(request)).await;
    if before == after {
        return response;
    }
    let mut kept = cookie(BRAND_COOKIE, after.unwrap_or_default());
    if kept.value().is_empty() {
        kept.make_removal();
    }
    (CookieJar::new().add(kept), response).into_response()
}

/// The look that the address of a page asks for; `Some(None)`: the platform's own; `None`: it does not say.
async fn found(app: &App, path: &str, query: &Form) -> Result<Option<Option<Shown>>, Problem> {
    // One that is empty names none.
    if let Some((_, name)) = query.0.iter().find(|(n, _)| n == "org") {
        return app.brand_for(For::Named(name)).await.map(Some);
    }
    let request = query.get("continue").and_then(|to| safe_continue(Some(to)).strip_prefix("/oauth2/authorize?"));
    let request = request.map(|r| Form::parse(r.as_bytes()));
    if let Some(name) = request.as_ref().and_then(|r| r.get("org")) {
        return app.brand_for(For::Named(name)).await.map(Some);
    }
    // Whose domain an address is in, an administrator of the platform has said.
    let hint = query.get("login_hint").or_else(|| request.as_ref().and_then(|r| r.get("login_hint"))).filter(|h| h.len() <= 254);
    if let Some(hint) = hint
        && let Some(org) = app.realm_of(hint).await?.and_then(|by| by.org)
    {
        return app.brand_for(For::Org(org)).await.map(Some);
    }
    let client = match request.as_ref().and_then(|r| r.get("client_id")) {
        Some(client) => app.clients.get(client).await?,
        None => None,
    };
    match client.as_ref().map(|c| c.org) {
        Some(Some(org)) => app.brand_for(For::Org(org)).await.map(Some),
        // Another tenant's look of an hour ago is not the look of this sign-in.
        Some(None) if path == "/login" => Ok(Some(None)),
        _ => Ok(None),
    }
}

/// What `frame.html` needs; `continue` is where the page leads to.
pub fn value(language: Language, to: Option<&str>) -> Value {
    // Pages of the protocol's endpoints have neither.
    LOOK.try_with(|look| context! { brand => look.brand.as_ref().map(|b| shown(b, language)), switch => switch(look, language, to) })
        .unwrap_or_else(|_| context! {})
}

fn shown(it: &Shown, language: Language) -> Value {
    let branding = &it.branding;
    let notice = match language {
        Language::Chinese => branding.notice_zh.as_ref().or(branding.notice_en.as_ref()),
        Language::English => branding.notice_en.as_ref().or(branding.notice_zh.as_ref()),
    };
    let colours = branding.accent.is_some() || branding.accent_dark.is_some();
    let logo = it.logo.as_ref().map(|l| context! { src => format!("/oauth2/brand/{}/{}", it.org, l.sha256), width => l.width, height => l.height });
    context! {
        title => branding.title.as_deref().unwrap_or(&it.org), named => branding.title.is_some(), logo, notice,
        style => colours.then(|| format!("/oauth2/brand/{}/{}.css", it.org, it.version)),
        support => branding.support.as_ref(), support_link => branding.support.as_deref().and_then(support_link),
        privacy => branding.privacy_url.as_ref(), terms => branding.terms_url.as_ref(),
    }
}

/// The address of this page in the other language.
fn switch(look: &Look, language: Language, to: Option<&str>) -> Option<Value> {
    let (tag, shown) = match language {
        Language::Chinese => ("en", "English"),
        Language::English => ("zh-CN", "中文"),
    };
    let onward = to.filter(|to| !to.is_empty() && *to != "/");
    let href = match &look.query {
        // An answer of a provider is good for once.
        Some(_) if look.path.ends_with("/callback") => return None,
        Some(query) => with(&look.path, query, Some(tag)),
        None if ASKABLE.contains(&look.path.as_str()) => match onward {
            Some(to) => format!("{}?continue={}&lang={tag}", look.path, encoded(to)),
            None => format!("{}?lang={tag}", look.path),
        },
        None => return None,
    };
    Some(context! { href, tag, shown })
}

/// The same page with another language, or with none said.
fn with(path: &str, query: &Form, language: Option<&str>) -> String {
    let mut all = url::form_urlencoded::Serializer::new(String::new());
    all.extend_pairs(query.0.iter().filter(|(n, _)| n != "lang" && n != "ui_locales"));
    if let Some(language) = language {
        all.append_pair("lang", language);
    }
    let all = all.finish();
    // A path of ours begins with one slash; two would be another host.
    let path: Cow<'_, str> = if path.starts_with("//") { "/".into() } else { path.into() };
    if all.is_empty() { path.into_owned() } else { format!("{path}?{all}") }
}
