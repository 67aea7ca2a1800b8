//! Signing in elsewhere and coming back; and the page of linked accounts.

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum_extra::extract::CookieJar;
use gantry_kernel::{Kind, LinkId, Problem, Secret};
use http::{HeaderMap, StatusCode};
use minijinja::context;

use super::{SESSION_COOKIE, cookie, encoded, form_fits, form_seal, language, message, render, safe_continue, see_other, step};
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::context::meta_of;
use crate::app::people::{Person, subject};
use crate::app::signin::Origin;
use crate::app::steps::Evidence;
use crate::app::upstreams::Upstream;
use crate::app::upstreams::federate::{Answer, Back};
use crate::domain::language::Language;

const ERRAND_COOKIE: &str = "__Host-gantry_errand";
const LINKS: &str = "/login/links";

pub fn router() -> Router<App> {
    Router::new()
        .route("/login/upstream", get(realm))
        .route("/login/upstream/{name}", get(leave))
        .route("/login/upstream/{name}/callback", get(back))
        .route(LINKS, get(links))
        .route("/login/links/make", post(make))
        .route("/login/links/remove", post(remove))
}

/// Which provider an e-mail address leads to. A link, not a redirect: a form may lead to our own pages only.
async fn realm(State(app): State<App>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    let language = language(&headers, query.get("ui_locales"));
    let (to, email) = (safe_continue(query.get("continue")), query.get("email").unwrap_or_default());
    let found = if email.is_empty() { Ok(None) } else { app.realm_of(email).await };
    let values = match found {
        Ok(Some(by)) => {
            let onward = format!("/login/upstream/{}?continue={}&login_hint={}", by.name, encoded(to), encoded(email));
            context! { onward, shown => by.shown(), again => encoded(to), continue => to }
        }
        Ok(None) => {
            let error = (!email.is_empty()).then_some("no_realm");
            context! { error, email, again => encoded(to), continue => to }
        }
        Err(problem) => return step::failed(language, problem),
    };
    render(language, StatusCode::OK, "onward.html", values, &[])
}

async fn provider(app: &App, name: &str) -> Result<Upstream, Problem> {
    let found = app.upstream(name).await?.filter(|u| u.settings.enabled && !u.is_directory());
    found.ok_or_else(|| Problem::not_found("way to sign in", name))
}

/// Sends the browser to a provider.
async fn leave(State(app): State<App>, jar: CookieJar, headers: HeaderMap, Path(name): Path<String>, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    let language = language(&headers, query.get("ui_locales"));
    let sent = async {
        let to = provider(&app, &name).await?;
        let hint = query.get("login_hint").filter(|h| h.len() <= 254);
        app.send_to(&to, safe_continue(query.get("continue")), hint, None).await
    };
    match sent.await {
        Ok((address, errand)) => (jar.add(cookie(ERRAND_COOKIE, errand)), see_other(&address)).into_response(),
        Err(problem) => explained(language, problem),
    }
}

async fn back(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, Path(name): Path<String>, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    let language = language(&headers, None);
    let errand = jar.get(ERRAND_COOKIE).map(|c| c.value().to_owned()).unwrap_or_default();
    // One question, one answer.
    let mut gone = cookie(ERRAND_COOKIE, String::new());
    gone.make_removal();
    let jar = jar.add(gone);
    let done = async {
        let by = provider(&app, &name).await?;
        let answer = Answer { code: query.get(App::code_parameter(&by)), state: query.get("state"), iss: query.get("iss"), error: query.get("error") };
        let signed_in = person_of(&app, &jar).await.map(|p| p.id);
        app.back_from(&by, &errand, &answer, signed_in, &origin).await
    };
    match done.await {
        Ok(Back::SignedIn { person, to }) => step::after_first(&app, jar, language, &person, &origin, &Evidence::by("fed"), Some(&to)).await,
        Ok(Back::Linked) => (jar, see_other("/login/links?done=linked")).into_response(),
        Err(problem) => (jar, explained(language, problem)).into_response(),
    }
}

async fn person_of(app: &App, jar: &CookieJar) -> Option<Person> {
    let (_, person) = app.session(jar.get(SESSION_COOKIE)?.value()).await.ok()??;
    Some(person)
}

fn key_of(problem: &Problem) -> &'static str {
    match (problem.kind, problem.code) {
        (_, "identity.link_needed") => "link_needed",
        (_, "identity.not_admitted") => "not_admitted",
        (_, "identity.link_taken") => "link_taken",
        (_, "identity.link_exists") => "link_exists",
        (_, "identity.last_way_in") => "last_way_in",
        (_, "identity.policy") => "by_policy",
        (_, "identity.provider_refused" | "identity.provider_unavailable" | "identity.errand_unknown") => "provider_failed",
        (Kind::Unavailable, _) => "directory_down",
        (Kind::TooMany, _) => "too_many",
        (Kind::Unauthenticated, _) => "wrong_password",
        _ => "failed",
    }
}

fn explained(language: Language, problem: Problem) -> Response {
    let mut response = message(language, problem.kind.status(), key_of(&problem), "");
    response.extensions_mut().insert(problem);
    response
}

async fn links(State(app): State<App>, jar: CookieJar, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    let language = language(&headers, query.get("ui_locales"));
    let Some(person) = person_of(&app, &jar).await else { return see_other("/login") };
    let done = query.get("done").filter(|d| matches!(*d, "linked" | "unlinked"));
    list(&app, jar, language, &person, StatusCode::OK, done, None).await
}

async fn list(app: &App, jar: CookieJar, language: Language, person: &Person, status: StatusCode, done: Option<&str>, error: Option<&str>) -> Response {
    let (mine, all) = match (app.links_of(person.id).await, app.all_upstreams().await) {
        (Ok(mine), Ok(all)) => (mine, all),
        (Err(problem), _) | (_, Err(problem)) => return step::failed(language, problem),
    };
    let (jar, csrf) = form_seal(app, jar);
    let linked = |u: &Upstream| mine.iter().any(|l| l.upstream.as_ref().is_some_and(|m| m.id == u.id));
    // An organisation's are nobody else's business.
    let open = all.iter().filter(|u| u.settings.enabled && u.org.is_none() && !linked(u));
    let more: Vec<_> = open.map(|u| context! { name => u.name.clone(), shown => u.shown(), directory => u.is_directory() }).collect();
    let shown = |l: &crate::app::upstreams::links::Linked| l.upstream.as_ref().map_or("-", Upstream::shown).to_owned();
    let links: Vec<_> = mine.iter().map(|l| context! { id => l.id.to_string(), shown => shown(l), subject => l.subject.clone() }).collect();
    (jar, render(language, status, "links.html", context! { csrf, links, more, done, error }, &[])).into_response()
}

async fn make(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, form: Form) -> Response {
    let language = language(&headers, form.get("ui_locales"));
    let Some(person) = person_of(&app, &jar).await else { return see_other("/login") };
    if !form_fits(&app, &jar, form.get("csrf")) {
        return list(&app, jar, language, &person, StatusCode::BAD_REQUEST, None, Some("expired_form")).await;
    }
    let made = async {
        let name = form.get("upstream").unwrap_or_default();
        let by = app.upstream(name).await?.filter(|u| u.settings.enabled).ok_or_else(|| Problem::not_found("way to sign in", name))?;
        if !by.is_directory() {
            return app.send_to(&by, LINKS, None, Some(person.id)).await.map(|sent| Some((by, sent)));
        }
        let username = form.get("username").unwrap_or_default();
        let password = Secret::new(form.get("password").unwrap_or_default());
        let key = app.lookup.hash(username);
        app.attempts.begin(&key, &origin.address).await?;
        let external = app.directory_proof(&by, username, &password).await?;
        app.attempts.succeeded(&key, &origin.address).await;
        app.link_proven(&by, person.id, &external, &origin.address).await.map(|()| None)
    };
    match made.await {
        // A link, not a redirect: a form may lead to our own pages only.
        Ok(Some((by, (onward, errand)))) => {
            let page = render(language, StatusCode::OK, "onward.html", context! { onward, shown => by.shown(), again => "%2F" }, &[]);
            (jar.add(cookie(ERRAND_COOKIE, errand)), page).into_response()
        }
        Ok(None) => see_other("/login/links?done=linked"),
        Err(problem) => list(&app, jar, language, &person, problem.kind.status(), None, Some(key_of(&problem))).await,
    }
}

async fn remove(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, form: Form) -> Response {
    let language = language(&headers, form.get("ui_locales"));
    let Some(person) = person_of(&app, &jar).await else { return see_other("/login") };
    if !form_fits(&app, &jar, form.get("csrf")) {
        return list(&app, jar, language, &person, StatusCode::BAD_REQUEST, None, Some("expired_form")).await;
    }
    let Some(link) = form.get("id").and_then(|id| id.parse::<LinkId>().ok()) else { return see_other(LINKS) };
    match app.unlink(person.id, link, meta_of(&subject(person.id), &origin.address)).await {
        Ok(()) => see_other("/login/links?done=unlinked"),
        Err(problem) => list(&app, jar, language, &person, problem.kind.status(), None, Some(key_of(&problem))).await,
    }
}
