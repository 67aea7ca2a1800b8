//! Pages for people: rendered here, without script, in Chinese and English. Every form carries a value tied to the
//! browser's cookie, and every answer forbids framing, foreign content and caching.

mod account;
mod brand;
mod certificate;
mod consent;
mod device;
mod enrol;
mod forgotten;
mod invitation;
mod login;
mod logout;
mod look;
mod passkey;
mod register;
pub mod step;
mod texts;
mod upstream;

use std::sync::LazyLock;

use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use minijinja::{Environment, Value, context};
use url::Url;

use crate::app::App;
use crate::app::secrets::fresh;
use crate::domain::language::Language;

pub const SESSION_COOKIE: &str = "__Host-gantry_session";
pub(crate) const DEVICE_COOKIE: &str = "__Host-gantry_device";
const FORM_COOKIE: &str = "__Host-gantry_form";

const STYLE: &str = include_str!("../../templates/style.css");

const SCRIPT: &str = include_str!("../../templates/pages.js");

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut all = Environment::new();
    for (name, text) in [
        ("frame.html", include_str!("../../templates/frame.html")),
        ("consent.html", include_str!("../../templates/consent.html")),
        ("form_post.html", include_str!("../../templates/form_post.html")),
        ("login.html", include_str!("../../templates/login.html")),
        ("register.html", include_str!("../../templates/register.html")),
        ("second.html", include_str!("../../templates/second.html")),
        ("account.html", include_str!("../../templates/account.html")),
        ("totp.html", include_str!("../../templates/totp.html")),
        ("codes.html", include_str!("../../templates/codes.html")),
        ("token.html", include_str!("../../templates/token.html")),
        ("erased.html", include_str!("../../templates/erased.html")),
        ("forgotten.html", include_str!("../../templates/forgotten.html")),
        ("reset.html", include_str!("../../templates/reset.html")),
        ("invitation.html", include_str!("../../templates/invitation.html")),
        ("device.html", include_str!("../../templates/device.html")),
        ("logout.html", include_str!("../../templates/logout.html")),
        ("confirm.html", include_str!("../../templates/confirm.html")),
        ("message.html", include_str!("../../templates/message.html")),
        ("ways.html", include_str!("../../templates/ways.html")),
        ("onward.html", include_str!("../../templates/onward.html")),
        ("links.html", include_str!("../../templates/links.html")),
        ("certificate.html", include_str!("../../templates/certificate.html")),
    ] {
        all.add_template(name, text).expect("the templates are part of the program and tested");
    }
    all
});

/// `app`: what the look of the pages is read from.
pub fn router(app: App) -> Router<App> {
    Router::new()
        .route("/login", get(login::show).post(login::submit))
        .route("/login/second", get(step::show).post(step::submit))
        .route("/account", get(account::show))
        .route("/account/{verb}", axum::routing::post(account::submit))
        .route("/login/passkey", axum::routing::post(passkey::submit))
        .route("/login/passkey/challenge", axum::routing::post(passkey::challenge))
        .route("/login/enrol", get(enrol::show).post(enrol::submit))
        .route("/login/forgotten", get(forgotten::show).post(forgotten::submit))
        .route("/login/reset", get(forgotten::show_reset).post(forgotten::submit_reset))
        .route("/register/invitation", get(invitation::show).post(invitation::submit))
        .merge(upstream::router())
        .merge(certificate::router())
        .route("/register", get(register::show).post(register::submit))
        .route("/register/confirm", get(register::show_confirm).post(register::confirm))
        .route("/oauth2/consent", get(consent::show).post(consent::submit))
        .route("/oauth2/device", get(device::show).post(device::submit))
        .route("/oauth2/logout", get(logout::show).post(logout::submit))
        .route("/logout", get(logout::show).post(logout::submit))
        .layer(axum::middleware::from_fn_with_state(app, look::layer))
        .merge(brand::router())
        .route("/oauth2/pages.js", get(|| async { ([(header::CONTENT_TYPE, "text/javascript"), (header::CACHE_CONTROL, "public, max-age=3600")], SCRIPT) }))
        .route("/oauth2/style.css", get(|| async { ([(header::CONTENT_TYPE, "text/css"), (header::CACHE_CONTROL, "public, max-age=3600")], STYLE) }))
}

/// What the person chose in this browser; else `ui_locales` if it names a language we have, else the browser's wish.
pub fn language(headers: &HeaderMap, ui_locales: Option<&str>) -> Language {
    let wish = || headers.get(header::ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok()).and_then(Language::from_accept_language);
    look::chosen(headers).or_else(|| ui_locales.and_then(Language::from_ui_locales)).or_else(wish).unwrap_or_default()
}

pub fn see_other(to: &str) -> Response {
    let location = HeaderValue::try_from(to).unwrap_or_else(|_| HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))]).into_response()
}

/// A page that only says something. `reason` is shown as it is (for developers), `key` names the text for people.
pub fn message(language: Language, status: StatusCode, key: &str, reason: &str) -> Response {
    render(language, status, "message.html", context! { key, reason }, &[])
}

/// A page with our script, which it works without as well.
fn render_scripted(app: &App, language: Language, status: StatusCode, template: &str, values: Value, targets: &[String]) -> Response {
    let nonce = fresh(&app.host.env, "");
    let mut response = render(language, status, template, context! { nonce => nonce.clone(), ..values }, targets);
    let headers = response.headers_mut();
    let policy = headers.get(header::CONTENT_SECURITY_POLICY).and_then(|p| p.to_str().ok()).unwrap_or("default-src 'none'");
    if let Ok(policy) = HeaderValue::try_from(format!("{policy}; script-src 'nonce-{nonce}'; connect-src 'self'; worker-src 'none'")) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// `Retry-After`, if the problem says when.
fn retry_after(response: &mut Response, problem: &gantry_kernel::Problem) {
    if let Some(after) = problem.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
}

/// `targets`: other origins that the page's form may lead to (a redirect after a form counts as such).
fn render(language: Language, status: StatusCode, template: &str, values: Value, targets: &[String]) -> Response {
    let to = values.get_attr("continue").ok();
    let page = context! { lang => language.tag(), t => texts::value(language), look => look::value(language, to.as_ref().and_then(Value::as_str)), ..values };
    let html = match TEMPLATES.get_template(template).and_then(|t| t.render(page)) {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(error = %error, template, "a page could not be rendered");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let targets: String = targets.iter().map(|t| format!(" {t}")).collect();
    let policy = format!("default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'{targets}; frame-ancestors 'none'; base-uri 'none'");
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'")));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    response
}

/// An answer that the browser sends on as a form (OAuth 2.0 Form Post Response Mode). The script sends it; without
/// script there is a button. `target`: see [`target_of`].
pub fn form_post(to: &str, target: &str, pairs: &[(&str, &str)]) -> Response {
    const SCRIPT: &str = "document.forms[0].submit()";
    let digest = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, <sha2::Sha256 as sha2::Digest>::digest(SCRIPT));
    let rendered = TEMPLATES.get_template("form_post.html").and_then(|t| {
        t.render(context! { to, pairs => pairs.iter().map(|(n, v)| vec![(*n).to_owned(), (*v).to_owned()]).collect::<Vec<_>>(), script => SCRIPT })
    });
    let Ok(html) = rendered else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let policy = format!("default-src 'none'; script-src 'sha256-{digest}'; form-action {target}; frame-ancestors 'none'; base-uri 'none'");
    let mut response = Html(html).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'")));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn cookie(name: &'static str, value: String) -> Cookie<'static> {
    Cookie::build((name, value)).path("/").secure(true).http_only(true).same_site(SameSite::Lax).build()
}

/// The browser's form cookie, made if it has none, and the field that goes with it.
fn form_seal(app: &App, jar: CookieJar) -> (CookieJar, String) {
    let (jar, value) = match jar.get(FORM_COOKIE).map(|c| c.value().to_owned()).filter(|v| v.len() >= 32) {
        Some(value) => (jar, value),
        None => {
            let value = fresh(&app.host.env, "");
            (jar.add(cookie(FORM_COOKIE, value.clone())), value)
        }
    };
    let field = app.forms.field(&value);
    (jar, field)
}

/// Whether a form was sent from a page of ours in this browser.
fn form_fits(app: &App, jar: &CookieJar, field: Option<&str>) -> bool {
    jar.get(FORM_COOKIE).zip(field).is_some_and(|(cookie, field)| app.forms.fits(cookie.value(), field))
}

/// Where to go after a page: only to our own authorization and device pages, or the console.
fn safe_continue(to: Option<&str>) -> &str {
    let ours = |to: &&str| {
        (to.starts_with("/oauth2/authorize?")
            || to.starts_with("/oauth2/device")
            || *to == "/account"
            || to.starts_with("/account/")
            || to.starts_with("/register/invitation?"))
            && !to.contains(['\\', '\r', '\n'])
    };
    to.filter(ours).unwrap_or("/")
}

/// `to` as the value of a query parameter.
fn encoded(to: &str) -> String {
    url::form_urlencoded::byte_serialize(to.as_bytes()).collect()
}

/// How a page's policy (CSP `form-action`) names the place that a form leads to. The schemes of programs (RFC 8252 section 7.1) have no
/// origin, and an address in brackets is no host there: these go by their scheme.
pub fn target_of(url: &Url) -> String {
    let origin = url.origin();
    let named = origin.is_tuple() && !matches!(url.host(), Some(url::Host::Ipv6(_)));
    if named { origin.ascii_serialization() } else { format!("{}:", url.scheme()) }
}

/// The place of the client that `to`, an authorization request, will lead to.
async fn client_origins(app: &App, to: &str) -> Vec<String> {
    let Some(query) = to.strip_prefix("/oauth2/authorize?") else { return Vec::new() };
    let form = crate::api::oauth::form::Form::parse(query.as_bytes());
    let Ok(Ok(it)) = crate::api::oauth::authorize::asked(app, &form).await else { return Vec::new() };
    Url::parse(&it.request.redirect_uri).iter().map(target_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_renders_in_both_languages_and_escapes() {
        for language in [Language::English, Language::Chinese] {
            for name in [
                "login.html",
                "consent.html",
                "second.html",
                "account.html",
                "totp.html",
                "codes.html",
                "token.html",
                "erased.html",
                "forgotten.html",
                "reset.html",
                "invitation.html",
                "register.html",
                "device.html",
                "logout.html",
                "confirm.html",
                "message.html",
                "onward.html",
                "links.html",
                "certificate.html",
            ] {
                let values = context! {
                    key => "bad_request", reason => "<script>", csrf => "x", continue => "/", again => "%2F", username => "<b>", email => "", display_name => "", token => "t",
                    error => "wrong_password", closed => false, user_code => "", client => "<i>", scopes => vec!["openid"], step => "decide", person => "ada",
                    totp => true, passkey => true, secret => "<i>", picture => "", org => "<b>", detail => "<i>", captcha => context! { token => "<b>", bits => 16, picture => "<b>" }, pending => "<b>", label => "<b>", codes => vec!["<b>"], name => "<i>", to => "/", values => 3, readable => 0,
                    factors => vec![context! { id => "1", kind => "totp", label => "<b>", created => "x" }], sessions => vec![context! { agent => "<script>" }],
                    tokens => vec![context! { name => "<b>" }], apps => vec![context! { name => "<i>" }],
                    ways => context! { buttons => vec![vec!["a", "<b>"]], realms => true }, shown => "<b>", certificate => true, home => "/<b>", onward => "/<i>", certificates => vec![context! { id => "1", label => "<b>", until => "<i>", subject => "<b>" }], links => vec![context! { id => "1", shown => "<b>", subject => "<i>" }],
                    more => vec![context! { name => "a", shown => "<b>", directory => true }],
                };
                let look = context! {
                    brand => context! { title => "<b>", named => true, notice => "<i>", style => "/s.css", support => "<b>", support_link => "mailto:<b>", privacy => "<i>", terms => "<b>", logo => context! { src => "/<b>", width => 1, height => 1 } },
                    switch => context! { href => "/login?<b>", tag => "en", shown => "<i>" },
                };
                let page = context! { lang => language.tag(), t => texts::value(language), look, ..values };
                let html = TEMPLATES.get_template(name).unwrap().render(page).unwrap();
                assert!(html.contains(&format!("lang=\"{}\"", language.tag())), "{name}");
                for raw in ["<script", "<b>", "<i>"] {
                    assert!(!html.contains(raw), "{name}: {raw}");
                }
                assert!(!html.contains("{{"), "{name}");
            }
        }
    }

    #[test]
    fn a_form_may_lead_to_every_place_that_a_client_can_register() {
        for (address, target) in [
            ("https://shop.example/cb?x=1", "https://shop.example"),
            ("https://shop.example:8443/cb", "https://shop.example:8443"),
            ("http://127.0.0.1:4711/cb", "http://127.0.0.1:4711"),
            ("http://[::1]:4711/cb", "http:"),
            ("org.example.app:/cb", "org.example.app:"),
            ("org.example.app://cb", "org.example.app:"),
        ] {
            assert_eq!(target_of(&Url::parse(address).unwrap()), target);
        }
    }

    #[test]
    fn only_our_own_pages_follow() {
        assert_eq!(safe_continue(Some("/oauth2/authorize?client_id=x")), "/oauth2/authorize?client_id=x");
        for bad in ["https://evil.example", "//evil.example", "/\\evil.example", "/oauth2/authorize", "/oauth2/authorize?\r\nx", "/other"] {
            assert_eq!(safe_continue(Some(bad)), "/", "{bad}");
        }
    }
}
