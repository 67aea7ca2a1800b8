//! An invitation into an organisation: accepted by whoever is signed in, or with an account made for it.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use gantry_kernel::{Problem, Secret};
use http::{HeaderMap, StatusCode};
use minijinja::context;

use super::{SESSION_COOKIE, encoded, form_fits, form_seal, language, message, render, step};
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::people::Person;
use crate::app::signin::Origin;
use crate::app::steps::Evidence;
use crate::domain::language::Language;

pub async fn show(State(app): State<App>, jar: CookieJar, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    page(&app, jar, language(&headers, query.get("ui_locales")), StatusCode::OK, &query, None).await
}

pub async fn submit(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, form: Form) -> Response {
    let language = language(&headers, form.get("ui_locales"));
    if !form_fits(&app, &jar, form.get("csrf")) {
        return message(language, StatusCode::BAD_REQUEST, "expired_form", "");
    }
    let token = form.get("token").unwrap_or_default();
    let done = match (signed_in(&app, &jar).await, form.get("username")) {
        (Ok(Some(person)), _) => app.accept_invitation(token, &person, &origin).await.map(|org| (org, None)),
        (Ok(None), Some(username)) => join(&app, token, username, &form, &origin).await,
        (Ok(None), None) => Err(Problem::unauthenticated("sign in first")),
        (Err(problem), _) => Err(problem),
    };
    match done {
        Ok((org, None)) => message(language, StatusCode::OK, "joined", &org),
        Ok((_, Some(person))) => step::after_first(&app, jar, language, &person, &origin, &Evidence::by("pwd"), None).await,
        Err(problem) => {
            let mut response = page(&app, jar, language, problem.kind.status(), &form, Some(&problem)).await;
            super::retry_after(&mut response, &problem);
            response.extensions_mut().insert(problem);
            response
        }
    }
}

async fn join(app: &App, token: &str, username: &str, form: &Form, origin: &Origin) -> Result<(String, Option<Person>), Problem> {
    let password = Secret::new(form.get("password").unwrap_or_default());
    let person = app.register_invited(token, username, form.get("display_name"), &password, origin).await?;
    let org = app.accept_invitation(token, &person, origin).await?;
    Ok((org, Some(person)))
}

async fn signed_in(app: &App, jar: &CookieJar) -> Result<Option<Person>, Problem> {
    match jar.get(SESSION_COOKIE) {
        Some(cookie) => Ok(app.session(cookie.value()).await?.map(|(_, person)| person)),
        None => Ok(None),
    }
}

async fn page(app: &App, jar: CookieJar, language: Language, status: StatusCode, form: &Form, problem: Option<&Problem>) -> Response {
    let token = form.get("token").unwrap_or_default();
    let (_, email, org) = match app.invitation(token).await {
        Ok(found) => found,
        Err(stale) => return step::failed(language, stale),
    };
    let person = match signed_in(app, &jar).await {
        Ok(person) => person.map(|p| p.username),
        Err(problem) => return step::failed(language, problem),
    };
    let (jar, csrf) = form_seal(app, jar);
    let again = encoded(&format!("/register/invitation?token={}", encoded(token)));
    let text = |name: &str| form.get(name).unwrap_or_default().to_owned();
    let values = context! {
        csrf, token, email, org, person, again, detail => problem.map(|p| p.detail.clone()), username => text("username"), display_name => text("display_name"),
    };
    (jar, render(language, status, "invitation.html", values, &[])).into_response()
}
