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
use crate::app::signin::Origin;
use crate::config::Registration;
use crate::domain::language::Language;

pub async fn show(State(app): State<App>, jar: CookieJar, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    let language = language(&headers, query.get("ui_locales"));
    page(&app, jar, language, StatusCode::OK, query.get("continue"), query.get("login_hint"), None).await
}

pub async fn submit(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, form: Form) -> Response {
    let language = language(&headers, form.get("ui_locales"));
    let (to, name) = (form.get("continue"), form.get("username"));
    let again = async |jar, status, error| page(&app, jar, language, status, to, name, Some(error)).await;
    if !form_fits(&app, &jar, form.get("csrf")) {
        return again(jar, StatusCode::BAD_REQUEST, "expired_form").await;
    }
    let password = Secret::new(form.get("password").unwrap_or_default());
    let person = match app.verify_password(name.unwrap_or_default(), &password, &origin).await {
        Ok(person) => person,
        Err(problem) => {
            let (status, error) = explain(&problem);
            let mut response = again(jar, status, error).await;
            super::retry_after(&mut response, &problem);
            response.extensions_mut().insert(problem);
            return response;
        }
    };
    step::after_first(&app, jar, language, &person, &origin, "pwd", to).await
}

fn explain(problem: &Problem) -> (StatusCode, &'static str) {
    match (problem.kind, problem.code) {
        (Kind::Unauthenticated, _) => (StatusCode::UNAUTHORIZED, "wrong_password"),
        (Kind::TooMany, "identity.busy") => (StatusCode::TOO_MANY_REQUESTS, "busy"),
        (Kind::TooMany, _) => (StatusCode::TOO_MANY_REQUESTS, "too_many"),
        (Kind::Unavailable, "identity.directory_unavailable") => (StatusCode::SERVICE_UNAVAILABLE, "directory_down"),
        (Kind::Conflict, "identity.link_needed") => (StatusCode::CONFLICT, "link_needed"),
        (Kind::Forbidden, "identity.not_admitted") => (StatusCode::FORBIDDEN, "not_admitted"),
        (kind, _) => (kind.status(), "failed"),
    }
}

async fn page(app: &App, jar: CookieJar, language: Language, status: StatusCode, to: Option<&str>, name: Option<&str>, error: Option<&str>) -> Response {
    let (jar, csrf) = form_seal(app, jar);
    let to = safe_continue(to);
    let origins = client_origins(app, to).await;
    let open = app.config.registration == Registration::Open;
    let values = context! { csrf, continue => to, again => encoded(to), username => name.unwrap_or_default(), error, open };
    (jar, render_scripted(app, language, status, "login.html", values, &origins)).into_response()
}
