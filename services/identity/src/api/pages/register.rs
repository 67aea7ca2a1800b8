//! The registration page, and the page behind the address in the confirmation mail.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use gantry_kernel::{Kind, Problem, Secret};
use http::{HeaderMap, StatusCode};
use minijinja::context;

use super::{client_origins, encoded, form_fits, form_seal, language, message, render, safe_continue, step};
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::register::Registered;
use crate::app::signin::Origin;
use crate::app::steps::Evidence;
use crate::app::users::Profile;
use crate::config::Registration;
use crate::domain::language::Language;

pub async fn show(State(app): State<App>, jar: CookieJar, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    page(&app, jar, language(&headers, query.get("ui_locales")), StatusCode::OK, &query, None, None).await
}

pub async fn submit(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, form: Form) -> Response {
    let language = language(&headers, form.get("ui_locales"));
    if !form_fits(&app, &jar, form.get("csrf")) {
        return page(&app, jar, language, StatusCode::BAD_REQUEST, &form, Some("expired_form"), None).await;
    }
    match register(&app, &form, &origin).await {
        Ok(Registered::Active(person)) => step::after_first(&app, jar, language, &person, &origin, &Evidence::by("pwd"), form.get("continue")).await,
        Ok(Registered::Waiting) => message(language, StatusCode::ACCEPTED, "waiting", ""),
        Ok(Registered::Unconfirmed) => message(language, StatusCode::ACCEPTED, "check_mail", ""),
        Err(problem) => {
            let error = if problem.code == "identity.registration_closed" { "closed" } else { "failed" };
            let status = if problem.kind == Kind::Internal { StatusCode::INTERNAL_SERVER_ERROR } else { problem.kind.status() };
            let mut response = page(&app, jar, language, status, &form, Some(error), Some(&problem.detail)).await;
            response.extensions_mut().insert(problem);
            response
        }
    }
}

async fn register(app: &App, form: &Form, origin: &Origin) -> Result<Registered, Problem> {
    let text = |name: &str| form.get(name).unwrap_or_default();
    let profile = Profile::parse(text("username"), text("email"), form.get("display_name"))?;
    app.register(profile, &Secret::new(text("password")), origin).await
}

/// Opening an address must change nothing (mail scanners do it): a button does.
pub async fn show_confirm(State(app): State<App>, jar: CookieJar, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    let (jar, csrf) = form_seal(&app, jar);
    let values = context! { csrf, token => query.get("token").unwrap_or_default() };
    (jar, render(language(&headers, None), StatusCode::OK, "confirm.html", values, &[])).into_response()
}

pub async fn confirm(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, form: Form) -> Response {
    let language = language(&headers, None);
    if !form_fits(&app, &jar, form.get("csrf")) {
        return message(language, StatusCode::BAD_REQUEST, "expired_form", "");
    }
    match app.confirm_registration(form.get("token").unwrap_or_default(), &origin).await {
        Ok(Registered::Active(person)) => step::after_first(&app, jar, language, &person, &origin, &Evidence::by("pwd"), None).await,
        Ok(Registered::Waiting | Registered::Unconfirmed) => message(language, StatusCode::ACCEPTED, "waiting", ""),
        Err(problem) => message(language, problem.kind.status(), "failed", &problem.detail),
    }
}

async fn page(app: &App, jar: CookieJar, language: Language, status: StatusCode, form: &Form, error: Option<&str>, detail: Option<&str>) -> Response {
    let (jar, csrf) = form_seal(app, jar);
    let to = safe_continue(form.get("continue"));
    let origins = client_origins(app, to).await;
    let text = |name: &str| form.get(name).unwrap_or_default().to_owned();
    let closed = app.config.registration == Registration::Closed;
    let values = context! {
        csrf, continue => to, again => encoded(to), error, detail, closed, username => text("username"), email => text("email"), display_name => text("display_name"),
    };
    (jar, render(language, status, "register.html", values, &origins)).into_response()
}
