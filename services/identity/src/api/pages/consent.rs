//! The page where a person says whether a client may have what it asks for.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use http::{HeaderMap, StatusCode};
use minijinja::context;

use super::{SESSION_COOKIE, client_origins, form_fits, form_seal, language, message, render, safe_continue, see_other};
use crate::api::oauth::authorize::{Asked, To, asked, back};
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::authorize::asked_scopes;
use crate::app::context::Fact;
use crate::app::people::{Person, subject};
use crate::app::signin::Origin;
use crate::domain::language::Language;

pub async fn show(State(app): State<App>, jar: CookieJar, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    let language = language(&headers, query.get("ui_locales"));
    let to = safe_continue(query.get("continue"));
    match found(&app, &jar, language, to).await {
        Ok((it, person)) => page(&app, jar, language, to, &it, &person).await,
        Err(response) => *response,
    }
}

pub async fn submit(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, form: Form) -> Response {
    let language = language(&headers, form.get("ui_locales"));
    let to = safe_continue(form.get("continue"));
    let (it, person) = match found(&app, &jar, language, to).await {
        Ok(found) => found,
        Err(response) => return *response,
    };
    if !form_fits(&app, &jar, form.get("csrf")) {
        return message(language, StatusCode::BAD_REQUEST, "expired_form", "");
    }
    match form.get("decision") {
        Some("approve") => match app.agree(person.id, &it.request, &origin.address).await {
            Ok(()) => see_other(to),
            Err(problem) => message(language, problem.kind.status(), "failed", &problem.detail),
        },
        Some("deny") => {
            let (actor, object) = (subject(person.id), format!("client:{}", it.client.id));
            app.record(Fact { actor: &actor, action: "consent.given", object: &object, result: "denied", reason: "by the person", from: &origin.address })
                .await;
            back(&app, To::of(&it.request), &[("error", "access_denied"), ("error_description", "the person said no")])
        }
        _ => page(&app, jar, language, to, &it, &person).await,
    }
}

/// The request that `to` is, and who is signed in.
async fn found(app: &App, jar: &CookieJar, language: Language, to: &str) -> Result<(Asked, Person), Box<Response>> {
    let fail = |reason: &str| Box::new(message(language, StatusCode::BAD_REQUEST, "bad_request", reason));
    let Some(query) = to.strip_prefix("/oauth2/authorize?") else { return Err(fail("there is no request to agree to")) };
    let it = match asked(app, &Form::parse(query.as_bytes())).await {
        Ok(Ok(it)) => it,
        Ok(Err(_)) => return Err(fail("the request is not valid")),
        Err(problem) => return Err(Box::new(message(language, problem.kind.status(), "failed", &problem.detail))),
    };
    let session = match jar.get(SESSION_COOKIE) {
        Some(cookie) => app.session(cookie.value()).await.map_err(|p| Box::new(message(language, p.kind.status(), "failed", &p.detail)))?,
        None => None,
    };
    // Back to the request, which leads to the sign-in page.
    session.map(|(_, person)| (it, person)).ok_or_else(|| Box::new(see_other(to)))
}

async fn page(app: &App, jar: CookieJar, language: Language, to: &str, it: &Asked, person: &Person) -> Response {
    let (jar, csrf) = form_seal(app, jar);
    let settings = &it.client.settings;
    let scopes: Vec<String> = asked_scopes(&it.request).into_iter().map(|s| format!("scope_{s}")).collect();
    let values = context! {
        csrf, scopes, continue => to, client => it.client.name.clone(), person => person.username.clone(),
        home => settings.client_uri.clone(), policy => settings.policy_uri.clone(), terms => settings.tos_uri.clone(),
    };
    let origins = client_origins(app, to).await;
    (jar, render(language, StatusCode::OK, "consent.html", values, &origins)).into_response()
}
