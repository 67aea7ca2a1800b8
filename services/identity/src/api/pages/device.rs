//! The page where a person connects a device (RFC 8628 section 3.3).

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use gantry_kernel::Problem;
use http::{HeaderMap, StatusCode};
use minijinja::context;

use super::{SESSION_COOKIE, form_fits, form_seal, language, message, render, see_other};
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::people::Person;
use crate::app::signin::Origin;
use crate::domain::language::Language;
use crate::store::sessions::Session;

pub async fn show(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    let language = language(&headers, query.get("ui_locales"));
    let code = query.get("user_code");
    match signed_in(&app, &jar).await {
        Ok(Some((_, person))) => step(&app, jar, language, &person, code, &origin).await,
        Ok(None) => to_login(code),
        Err(problem) => message(language, problem.kind.status(), "failed", &problem.detail),
    }
}

pub async fn submit(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, form: Form) -> Response {
    let language = language(&headers, form.get("ui_locales"));
    let code = form.get("user_code");
    let (session, person) = match signed_in(&app, &jar).await {
        Ok(Some(found)) => found,
        Ok(None) => return to_login(code),
        Err(problem) => return message(language, problem.kind.status(), "failed", &problem.detail),
    };
    if !form_fits(&app, &jar, form.get("csrf")) {
        return message(language, StatusCode::BAD_REQUEST, "expired_form", "");
    }
    let approve = match form.get("decision") {
        Some("approve") => true,
        Some("deny") => false,
        _ => return step(&app, jar, language, &person, code, &origin).await,
    };
    match app.decide_device(code.unwrap_or_default(), approve, &session, &origin).await {
        Ok(true) => message(language, StatusCode::OK, if approve { "device_approved" } else { "device_denied" }, ""),
        Ok(false) => enter(&app, jar, language, &person, code, Some("unknown_code")),
        Err(problem) => {
            let mut response = message(language, problem.kind.status(), "failed", &problem.detail);
            super::retry_after(&mut response, &problem);
            response
        }
    }
}

async fn signed_in(app: &App, jar: &CookieJar) -> Result<Option<(Session, Person)>, Problem> {
    match jar.get(SESSION_COOKIE) {
        Some(cookie) => app.session(cookie.value()).await,
        None => Ok(None),
    }
}

fn to_login(code: Option<&str>) -> Response {
    let again = code.map_or_else(
        || "/oauth2/device".to_owned(),
        |code| format!("/oauth2/device?{}", url::form_urlencoded::Serializer::new(String::new()).append_pair("user_code", code).finish()),
    );
    let to = url::form_urlencoded::Serializer::new(String::new()).append_pair("continue", &again).finish();
    see_other(&format!("/login?{to}"))
}

/// Asks for the code, or, if there is one, for the decision.
async fn step(app: &App, jar: CookieJar, language: Language, person: &Person, code: Option<&str>, origin: &Origin) -> Response {
    let Some(code) = code else { return enter(app, jar, language, person, None, None) };
    match app.pending_device(code, origin).await {
        Ok(Some((client, scope))) => {
            let (jar, csrf) = form_seal(app, jar);
            let scopes: Vec<String> = scope.split(' ').map(str::to_owned).collect();
            let values = context! { csrf, step => "decide", user_code => code, client, scopes, person => person.username.clone() };
            (jar, render(language, StatusCode::OK, "device.html", values, &[])).into_response()
        }
        Ok(None) => enter(app, jar, language, person, Some(code), Some("unknown_code")),
        Err(problem) => message(language, problem.kind.status(), "too_many", ""),
    }
}

fn enter(app: &App, jar: CookieJar, language: Language, person: &Person, code: Option<&str>, error: Option<&str>) -> Response {
    let (jar, csrf) = form_seal(app, jar);
    let status = if error.is_some() { StatusCode::NOT_FOUND } else { StatusCode::OK };
    let values = context! { csrf, step => "enter", user_code => code.unwrap_or_default(), error, person => person.username.clone() };
    (jar, render(language, status, "device.html", values, &[])).into_response()
}
