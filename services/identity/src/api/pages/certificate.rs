//! Signing in with a certificate, and binding one: the page sends the browser to the door for certificates, which asks for one, and it
//! comes back with a text that is good once and in the browser that began.

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_extra::extract::CookieJar;
use gantry_es::Sealed;
use gantry_kernel::{Kind, Problem, UserId};
use http::{HeaderMap, StatusCode};
use minijinja::context;
use serde::{Deserialize, Serialize};

use super::{SESSION_COOKIE, cookie, encoded, language, message, render, safe_continue, see_other, step};
use crate::api::oauth::client_auth::Asking;
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::context::meta_of;
use crate::app::people::subject;
use crate::app::person_certificates::METHOD;
use crate::app::secrets::{SUBJECT, fresh};
use crate::app::signin::Origin;
use crate::app::steps::Evidence;
use crate::domain::language::Language;
use crate::error::{fault, unsealed};

const ERRAND_COOKIE: &str = "__Host-gantry_certificate";
const PURPOSE: &str = "show a certificate";
const SECONDS: i64 = 600;

/// What the browser was sent to the door for; sealed in its cookie.
#[derive(Serialize, Deserialize)]
struct Errand {
    purpose: String,
    nonce: String,
    to: String,
    /// Binds it to this person instead of signing in.
    bind: Option<Bind>,
    until: i64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Bind {
    pub user: UserId,
    pub label: String,
    pub by_name: bool,
}

pub fn router() -> Router<App> {
    Router::new().route("/login/certificate", get(begin)).route("/login/certificate/show", get(show)).route("/login/certificate/back", get(back))
}

/// The address at the door, and the cookie to give the browser.
///
/// # Errors
/// When there is no door.
pub(super) async fn errand(app: &App, to: &str, bind: Option<Bind>) -> Result<(String, String), Problem> {
    let door = app.config.certificates_url.as_deref().ok_or_else(|| Problem::not_found("door for certificates", "here"))?;
    let nonce = fresh(&app.host.env, "");
    let href = format!("{}/login/certificate/show?nonce={nonce}", door.trim_end_matches('/'));
    let errand = Errand { purpose: PURPOSE.into(), nonce, to: to.to_owned(), bind, until: app.now().unix_timestamp() + SECONDS };
    let sealed = app.keyring.seal(SUBJECT, &serde_json::to_string(&errand).map_err(fault)?).await.map_err(unsealed)?;
    Ok((href, sealed.0))
}

/// A page that leads to the door: a form may lead to our own pages only, a link anywhere.
pub(super) async fn onward(app: &App, jar: CookieJar, language: Language, bind: Bind) -> Response {
    match errand(app, "/account", Some(bind)).await {
        Ok((onward, sealed)) => {
            let page = render(language, StatusCode::OK, "certificate.html", context! { onward, home => "/account" }, &[]);
            (jar.add(cookie(ERRAND_COOKIE, sealed)), page).into_response()
        }
        Err(problem) => explained(language, problem),
    }
}

async fn begin(State(app): State<App>, jar: CookieJar, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    match errand(&app, safe_continue(query.get("continue")), None).await {
        Ok((href, sealed)) => (jar.add(cookie(ERRAND_COOKIE, sealed)), see_other(&href)).into_response(),
        Err(problem) => explained(language(&headers, query.get("ui_locales")), problem),
    }
}

/// At the door, where the TLS layer has asked the browser for a certificate.
async fn show(State(app): State<App>, asking: Asking, origin: Origin, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    let language = language(&asking.headers, None);
    let nonce = query.get("nonce").filter(|n| (20..=100).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')));
    let Some(nonce) = nonce else { return message(language, StatusCode::BAD_REQUEST, "expired_form", "") };
    let Some(der) = &asking.certificate else {
        let home = format!("{}/login", app.issuer);
        return render(language, StatusCode::BAD_REQUEST, "certificate.html", context! { error => "certificate_none", home }, &[]);
    };
    match app.keep_shown(nonce, der, &origin).await {
        Ok(token) => see_other(&format!("{}/login/certificate/back?proof={}", app.issuer, encoded(&token))),
        Err(problem) => explained(language, problem),
    }
}

async fn back(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    let language = language(&headers, None);
    let sealed = jar.get(ERRAND_COOKIE).map(|c| c.value().to_owned()).unwrap_or_default();
    // One question, one answer.
    let mut gone = cookie(ERRAND_COOKIE, String::new());
    gone.make_removal();
    let jar = jar.add(gone);
    let shown = async {
        let stale = || Problem::new(Kind::Invalid, "identity.errand_unknown", "this was not begun in this browser, or too long ago: begin again");
        let text = app.keyring.open(SUBJECT, &Sealed(sealed)).await.map_err(|_| stale())?;
        let errand: Errand = serde_json::from_str(&text).map_err(|_| stale())?;
        if errand.purpose != PURPOSE || app.now().unix_timestamp() > errand.until {
            return Err(stale());
        }
        let der = app.take_shown(query.get("proof").unwrap_or_default(), &errand.nonce).await?;
        Ok((errand, der))
    };
    let (errand, der) = match shown.await {
        Ok(shown) => shown,
        Err(problem) => return (jar, explained(language, problem)).into_response(),
    };
    let done = match errand.bind {
        Some(bind) => bound(&app, &jar, &der, &bind, &origin).await.map(|()| see_other("/account?done=saved")),
        None => match app.verify_certificate(&der, &origin).await {
            Ok((person, shown)) => {
                let evidence = Evidence::by_certificate(shown);
                return match step::at(&app, &jar).await {
                    // The first step again is no second one.
                    Ok(Some(at)) if at.person().id == person.id && at.amr().split_ascii_whitespace().any(|m| m != METHOD) => {
                        step::done(&app, jar, language, at, &evidence, &origin, Some(&errand.to)).await
                    }
                    Ok(_) => step::after_first(&app, jar, language, &person, &origin, &evidence, Some(&errand.to)).await,
                    Err(problem) => step::failed(language, problem),
                };
            }
            Err(problem) => Err(problem),
        },
    };
    (jar, done.unwrap_or_else(|problem| explained(language, problem))).into_response()
}

/// The same person is still signed in here.
async fn bound(app: &App, jar: &CookieJar, der: &[u8], bind: &Bind, origin: &Origin) -> Result<(), Problem> {
    let session = match jar.get(SESSION_COOKIE) {
        Some(session) => app.session(session.value()).await?,
        None => None,
    };
    let Some((_, person)) = session.filter(|(_, person)| person.id == bind.user) else {
        return Err(Problem::new(Kind::Invalid, "identity.errand_unknown", "somebody else is signed in here now: begin again"));
    };
    app.bind_certificate(&person, der, bind.by_name, &bind.label, meta_of(&subject(person.id), &origin.address)).await?;
    app.shown_well(origin).await;
    Ok(())
}

fn explained(language: Language, problem: Problem) -> Response {
    let key = match (problem.kind, problem.code) {
        (_, "identity.certificate_unusable") => "certificate_unusable",
        (_, "identity.certificate_unknown") => "certificate_unknown",
        (_, "identity.revocation_stale") => "certificate_stale",
        (_, "identity.certificate_taken") => "certificate_taken",
        (_, "identity.errand_unknown") => "expired_form",
        (_, "identity.policy") => "by_policy",
        (Kind::TooMany, _) => "too_many",
        _ => "failed",
    };
    let reason = if key == "certificate_unusable" { problem.detail.clone() } else { String::new() };
    let mut response = message(language, problem.kind.status(), key, &reason);
    super::retry_after(&mut response, &problem);
    response.extensions_mut().insert(problem);
    response
}
