//! The page of the own account. Everything on it works without script but adding a passkey. Changes that could take
//! the account over want a fresh sign-in first, with the second factor if there is one.

use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use gantry_es::Meta;
use gantry_es_pg::Expect;
use gantry_kernel::{Kind, OffsetDateTime, Problem, Secret, Uuid};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use minijinja::{Value, context};
use qrcode::render::svg;

use super::certificate::{self, Bind};
use super::{SESSION_COOKIE, cookie, encoded, form_fits, form_seal, language, message, render, render_scripted, see_other, step};
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::account::Proof;
use crate::app::context::meta_of;
use crate::app::factors::NewTotp;
use crate::app::people::{Person, subject};
use crate::app::signin::Origin;
use crate::domain::language::Language;
use crate::store::personal;
use crate::store::sessions::{self, Session};

const PAGE: &str = "/account";

/// A request of somebody who is signed in.
pub(super) struct Visit {
    app: App,
    jar: CookieJar,
    language: Language,
    origin: Origin,
    session: Session,
    pub(super) person: Person,
    /// What the console says of the certificate to be bound: its name, and whether by name.
    wish: (String, bool),
}

impl Visit {
    pub(super) async fn begin(app: App, jar: CookieJar, headers: &HeaderMap, origin: Origin, locale: Option<&str>) -> Result<Self, Response> {
        let language = language(headers, locale);
        let found = match jar.get(SESSION_COOKIE) {
            Some(cookie) => app.session(cookie.value()).await.map_err(|p| step::failed(language, p))?,
            None => None,
        };
        let Some((session, person)) = found else { return Err(see_other(&format!("/login?continue={}", encoded(PAGE)))) };
        Ok(Self { app, jar, language, origin, session, person, wish: Default::default() })
    }

    fn meta(&self) -> Meta {
        meta_of(&subject(self.person.id), &self.origin.address)
    }

    /// Sends away who has to prove more first.
    pub(super) async fn prove(&self) -> Result<(), Response> {
        let to = encoded(PAGE);
        match self.app.proof(&self.session).await {
            Ok(Proof::Enough) => Ok(()),
            Ok(Proof::SignInAgain) => Err(see_other(&format!("/login?continue={to}&login_hint={}", encoded(&self.person.username)))),
            Ok(Proof::SecondStep) => Err(see_other(&format!("/login/second?continue={to}"))),
            Err(problem) => Err(step::failed(self.language, problem)),
        }
    }

    fn render(self, status: StatusCode, template: &str, values: Value) -> Response {
        let (jar, csrf) = form_seal(&self.app, self.jar);
        let values = context! { csrf, wide => true, username => self.person.username.clone(), ..values };
        (jar, render_scripted(&self.app, self.language, status, template, values, &[])).into_response()
    }

    async fn overview(self, status: StatusCode, error: Option<&str>, detail: Option<&str>, done: Option<&str>) -> Response {
        let (wish_label, wish_by_name) = self.wish.clone();
        match self.everything().await {
            Ok(values) => self.render(status, "account.html", context! { error, detail, done, wish_label, wish_by_name, ..values }),
            Err(problem) => step::failed(self.language, problem),
        }
    }

    async fn everything(&self) -> Result<Value, Problem> {
        let (app, id) = (&self.app, self.person.id);
        let used = self.app.factors(id).await?;
        let factors: Vec<Value> = used
            .into_iter()
            .map(|f| context! { id => f.id.to_string(), kind => f.kind, label => f.label, created => day(f.created_at), used => f.last_used_at.map(day) })
            .collect();
        let rows = sessions::of_user(app.pool(), id, app.now()).await.map_err(crate::error::fault)?;
        let current = self.session.id;
        let sessions: Vec<Value> = rows
            .into_iter()
            .map(|s| context! { id => s.id.to_string(), current => s.id == current, from => s.from_addr, agent => s.user_agent, since => day(s.created_at), amr => s.amr })
            .collect();
        let rows = personal::of_user(app.pool(), id).await.map_err(crate::error::fault)?;
        let tokens: Vec<Value> = rows
            .into_iter()
            .map(|t| context! { id => t.id.to_string(), name => t.name, hint => t.hint, until => t.expires_at.map(day), used => t.last_used_at.map(day) })
            .collect();
        let apps: Vec<Value> = app
            .connected_apps(id)
            .await?
            .into_iter()
            .map(|a| context! { client => a.client_id, name => a.name, scope => a.scope, since => day(a.since) })
            .collect();
        let certificates: Vec<Value> = app
            .certificates_of(id)
            .await?
            .into_iter()
            .map(|c| context! { id => c.id.to_string(), label => c.label, subject => c.subject, until => day(c.expires_at), by_name => c.by == "name" })
            .collect();
        let certificate = app.config.certificates_url.is_some();
        let codes_left = app.recovery_left(id).await?;
        let groups = app.groups(id).await?;
        let (email, display_name) = (self.person.email.clone(), self.person.display_name.clone());
        Ok(context! { factors, certificates, certificate, sessions, tokens, apps, codes_left, groups, email, display_name })
    }

    async fn refused(self, problem: Problem) -> Response {
        let status = problem.kind.status();
        let error = if problem.code == "identity.wrong_code" { "wrong_code" } else { "failed" };
        let detail = (problem.kind != Kind::Internal && error == "failed").then(|| problem.detail.clone());
        let mut response = self.overview(status, Some(error), detail.as_deref(), None).await;
        super::retry_after(&mut response, &problem);
        response.extensions_mut().insert(problem);
        response
    }
}

fn day(at: OffsetDateTime) -> String {
    format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute())
}

pub async fn show(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    match Visit::begin(app, jar, &headers, origin, query.get("ui_locales")).await {
        Ok(mut visit) => {
            visit.wish = (query.get("certificate").unwrap_or_default().chars().take(100).collect(), query.get("by") == Some("name"));
            visit.overview(StatusCode::OK, None, None, query.get("done").filter(|d| *d == "saved")).await
        }
        Err(response) => response,
    }
}

pub async fn submit(State(app): State<App>, Path(verb): Path<String>, jar: CookieJar, headers: HeaderMap, origin: Origin, form: Form) -> Response {
    let visit = match Visit::begin(app, jar, &headers, origin, form.get("ui_locales")).await {
        Ok(visit) => visit,
        Err(response) => return response,
    };
    if !form_fits(&visit.app, &visit.jar, form.get("csrf")) {
        return visit.overview(StatusCode::BAD_REQUEST, Some("expired_form"), None, None).await;
    }
    // What only ends things needs no fresh sign-in: who fears a thief must be able to act at once.
    let harmless = matches!(verb.as_str(), "profile" | "end-session" | "end-sessions" | "revoke-token" | "disconnect" | "remove-certificate");
    if !harmless && let Err(response) = visit.prove().await {
        return response;
    }
    match verb.as_str() {
        "profile" => profile(visit, &form).await,
        "password" => password(visit, &form).await,
        "totp" => begin_totp(visit).await,
        "totp-confirm" => confirm_totp(visit, &form).await,
        "passkey" => add_passkey(visit, &form).await,
        "remove-factor" => remove_factor(visit, &form).await,
        "certificate" => add_certificate(visit, &form).await,
        "remove-certificate" => remove_certificate(visit, &form).await,
        "recovery-codes" => recovery_codes(visit).await,
        "end-session" => end_session(visit, &form).await,
        "end-sessions" => end_sessions(visit).await,
        "make-token" => make_token(visit, &form).await,
        "revoke-token" => revoke_token(visit, &form).await,
        "disconnect" => disconnect(visit, &form).await,
        "export" => export(visit).await,
        "delete" => delete(visit, &form).await,
        _ => message(visit.language, StatusCode::NOT_FOUND, "failed", ""),
    }
}

fn saved() -> Response {
    see_other("/account?done=saved")
}

fn id_of(form: &Form) -> Uuid {
    form.get("id").and_then(|id| id.parse().ok()).unwrap_or_default()
}

async fn profile(visit: Visit, form: &Form) -> Response {
    let name = form.get("display_name").unwrap_or(&visit.person.username);
    let changed = visit.app.change_profile(&visit.person, None, Some(name), Expect::Any, visit.meta()).await;
    match changed {
        Ok(_) => saved(),
        Err(problem) => visit.refused(problem).await,
    }
}

async fn password(visit: Visit, form: &Form) -> Response {
    let secret = |name: &str| Secret::new(form.get(name).unwrap_or_default());
    if let Err(problem) = visit.app.verify_password(&visit.person.username, &secret("current_password"), &visit.origin).await {
        return match problem.kind {
            Kind::Unauthenticated => visit.overview(StatusCode::FORBIDDEN, Some("wrong_current"), None, None).await,
            _ => visit.refused(problem).await,
        };
    }
    let changed = visit.app.change_password(&visit.person, &secret("new_password"), false, Some(visit.session.id), Expect::Any, visit.meta()).await;
    match changed {
        Ok(()) => saved(),
        Err(problem) => visit.refused(problem).await,
    }
}

/// The picture of a code, black on white so that it can be read from dark pages too.
pub(super) fn qr(text: &str) -> Result<String, Problem> {
    let code = qrcode::QrCode::new(text.as_bytes()).map_err(Problem::internal)?;
    let picture = code.render::<svg::Color<'_>>().min_dimensions(220, 220).dark_color(svg::Color("#000")).light_color(svg::Color("#fff")).build();
    // As part of the page: no declaration.
    Ok(picture.split_once("?>").map_or(picture.clone(), |(_, svg)| svg.to_owned()))
}

fn totp_page(visit: Visit, status: StatusCode, new: &NewTotp, error: Option<&str>, label: &str) -> Response {
    match qr(&new.uri) {
        Ok(picture) => {
            let picture = Value::from_safe_string(picture);
            visit.render(
                status,
                "totp.html",
                context! { picture, secret => new.secret.clone(), uri => new.uri.clone(), pending => new.pending.clone(), totp => true, error, label, action => "/account/totp-confirm" },
            )
        }
        Err(problem) => step::failed(visit.language, problem),
    }
}

async fn begin_totp(visit: Visit) -> Response {
    match visit.app.begin_totp(&visit.person).await {
        Ok(new) => totp_page(visit, StatusCode::OK, &new, None, ""),
        Err(problem) => visit.refused(problem).await,
    }
}

async fn confirm_totp(visit: Visit, form: &Form) -> Response {
    let text = |name: &str| form.get(name).unwrap_or_default().to_owned();
    let (pending, code, label) = (text("pending"), text("code"), text("label"));
    match visit.app.confirm_totp(&visit.person, &pending, &code, &label, visit.meta()).await {
        Ok(codes) if codes.is_empty() => saved(),
        Ok(codes) => visit.render(StatusCode::OK, "codes.html", context! { codes, to => PAGE }),
        Err(problem) if problem.code == "identity.wrong_code" => match visit.app.resume_totp(&visit.person, &pending).await {
            Ok(again) => totp_page(visit, StatusCode::UNPROCESSABLE_ENTITY, &again, Some("wrong_code"), &label),
            Err(problem) => visit.refused(problem).await,
        },
        Err(problem) => visit.refused(problem).await,
    }
}

async fn add_passkey(visit: Visit, form: &Form) -> Response {
    let (credential, label) = (form.get("credential").unwrap_or_default(), form.get("label").unwrap_or_default());
    match visit.app.add_passkey(&visit.person, &super::passkey::browser(&visit.jar), credential, label, visit.meta()).await {
        Ok(codes) if codes.is_empty() => saved(),
        Ok(codes) => visit.render(StatusCode::OK, "codes.html", context! { codes, to => PAGE }),
        Err(problem) => visit.refused(problem).await,
    }
}

async fn remove_factor(visit: Visit, form: &Form) -> Response {
    match visit.app.remove_factor(visit.person.id, id_of(form), visit.meta()).await {
        Ok(()) => saved(),
        Err(problem) => visit.refused(problem).await,
    }
}

async fn add_certificate(visit: Visit, form: &Form) -> Response {
    let label = form.get("label").unwrap_or_default().chars().take(100).collect();
    let bind = Bind { user: visit.person.id, label, by_name: form.get("by") == Some("name") };
    certificate::onward(&visit.app, visit.jar, visit.language, bind).await
}

async fn remove_certificate(visit: Visit, form: &Form) -> Response {
    match visit.app.remove_certificate(visit.person.id, id_of(form), "removed by the person", visit.meta()).await {
        Ok(()) => saved(),
        Err(problem) => visit.refused(problem).await,
    }
}

async fn recovery_codes(visit: Visit) -> Response {
    match visit.app.make_recovery_codes(visit.person.id, visit.meta()).await {
        Ok(codes) => visit.render(StatusCode::OK, "codes.html", context! { codes, to => PAGE }),
        Err(problem) => visit.refused(problem).await,
    }
}

async fn end_session(visit: Visit, form: &Form) -> Response {
    match visit.app.end_session(visit.person.id, id_of(form), &subject(visit.person.id), &visit.origin.address).await {
        Ok(_) => saved(),
        Err(problem) => visit.refused(problem).await,
    }
}

async fn end_sessions(visit: Visit) -> Response {
    match visit.app.end_sessions(visit.person.id, Some(visit.session.id), "ended by the person").await {
        Ok(()) => saved(),
        Err(problem) => visit.refused(problem).await,
    }
}

async fn make_token(visit: Visit, form: &Form) -> Response {
    // A number that is none is out of range too.
    let days = form.get("days").map(|d| d.parse().unwrap_or(0));
    match visit.app.make_personal(visit.person.id, form.get("name").unwrap_or_default(), &[], days, &visit.origin).await {
        Ok((row, secret)) => visit.render(StatusCode::OK, "token.html", context! { name => row.name, secret }),
        Err(problem) => visit.refused(problem).await,
    }
}

async fn revoke_token(visit: Visit, form: &Form) -> Response {
    match visit.app.revoke_personal(visit.person.id, id_of(form), &visit.origin).await {
        Ok(()) => saved(),
        Err(problem) => visit.refused(problem).await,
    }
}

async fn disconnect(visit: Visit, form: &Form) -> Response {
    match visit.app.disconnect(visit.person.id, form.get("client").unwrap_or_default(), &visit.origin.address).await {
        Ok(()) => saved(),
        Err(problem) => visit.refused(problem).await,
    }
}

async fn export(visit: Visit) -> Response {
    match visit.app.export(&visit.person).await {
        Ok(data) => {
            let mut response = axum::Json(data).into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"my-data.json\""));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        }
        Err(problem) => visit.refused(problem).await,
    }
}

async fn delete(visit: Visit, form: &Form) -> Response {
    if form.get("confirm") != Some(visit.person.username.as_str()) {
        return visit.overview(StatusCode::UNPROCESSABLE_ENTITY, Some("wrong_confirmation"), None, None).await;
    }
    match visit.app.leave(&visit.person, visit.meta()).await {
        Ok(erased) => {
            let mut gone = cookie(SESSION_COOKIE, String::new());
            gone.make_removal();
            (visit.jar.add(gone), render(visit.language, StatusCode::OK, "erased.html", context! { values => erased.values, readable => erased.readable }, &[]))
                .into_response()
        }
        Err(problem) => visit.refused(problem).await,
    }
}
