//! The authorization endpoint: reads the request, looks at the session, answers by redirect or page.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use gantry_kernel::Problem;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use url::Url;

use crate::api::oauth::form::Form;
use crate::api::pages::{self, SESSION_COOKIE};
use crate::app::App;
use crate::app::authorize::{Next, next};
use crate::domain::authorize::{Fault, Prompt, Request, read};

/// Marks the second round of a request that wants a fresh sign-in: the time of the first.
const AFTER: &str = "gantry_after";

pub async fn by_query(State(app): State<App>, jar: CookieJar, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    answer(app, jar, headers, Form::parse(query.unwrap_or_default().as_bytes())).await
}

pub async fn by_form(State(app): State<App>, jar: CookieJar, headers: HeaderMap, form: Form) -> Response {
    answer(app, jar, headers, form).await
}

async fn answer(app: App, jar: CookieJar, headers: HeaderMap, form: Form) -> Response {
    let language = pages::language(&headers, form.get("ui_locales"));
    let request = match read(&form.0, |id| app.clients.get(id)) {
        Ok(request) => request,
        Err(Fault::Page(reason)) => return pages::message(language, StatusCode::BAD_REQUEST, "bad_request", reason),
        Err(Fault::Redirect { redirect_uri, state, error, description }) => {
            return back(&app, &redirect_uri, state.as_deref(), &[("error", error), ("error_description", description)]);
        }
    };
    match decide(&app, &jar, &form, &request).await {
        Ok(response) => response,
        Err(problem) => {
            let mut response =
                back(&app, &request.redirect_uri, request.state.as_deref(), &[("error", "server_error"), ("error_description", &problem.detail)]);
            response.extensions_mut().insert(problem);
            response
        }
    }
}

async fn decide(app: &App, jar: &CookieJar, form: &Form, request: &Request) -> Result<Response, Problem> {
    let session = match jar.get(SESSION_COOKIE) {
        Some(cookie) => app.session(cookie.value()).await?.map(|(session, _)| session),
        None => None,
    };
    let not_before = form.get(AFTER).and_then(|t| t.parse().ok());
    let state = request.state.as_deref();
    Ok(match (next(request, session.as_ref(), not_before, app.now()), session) {
        (Next::Grant, Some(session)) => {
            let code = app.issue_code(request, &session).await?;
            back(app, &request.redirect_uri, state, &[("code", &code)])
        }
        (Next::LoginRequired, _) => back(app, &request.redirect_uri, state, &[("error", "login_required")]),
        (Next::Grant | Next::SignIn, _) => sign_in(app, form, request),
    })
}

/// To the sign-in page, which comes back here with the same request.
fn sign_in(app: &App, form: &Form, request: &Request) -> Response {
    let mut again = url::form_urlencoded::Serializer::new(String::new());
    again.extend_pairs(form.0.iter().filter(|(n, _)| n != AFTER));
    if request.prompt == Prompt::Login {
        again.append_pair(AFTER, &app.now().unix_timestamp().to_string());
    }
    let again = format!("/oauth2/authorize?{}", again.finish());
    let mut to = url::form_urlencoded::Serializer::new(String::new());
    to.append_pair("continue", &again);
    if let Some(locales) = form.get("ui_locales") {
        to.append_pair("ui_locales", locales);
    }
    if let Some(hint) = &request.login_hint {
        to.append_pair("login_hint", hint);
    }
    pages::see_other(&format!("/login?{}", to.finish()))
}

/// To the client, with `state` and our name (RFC 9207).
fn back(app: &App, redirect_uri: &str, state: Option<&str>, parameters: &[(&str, &str)]) -> Response {
    // Registered addresses are checked to be addresses when they are used, here.
    let Ok(mut url) = Url::parse(redirect_uri) else {
        return (StatusCode::BAD_REQUEST, "the registered redirect_uri is not an address").into_response();
    };
    {
        let mut pairs = url.query_pairs_mut();
        pairs.extend_pairs(parameters);
        if let Some(state) = state {
            pairs.append_pair("state", state);
        }
        pairs.append_pair("iss", &app.issuer);
    }
    let mut response = pages::see_other(url.as_str());
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
