//! What follows a first step of signing in: the page of the second one, or the session.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use gantry_kernel::Problem;
use http::{HeaderMap, StatusCode};
use minijinja::context;

use super::{
    DEVICE_COOKIE, SESSION_COOKIE, client_origins, cookie, encoded, form_fits, form_seal, language, message, render_scripted, safe_continue, see_other,
};
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::people::{Person, subject};
use crate::app::policies::Rules;
use crate::app::secrets::fresh;
use crate::app::signin::Origin;
use crate::app::steps::{Due, Evidence};
use crate::domain::assurance::{Level, level};
use crate::domain::language::Language;
use crate::store::sessions::Session;

const STEP_COOKIE: &str = "__Host-gantry_step";

/// Where a person goes whose first step is right: `evidence` says how it was taken. Every way to sign in ends here.
pub async fn after_first(app: &App, jar: CookieJar, language: Language, person: &Person, origin: &Origin, evidence: &Evidence, to: Option<&str>) -> Response {
    match app.rules_for(person.id).await {
        Ok(rules) => after_first_under(app, jar, language, person, origin, evidence, &rules, to).await,
        Err(problem) => failed(language, problem),
    }
}

/// The same where the rules were read when the step was judged.
#[allow(clippy::too_many_arguments, reason = "a request's parts, handed on once")]
pub(super) async fn after_first_under(
    app: &App,
    jar: CookieJar,
    language: Language,
    person: &Person,
    origin: &Origin,
    evidence: &Evidence,
    rules: &Rules,
    to: Option<&str>,
) -> Response {
    let due = match app.due_after(person.id, &evidence.amr, rules).await {
        Ok(due) => due,
        Err(problem) => return failed(language, problem),
    };
    let page = match due {
        Due::Nothing => return open(app, jar, language, person, origin, evidence, rules, to).await,
        Due::SecondStep => "/login/second",
        Due::Enrolment => "/login/enrol",
    };
    match app.seal_half(person.id, evidence).await {
        Ok(half) => (jar.add(cookie(STEP_COOKIE, half)), see_other(&format!("{page}?continue={}", encoded(safe_continue(to))))).into_response(),
        Err(problem) => failed(language, problem),
    }
}

/// Opens the session. Always a new one: one that was planted before the sign-in is worth nothing after it.
#[allow(clippy::too_many_arguments, reason = "a request's parts, handed on once")]
async fn open(
    app: &App,
    jar: CookieJar,
    language: Language,
    person: &Person,
    origin: &Origin,
    evidence: &Evidence,
    rules: &Rules,
    to: Option<&str>,
) -> Response {
    if let Some(old) = jar.get(SESSION_COOKIE)
        && let Ok(Some((session, owner))) = app.session(old.value()).await
        && let Err(problem) = app.end_session(owner.id, session.id, &subject(owner.id), &origin.address).await
    {
        return failed(language, problem);
    }
    let (jar, device) = device_of(app, jar);
    match app.open_session(person, origin, evidence, rules, Some(&device)).await {
        Ok((_, secret)) => (without_step(jar).add(cookie(SESSION_COOKIE, secret)), see_other(safe_continue(to))).into_response(),
        Err(problem) => failed(language, problem),
    }
}

/// The cookie by which this browser is known again, made if it has none.
fn device_of(app: &App, jar: CookieJar) -> (CookieJar, String) {
    let known = jar.get(DEVICE_COOKIE).map(|c| c.value().to_owned()).filter(|v| v.len() >= 32 && v.len() <= 100);
    if let Some(device) = known {
        return (jar, device);
    }
    let device = fresh(&app.host.env, "gd_");
    let mut kept = cookie(DEVICE_COOKIE, device.clone());
    kept.set_max_age(time::Duration::days(400));
    (jar.add(kept), device)
}

pub(super) fn without_step(jar: CookieJar) -> CookieJar {
    let mut gone = cookie(STEP_COOKIE, String::new());
    gone.make_removal();
    jar.add(gone)
}

pub fn failed(language: Language, problem: Problem) -> Response {
    let mut response = message(language, problem.kind.status(), "failed", &problem.detail);
    response.extensions_mut().insert(problem);
    response
}

/// Who is at the second step, and how the first was taken: by the step cookie, or by a session that shall prove more.
pub(super) enum At {
    Half(Person, Evidence),
    Session(Box<Session>, Person),
}

impl At {
    pub(super) fn person(&self) -> &Person {
        match self {
            Self::Half(person, _) | Self::Session(_, person) => person,
        }
    }

    pub(super) fn amr(&self) -> &str {
        match self {
            Self::Half(_, evidence) => &evidence.amr,
            Self::Session(session, _) => &session.amr,
        }
    }
}

pub(super) async fn at(app: &App, jar: &CookieJar) -> Result<Option<At>, Problem> {
    if let Some(half) = jar.get(STEP_COOKIE)
        && let Some((half, person)) = app.open_half(half.value()).await
    {
        return Ok(Some(At::Half(person, half.evidence)));
    }
    let Some(session) = jar.get(SESSION_COOKIE) else { return Ok(None) };
    Ok(app.session(session.value()).await?.map(|(session, person)| At::Session(Box::new(session), person)))
}

/// The second step is right: the session opens, or the one there is gets stronger (with a new secret).
pub(super) async fn done(app: &App, jar: CookieJar, language: Language, at: At, second: &Evidence, origin: &Origin, to: Option<&str>) -> Response {
    match at {
        // A policy may want more than this step gave.
        At::Half(person, first) => Box::pin(after_first(app, jar, language, &person, origin, &first.and(second), to)).await,
        At::Session(session, person) => match app.strengthen_session(&person, session.id, &Evidence::by(&session.amr).and(second), origin).await {
            Ok(secret) => (without_step(jar).add(cookie(SESSION_COOKIE, secret)), see_other(safe_continue(to))).into_response(),
            Err(problem) => failed(language, problem),
        },
    }
}

fn to_login(to: Option<&str>) -> Response {
    see_other(&format!("/login?continue={}", encoded(safe_continue(to))))
}

pub async fn show(State(app): State<App>, jar: CookieJar, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    let language = language(&headers, query.get("ui_locales"));
    match at(&app, &jar).await {
        Ok(Some(at)) => page(&app, jar, language, StatusCode::OK, &at, query.get("continue"), None).await,
        Ok(None) => to_login(query.get("continue")),
        Err(problem) => failed(language, problem),
    }
}

pub async fn submit(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, form: Form) -> Response {
    let language = language(&headers, form.get("ui_locales"));
    let to = form.get("continue");
    let found = match at(&app, &jar).await {
        Ok(Some(at)) => at,
        Ok(None) => return to_login(to),
        Err(problem) => return failed(language, problem),
    };
    if !form_fits(&app, &jar, form.get("csrf")) {
        return page(&app, jar, language, StatusCode::BAD_REQUEST, &found, to, Some("expired_form")).await;
    }
    match app.verify_code(found.person().id, form.get("code").unwrap_or_default(), &origin).await {
        Ok(method) => done(&app, jar, language, found, &Evidence::by(method), &origin, to).await,
        Err(problem) => {
            let (status, error) = match problem.code {
                "identity.wrong_code" => (StatusCode::UNAUTHORIZED, "wrong_code"),
                "identity.too_many_attempts" => (StatusCode::TOO_MANY_REQUESTS, "too_many"),
                _ => (problem.kind.status(), "failed"),
            };
            let mut response = page(&app, jar, language, status, &found, to, Some(error)).await;
            super::retry_after(&mut response, &problem);
            response.extensions_mut().insert(problem);
            response
        }
    }
}

async fn page(app: &App, jar: CookieJar, language: Language, status: StatusCode, at: &At, to: Option<&str>, error: Option<&str>) -> Response {
    let choices = match app.choices_after(at.person().id, at.amr()).await {
        Ok(choices) => choices,
        Err(problem) => return failed(language, problem),
    };
    // Nothing to prove with, or nothing left to prove: no page that cannot be passed.
    let enough = !choices.any() || (level(at.amr()) >= Level::Two && !choices.passkey && !choices.certificate);
    if matches!(at, At::Session(..)) && enough {
        return see_other(safe_continue(to));
    }
    let (jar, csrf) = form_seal(app, jar);
    let to = safe_continue(to);
    let origins = client_origins(app, to).await;
    let values = context! { csrf, continue => to, error, totp => choices.totp, passkey => choices.passkey, certificate => choices.certificate, again => encoded(to), person => at.person().username.clone() };
    (jar, render_scripted(app, language, status, "second.html", values, &origins)).into_response()
}
