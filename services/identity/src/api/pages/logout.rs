//! Signing out (OpenID Connect RP-Initiated Logout 1.0). With an ID token of this very session it is done at once;
//! otherwise the person is asked, so that no foreign page can sign anybody out.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use gantry_kernel::Problem;
use http::{HeaderMap, StatusCode};
use minijinja::context;
use serde::Deserialize;
use url::Url;

use super::{SESSION_COOKIE, cookie, form_fits, form_seal, language, message, render, see_other, target_of};
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::people::subject;
use crate::app::signin::Origin;

/// Longer ones are not put into an address.
const LONGEST_AGAIN: usize = 16 * 1024;

#[derive(Deserialize)]
struct Hint {
    aud: String,
    sid: Option<String>,
}

pub async fn show(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    answer(&app, jar, &headers, &origin, &query).await
}

pub async fn submit(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, form: Form) -> Response {
    // A browser keeps the session's cookie back from a form that another site sends, and shows it when it comes by address.
    let again = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form.0.iter().filter(|(n, _)| n != "csrf")).finish();
    if jar.get(SESSION_COOKIE).is_none() && again.len() <= LONGEST_AGAIN {
        return see_other(&format!("/oauth2/logout?{again}"));
    }
    answer(&app, jar, &headers, &origin, &form).await
}

async fn answer(app: &App, jar: CookieJar, headers: &HeaderMap, origin: &Origin, form: &Form) -> Response {
    let language = language(headers, form.get("ui_locales"));
    let hint: Option<Hint> = form.get("id_token_hint").and_then(|token| app.keys.verify_hint(token, &app.issuer));
    if hint.as_ref().zip(form.get("client_id")).is_some_and(|(hint, client)| hint.aud != client) {
        return message(language, StatusCode::BAD_REQUEST, "bad_request", "the ID token is of another client than client_id");
    }
    let client = hint.as_ref().map(|h| h.aud.as_str()).or_else(|| form.get("client_id"));
    // A hint that is none of ours vouches for no address.
    let trusted = hint.is_some() || form.get("id_token_hint").is_none();
    let to = match form.get("post_logout_redirect_uri").filter(|_| trusted) {
        Some(to) => match app.clients.logout_redirect(client, to).await {
            Ok(registered) => Some(to).filter(|_| registered),
            Err(problem) => return failed(language, &problem),
        },
        None => None,
    };
    let done = |jar: CookieJar| match to {
        Some(to) => (jar, see_other(&with_state(to, form.get("state")))).into_response(),
        None => (jar, message(language, StatusCode::OK, "signed_out", "")).into_response(),
    };
    let session = match jar.get(SESSION_COOKIE) {
        Some(cookie) => match app.session(cookie.value()).await {
            Ok(session) => session,
            Err(problem) => return failed(language, &problem),
        },
        None => None,
    };
    let Some((session, person)) = session else { return done(jar) };
    let of_this_session = hint.and_then(|h| h.sid).is_some_and(|sid| sid == session.id.to_string());
    if !of_this_session && !form_fits(app, &jar, form.get("csrf")) {
        let (jar, csrf) = form_seal(app, jar);
        let kept = |name: &str| matches!(name, "state" | "client_id") || (trusted && name == "post_logout_redirect_uri");
        let keep: Vec<(String, String)> = form.0.iter().filter(|(n, _)| kept(n)).cloned().collect();
        let targets: Vec<String> = to.and_then(|t| Url::parse(t).ok()).iter().map(target_of).collect();
        let values = context! { csrf, keep, person => person.username };
        return (jar, render(language, StatusCode::OK, "logout.html", values, &targets)).into_response();
    }
    if let Err(problem) = app.end_session(person.id, session.id, &subject(person.id), &origin.address).await {
        return failed(language, &problem);
    }
    let mut gone = cookie(SESSION_COOKIE, String::new());
    gone.make_removal();
    done(jar.add(gone))
}

fn failed(language: crate::domain::language::Language, problem: &Problem) -> Response {
    message(language, problem.kind.status(), "failed", &problem.detail)
}

fn with_state(to: &str, state: Option<&str>) -> String {
    match (Url::parse(to), state) {
        (Ok(mut url), Some(state)) => {
            url.query_pairs_mut().append_pair("state", state);
            url.into()
        }
        _ => to.to_owned(),
    }
}
