//! The sign-in page.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use gantry_kernel::{Kind, Problem, Secret};
use http::{HeaderMap, StatusCode};
use minijinja::context;

use super::{client_origins, encoded, form_fits, form_seal, language, render_scripted, safe_continue, step};
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::captcha::Captcha;
use crate::app::signin::Origin;
use crate::app::steps::Evidence;
use crate::config::Registration;
use crate::domain::language::Language;

pub async fn show(State(app): State<App>, jar: CookieJar, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    let language = language(&headers, query.get("ui_locales"));
    page(&app, jar, language, StatusCode::OK, query.get("continue"), query.get("login_hint"), None, None).await
}

pub async fn submit(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, form: Form) -> Response {
    let language = language(&headers, form.get("ui_locales"));
    let (to, name) = (form.get("continue"), form.get("username"));
    let again = async |jar, status, error, captcha| page(&app, jar, language, status, to, name, Some(error), captcha).await;
    if !form_fits(&app, &jar, form.get("csrf")) {
        return again(jar, StatusCode::BAD_REQUEST, "expired_form", None).await;
    }
    let text = |field: &str| form.get(field).unwrap_or_default();
    // Before anything is asked for: a flood is sent away for as little as can be. And before the captcha, which counts once: whoever is told
    // to come back has not used theirs up.
    let place = match app.hasher.enter() {
        Ok(place) => place,
        Err(problem) => {
            let captcha = app.captcha_again(text("captcha"), text("digits")).await;
            return refused(again(jar, problem.kind.status(), "busy", captcha).await, problem);
        }
    };
    let typed = name.unwrap_or_default();
    if app.wants_captcha(typed, &origin.address).await && !app.captcha_fits(text("captcha"), text("work"), text("digits")).await {
        let captcha = app.new_captcha().await.ok();
        return again(jar, StatusCode::FORBIDDEN, "captcha_needed", captcha).await;
    }
    let password = Secret::new(form.get("password").unwrap_or_default());
    let (person, rules) = match app.prove_password(place, typed, &password, &origin).await {
        Ok(proved) => proved,
        Err(problem) => {
            let (status, error) = explain(&problem);
            let captcha = if app.wants_captcha(typed, &origin.address).await { app.new_captcha().await.ok() } else { None };
            return refused(again(jar, status, error, captcha).await, problem);
        }
    };
    step::after_first_under(&app, jar, language, &person, &origin, &Evidence::by("pwd"), &rules, to).await
}

fn refused(mut page: Response, problem: Problem) -> Response {
    super::retry_after(&mut page, &problem);
    page.extensions_mut().insert(problem);
    page
}

fn explain(problem: &Problem) -> (StatusCode, &'static str) {
    match (problem.kind, problem.code) {
        (Kind::Unauthenticated, _) => (StatusCode::UNAUTHORIZED, "wrong_password"),
        (Kind::TooMany, _) => (StatusCode::TOO_MANY_REQUESTS, "too_many"),
        (Kind::Unavailable, "identity.directory_unavailable") => (StatusCode::SERVICE_UNAVAILABLE, "directory_down"),
        (Kind::Conflict, "identity.link_needed") => (StatusCode::CONFLICT, "link_needed"),
        (Kind::Forbidden, "identity.not_admitted") => (StatusCode::FORBIDDEN, "not_admitted"),
        (kind, "identity.policy") => (kind.status(), "by_policy"),
        (kind, _) => (kind.status(), "failed"),
    }
}

#[allow(clippy::too_many_arguments, reason = "what the page shows, each once")]
pub(super) async fn page(
    app: &App,
    jar: CookieJar,
    language: Language,
    status: StatusCode,
    to: Option<&str>,
    name: Option<&str>,
    error: Option<&str>,
    captcha: Option<Captcha>,
) -> Response {
    let (jar, csrf) = form_seal(app, jar);
    let to = safe_continue(to);
    let origins = client_origins(app, to).await;
    let open = app.config.registration == Registration::Open;
    let values = context! { csrf, continue => to, again => encoded(to), username => name.unwrap_or_default(), error, open, ways => ways_of(app), certificate => app.config.certificates_url.is_some(), captcha => captcha.map(|c| context! { token => c.token, bits => c.bits, picture => c.picture, typed => c.typed }) };
    (jar, render_scripted(app, language, status, "login.html", values, &origins)).into_response()
}

fn ways_of(app: &App) -> minijinja::Value {
    let ways = app.upstreams.ways();
    let buttons: Vec<_> = ways.buttons.into_iter().map(|(name, shown)| vec![name, shown]).collect();
    context! { buttons, realms => ways.realms }
}
