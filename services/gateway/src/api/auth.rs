//! `/auth/*`: sign-in, sign-out and who am I, for the console. See [`crate::app::sessions`].

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect as To, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use gantry_kernel::{Kind, Problem};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::app::sessions::{COOKIE, LOGIN_COOKIE, Sessions};
use crate::domain::forwarding::cookie;

pub fn router(sessions: Sessions) -> Router {
    Router::new()
        .route("/auth/login", get(login))
        .route("/auth/callback", get(callback))
        .route("/auth/logout", post(logout))
        .route("/auth/session", get(session))
        .with_state(sessions)
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LoginQuery {
    /// The console's path to come back to.
    #[serde(default)]
    return_to: String,
    /// Language of the sign-in page, such as `zh-CN`.
    lang: Option<String>,
}

/// Sends the browser to sign in.
#[utoipa::path(get, path = "/auth/login", params(LoginQuery), security(()), responses((status = 303, description = "to identity's authorization endpoint")))]
pub(super) async fn login(State(sessions): State<Sessions>, Query(query): Query<LoginQuery>) -> Result<Response, Problem> {
    let locale = query.lang.as_deref().filter(|lang| lang.len() <= 16 && lang.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    let begun = sessions.begin(&query.return_to, locale).await?;
    // Lax: the cookie must come back with the top-level redirect from the sign-in page.
    Ok(with_cookies(To::to(&begun.to), &[set(LOGIN_COOKIE, &begun.cookie, Some(15 * 60))]))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CallbackQuery {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// Where identity sends the browser back to.
#[utoipa::path(get, path = "/auth/callback", params(CallbackQuery), security(()), responses((status = 303, description = "to the console, with a session's cookie")))]
pub(super) async fn callback(State(sessions): State<Sessions>, headers: HeaderMap, Query(query): Query<CallbackQuery>) -> Response {
    let result = match (query.code.as_deref(), query.state.as_deref(), query.error.as_deref()) {
        (Some(code), Some(state), None) => sessions.finish(state, code, query.iss.as_deref(), cookie(&headers, LOGIN_COOKIE)).await,
        (_, _, Some(error)) => {
            Err(Problem::new(Kind::Unauthenticated, "gateway.sign_in_refused", query.error_description.clone().unwrap_or_else(|| error.to_owned())))
        }
        _ => Err(Problem::invalid("code", "and state must be given")),
    };
    match result {
        Ok(done) => with_cookies(To::to(&done.to), &[set(COOKIE, &done.cookie, None), set(LOGIN_COOKIE, "", Some(0))]),
        Err(problem) => {
            tracing::warn!(error = %problem.chain(), "a sign-in was not completed");
            // A person is looking at this: the console shows the text and offers to try again.
            let text = url::form_urlencoded::byte_serialize(problem.detail.as_bytes()).collect::<String>();
            with_cookies(To::to(&format!("/sign-in?problem={text}")), &[set(LOGIN_COOKIE, "", Some(0))])
        }
    }
}

#[derive(Serialize, utoipa::ToSchema)]
struct SignedOut {
    /// Where to go to end the single sign-on too.
    redirect: Option<String>,
}

/// Ends the browser's session. Needs the `X-CSRF` header.
#[utoipa::path(post, path = "/auth/logout", security(()), responses((status = 200, body = SignedOut)))]
pub(super) async fn logout(State(sessions): State<Sessions>, headers: HeaderMap) -> Result<Response, Problem> {
    let Some(cookie) = cookie(&headers, COOKIE) else { return Ok(Json(SignedOut { redirect: None }).into_response()) };
    if let Some(session) = sessions.read(cookie).await?
        && headers.get("x-csrf").is_none_or(|value| value.as_bytes() != session.csrf.as_bytes())
    {
        return Err(Problem::new(Kind::Forbidden, "gateway.cross_site", "the X-CSRF header is missing or old; reload the page"));
    }
    let redirect = sessions.end(cookie).await?;
    Ok(with_cookies(Json(SignedOut { redirect: Some(redirect) }), &[set(COOKIE, "", Some(0))]))
}

#[derive(Serialize, utoipa::ToSchema)]
struct SessionView {
    signed_in: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// Must come back in `X-CSRF` with every change.
    csrf: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    ends_at: Option<time::OffsetDateTime>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct UserView {
    subject: String,
    username: String,
    name: String,
}

/// Who is signed in here? Always 200: not being signed in is an answer, not an error.
#[utoipa::path(get, path = "/auth/session", security(()), responses((status = 200, body = SessionView)))]
pub(super) async fn session(State(sessions): State<Sessions>, headers: HeaderMap) -> Result<Response, Problem> {
    let found = match cookie(&headers, COOKIE) {
        Some(cookie) => sessions.fresh(cookie).await?,
        None => None,
    };
    let view = match found {
        Some(session) => SessionView {
            signed_in: true,
            csrf: Some(session.csrf),
            ends_at: time::OffsetDateTime::from_unix_timestamp(session.ends).ok(),
            user: Some(UserView { subject: session.subject, username: session.username, name: session.name }),
        },
        None => SessionView { signed_in: false, user: None, csrf: None, ends_at: None },
    };
    let mut answer = (StatusCode::OK, Json(view)).into_response();
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// `max_age`: seconds; `None` lasts as long as the browser's session.
fn set(name: &str, value: &str, max_age: Option<u32>) -> String {
    let age = max_age.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{age}")
}

fn with_cookies(answer: impl IntoResponse, cookies: &[String]) -> Response {
    let mut answer = answer.into_response();
    for cookie in cookies {
        if let Ok(value) = HeaderValue::from_str(cookie) {
            answer.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
