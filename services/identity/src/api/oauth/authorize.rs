//! The authorization endpoint: reads the request, looks at the session, answers by redirect, form or page.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use gantry_kernel::{Kind, Problem, UserId};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use url::Url;

use crate::api::oauth::form::Form;
use crate::api::oauth::par;
use crate::api::pages::{self, SESSION_COOKIE};
use crate::app::App;
use crate::app::authorize::{Facts, Next, next};
use crate::app::clients::Client;
use crate::domain::authorize::{Fault, Request, ResponseMode, read};
use crate::error::described;

/// Longer ones are not put into an address.
const LONGEST_AGAIN: usize = 16 * 1024;

/// Marks a request that comes back from a page of ours with the time it came first.
pub const MARK: &str = "gantry_mark";

pub async fn by_query(State(app): State<App>, jar: CookieJar, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    answer(app, jar, headers, Form::parse(query.unwrap_or_default().as_bytes())).await
}

pub async fn by_form(State(app): State<App>, jar: CookieJar, headers: HeaderMap, form: Form) -> Response {
    // A browser keeps the session's cookie back from a form that another site sends, and shows it when it comes by address.
    let again = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form.0).finish();
    if jar.get(SESSION_COOKIE).is_none() && again.len() <= LONGEST_AGAIN {
        return pages::see_other(&format!("/oauth2/authorize?{again}"));
    }
    answer(app, jar, headers, form).await
}

/// A request with the client it is by.
pub struct Asked {
    pub client: std::sync::Arc<Client>,
    pub request: Request,
    /// What a pushed request is kept under.
    pub pushed: Option<Vec<u8>>,
}

/// Reads a request; one that was pushed is taken from where it was kept.
///
/// # Errors
/// See [`Fault`]; the problem when the database refuses.
pub async fn asked(app: &App, form: &Form) -> Result<Result<Asked, Fault>, Problem> {
    // Of a pushed request only these count.
    if ["client_id", "request_uri"].iter().any(|name| form.all(name).count() > 1) {
        return Ok(Err(Fault::Page("a parameter is there twice")));
    }
    let id = form.get("client_id").unwrap_or_default();
    let client = app.clients.get(id).await?;
    let (parameters, pushed) = match form.get("request_uri") {
        Some(uri) if uri.starts_with(par::PREFIX) => match par::kept(app, uri, id).await? {
            Some((parameters, hash)) => (parameters, Some(hash)),
            None => return Ok(Err(Fault::Page("the pushed request is not known, was used, or has expired"))),
        },
        _ => (form.0.iter().filter(|(n, _)| n != MARK).cloned().collect(), None),
    };
    Ok(match (read(&parameters, client.as_deref(), pushed.is_some()), client) {
        (Ok(request), Some(client)) => Ok(Asked { client, request, pushed }),
        (Err(fault), _) => Err(fault),
        (Ok(_), None) => Err(Fault::Page("the client is not known")),
    })
}

async fn answer(app: App, jar: CookieJar, headers: HeaderMap, form: Form) -> Response {
    let language = pages::language(&headers, form.get("ui_locales"));
    let it = match asked(&app, &form).await {
        Ok(Ok(it)) => it,
        Ok(Err(Fault::Page(reason))) => return pages::message(language, StatusCode::BAD_REQUEST, "bad_request", reason),
        Ok(Err(Fault::Redirect { redirect_uri, response_mode, state, error, description })) => {
            let to = To { redirect_uri: &redirect_uri, response_mode, state: state.as_deref() };
            return back(&app, to, &[("error", error), ("error_description", description)]);
        }
        Err(problem) => return pages::message(language, problem.kind.status(), "failed", &problem.detail),
    };
    match decide(&app, &jar, &form, &it).await {
        Ok(response) => response,
        Err(problem) => {
            let description = described(&problem.detail);
            let mut response = back(&app, To::of(&it.request), &[("error", failure(problem.kind)), ("error_description", &description)]);
            response.extensions_mut().insert(problem);
            response
        }
    }
}

/// What a client hears when we could not do it (RFC 6749 section 4.1.2.1).
fn failure(kind: Kind) -> &'static str {
    if matches!(kind, Kind::Unavailable | Kind::TooMany) { "temporarily_unavailable" } else { "server_error" }
}

async fn decide(app: &App, jar: &CookieJar, form: &Form, it: &Asked) -> Result<Response, Problem> {
    let request = &it.request;
    let session = match jar.get(SESSION_COOKIE) {
        Some(cookie) => app.session(cookie.value()).await?.map(|(session, _)| session),
        None => None,
    };
    let agreed_at = match &session {
        Some(session) => app.agreed(&it.client, request, UserId(session.user_id)).await?,
        None => None,
    };
    let first_seen = form.get(MARK).and_then(|mark| app.marked(&it.client.id, mark));
    let facts = Facts { session: session.as_ref(), first_seen, expected: app.hinted(request), agreed_at };
    Ok(match (next(request, facts, app.now()), &session) {
        (Next::Grant, Some(session)) => {
            // A pushed request is good for one code (RFC 9126 section 7.3).
            if let Some(hash) = &it.pushed
                && !par::take(app, hash).await?
            {
                return Ok(back(app, To::of(request), &[("error", "invalid_request"), ("error_description", "the pushed request was used before")]));
            }
            let code = app.issue_code(request, session).await?;
            back(app, To::of(request), &[("code", &code)])
        }
        (Next::Refuse(error), _) => back(app, To::of(request), &[("error", error)]),
        (Next::StepUp, Some(_)) => pages::see_other(&format!("/login/second?{}", with_return(app, form, None))),
        (Next::Consent, Some(_)) => pages::see_other(&format!("/oauth2/consent?{}", with_return(app, form, None))),
        (Next::Grant | Next::SignIn | Next::StepUp | Next::Consent, _) => {
            pages::see_other(&format!("/login?{}", with_return(app, form, request.login_hint.as_deref())))
        }
    })
}

/// The parameters of a page of ours that comes back here with the same request, marked with the time it came first.
fn with_return(app: &App, form: &Form, hint: Option<&str>) -> String {
    let mut again = url::form_urlencoded::Serializer::new(String::new());
    again.extend_pairs(form.0.iter().filter(|(n, _)| n != MARK));
    let client = form.get("client_id").unwrap_or_default();
    let first = form.get(MARK).filter(|mark| app.marked(client, mark).is_some()).map(str::to_owned);
    again.append_pair(MARK, &first.unwrap_or_else(|| app.mark(client, app.now().unix_timestamp())));
    let again = format!("/oauth2/authorize?{}", again.finish());
    let mut to = url::form_urlencoded::Serializer::new(String::new());
    to.append_pair("continue", &again);
    if let Some(locales) = form.get("ui_locales") {
        to.append_pair("ui_locales", locales);
    }
    if let Some(hint) = hint {
        to.append_pair("login_hint", hint);
    }
    to.finish()
}

/// Where an answer goes.
#[derive(Clone, Copy)]
pub struct To<'a> {
    redirect_uri: &'a str,
    response_mode: ResponseMode,
    state: Option<&'a str>,
}

impl<'a> To<'a> {
    pub fn of(request: &'a Request) -> Self {
        Self { redirect_uri: &request.redirect_uri, response_mode: request.response_mode, state: request.state.as_deref() }
    }
}

/// To the client, with `state` and our name (RFC 9207).
pub fn back(app: &App, to: To<'_>, parameters: &[(&str, &str)]) -> Response {
    let last = [to.state.map(|s| ("state", s)), Some(("iss", app.issuer.as_str()))];
    let all: Vec<(&str, &str)> = parameters.iter().copied().chain(last.into_iter().flatten()).collect();
    // Registered addresses were checked to be addresses.
    let Ok(mut url) = Url::parse(to.redirect_uri) else {
        return (StatusCode::BAD_REQUEST, "the registered redirect_uri is not an address").into_response();
    };
    if to.response_mode == ResponseMode::FormPost {
        return pages::form_post(to.redirect_uri, &pages::target_of(&url), &all);
    }
    url.query_pairs_mut().extend_pairs(all);
    let mut response = pages::see_other(url.as_str());
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_said_to() {
        assert_eq!(failure(Problem::unavailable("the database").kind), "temporarily_unavailable");
        assert_eq!(failure(Problem::internal(std::io::Error::other("x")).kind), "server_error");
    }
}
