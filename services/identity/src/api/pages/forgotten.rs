//! A forgotten password: asking for a link, and choosing a new one by it. What the first page answers never tells
//! whether there is such an account.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use gantry_kernel::{Problem, Secret};
use http::{HeaderMap, StatusCode};
use minijinja::context;

use super::{form_fits, form_seal, language, message, render, step};
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::signin::Origin;
use crate::domain::language::Language;

pub async fn show(State(app): State<App>, jar: CookieJar, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    ask(&app, jar, language(&headers, query.get("ui_locales")), StatusCode::OK, None)
}

pub async fn submit(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, form: Form) -> Response {
    let language = language(&headers, form.get("ui_locales"));
    if !form_fits(&app, &jar, form.get("csrf")) {
        return ask(&app, jar, language, StatusCode::BAD_REQUEST, Some("expired_form"));
    }
    match app.forgotten(form.get("username").unwrap_or_default(), &origin).await {
        Ok(()) => message(language, StatusCode::ACCEPTED, if app.mailer.is_some() { "reset_mailed" } else { "reset_by_admin" }, ""),
        Err(problem) => {
            let mut response = ask(&app, jar, language, problem.kind.status(), Some("too_many"));
            super::retry_after(&mut response, &problem);
            response.extensions_mut().insert(problem);
            response
        }
    }
}

fn ask(app: &App, jar: CookieJar, language: Language, status: StatusCode, error: Option<&str>) -> Response {
    let (jar, csrf) = form_seal(app, jar);
    (jar, render(language, status, "forgotten.html", context! { csrf, error }, &[])).into_response()
}

pub async fn show_reset(State(app): State<App>, jar: CookieJar, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    choose(&app, jar, language(&headers, query.get("ui_locales")), StatusCode::OK, query.get("token"), None).await
}

pub async fn submit_reset(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, form: Form) -> Response {
    let language = language(&headers, form.get("ui_locales"));
    let token = form.get("token");
    if !form_fits(&app, &jar, form.get("csrf")) {
        return message(language, StatusCode::BAD_REQUEST, "expired_form", "");
    }
    let new = Secret::new(form.get("password").unwrap_or_default());
    match app.reset_password(token.unwrap_or_default(), &new, &origin).await {
        Ok(_) => message(language, StatusCode::OK, "password_changed", ""),
        Err(problem) => {
            let status = problem.kind.status();
            let mut response = choose(&app, jar, language, status, token, Some(&problem)).await;
            response.extensions_mut().insert(problem);
            response
        }
    }
}

async fn choose(app: &App, jar: CookieJar, language: Language, status: StatusCode, token: Option<&str>, problem: Option<&Problem>) -> Response {
    let person = match app.reset_link(token.unwrap_or_default()).await {
        Ok(person) => person,
        Err(stale) => return step::failed(language, stale),
    };
    let (jar, csrf) = form_seal(app, jar);
    let detail = problem.map(|p| p.detail.clone());
    (jar, render(language, status, "reset.html", context! { csrf, token, detail, username => person.username }, &[])).into_response()
}
