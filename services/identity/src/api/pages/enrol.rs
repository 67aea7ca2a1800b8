//! The enrolment that a policy asks for between the first step of a sign-in and the session.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use gantry_contract::policy::SecondFactor;
use gantry_kernel::Problem;
use http::{HeaderMap, StatusCode};
use minijinja::{Value, context};

use super::{SESSION_COOKIE, account, cookie, encoded, form_fits, form_seal, language, message, render_scripted, safe_continue, see_other, step};
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::context::meta_of;
use crate::app::factors::NewTotp;
use crate::app::people::{Person, subject};
use crate::app::signin::Origin;
use crate::app::steps::{Due, Evidence};
use crate::domain::language::Language;

/// Who has to enrol now, and how the first step was taken.
pub(super) async fn who(app: &App, jar: &CookieJar) -> Result<Option<(Person, Evidence)>, Problem> {
    match step::at(app, jar).await? {
        Some(step::At::Half(person, evidence)) => {
            let rules = app.rules_for(person.id).await?;
            let due = app.due_after(person.id, &evidence.amr, &rules).await?;
            Ok((due == Due::Enrolment).then_some((person, evidence)))
        }
        Some(_) | None => Ok(None),
    }
}

pub async fn show(State(app): State<App>, jar: CookieJar, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    let language = language(&headers, query.get("ui_locales"));
    let to = query.get("continue");
    match who(&app, &jar).await {
        Ok(Some((person, _))) => match app.begin_totp(&person).await {
            Ok(new) => page(&app, jar, language, StatusCode::OK, &person, &new, to, None).await,
            Err(problem) => step::failed(language, problem),
        },
        Ok(None) => see_other(&format!("/login?continue={}", encoded(safe_continue(to)))),
        Err(problem) => step::failed(language, problem),
    }
}

pub async fn submit(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, form: Form) -> Response {
    let language = language(&headers, form.get("ui_locales"));
    let text = |name: &str| form.get(name).unwrap_or_default();
    if !form_fits(&app, &jar, form.get("csrf")) {
        return message(language, StatusCode::BAD_REQUEST, "expired_form", "");
    }
    let (person, evidence) = match who(&app, &jar).await {
        Ok(Some(found)) => found,
        Ok(None) => return see_other("/login"),
        Err(problem) => return step::failed(language, problem),
    };
    let meta = meta_of(&subject(person.id), &origin.address);
    let added = if text("credential").is_empty() {
        app.confirm_totp(&person, text("pending"), text("code"), text("label"), meta).await.map(|codes| (codes, "otp"))
    } else {
        app.add_passkey(&person, &super::passkey::browser(&jar), text("credential"), text("label"), meta).await.map(|codes| (codes, "hwk user mfa"))
    };
    match added {
        Ok((codes, method)) => opened(&app, jar, language, &person, &evidence.and(&Evidence::by(method)), codes, &origin, form.get("continue")).await,
        Err(problem) if problem.code == "identity.wrong_code" => match app.resume_totp(&person, text("pending")).await {
            Ok(again) => page(&app, jar, language, StatusCode::UNPROCESSABLE_ENTITY, &person, &again, form.get("continue"), Some("wrong_code")).await,
            Err(problem) => step::failed(language, problem),
        },
        Err(problem) => step::failed(language, problem),
    }
}

#[allow(clippy::too_many_arguments, reason = "a request's parts, handed on once")]
async fn opened(
    app: &App,
    jar: CookieJar,
    language: Language,
    person: &Person,
    evidence: &Evidence,
    codes: Vec<String>,
    origin: &Origin,
    to: Option<&str>,
) -> Response {
    if codes.is_empty() {
        return step::after_first(app, jar, language, person, origin, evidence, to).await;
    }
    let rules = match app.rules_for(person.id).await {
        Ok(rules) => rules,
        Err(problem) => return step::failed(language, problem),
    };
    match app.due_after(person.id, &evidence.amr, &rules).await {
        Ok(Due::Nothing) => {}
        // Not enough yet: the next page of the sign-in follows the codes.
        Ok(Due::SecondStep | Due::Enrolment) => return step::after_first(app, jar, language, person, origin, evidence, to).await,
        Err(problem) => return step::failed(language, problem),
    }
    match app.open_session(person, origin, evidence, &rules, None).await {
        Ok((_, secret)) => {
            let jar = step::without_step(jar).add(cookie(SESSION_COOKIE, secret));
            (jar, render_scripted(app, language, StatusCode::OK, "codes.html", context! { codes, to => safe_continue(to) }, &[])).into_response()
        }
        Err(problem) => step::failed(language, problem),
    }
}

#[allow(clippy::too_many_arguments, reason = "a request's parts, handed on once")]
async fn page(
    app: &App,
    jar: CookieJar,
    language: Language,
    status: StatusCode,
    person: &Person,
    new: &NewTotp,
    to: Option<&str>,
    error: Option<&str>,
) -> Response {
    let rule = match app.policy_for(person.id).await {
        Ok(policy) => policy.second_factor,
        Err(problem) => return step::failed(language, problem),
    };
    let picture = match account::qr(&new.uri) {
        Ok(picture) => Value::from_safe_string(picture),
        Err(problem) => return step::failed(language, problem),
    };
    let (jar, csrf) = form_seal(app, jar);
    let totp = rule != SecondFactor::Passkey;
    let values = context! {
        csrf, picture, totp, secret => new.secret.clone(), pending => new.pending.clone(), error, label => "", action => "/login/enrol", continue => safe_continue(to), forced => true,
    };
    (jar, render_scripted(app, language, status, "totp.html", values, &[])).into_response()
}
