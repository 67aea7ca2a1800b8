//! Questions about rights: may I, who may, and who may what.

use std::collections::BTreeMap;

use axum::extract::State;
use gantry_auth::{Caller, Context, Reason, permissions};
use gantry_host::{ApiResult, Json, Page, PageQuery, Query};
use gantry_kernel::{BindingId, OffsetDateTime, Problem, Scope};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::rest::bindings::{At, scope};
use crate::app::App;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// From the published list, e.g. `apps.write`.
    permission: String,
    org: Option<String>,
    project: Option<String>,
    space: Option<String>,
    /// About somebody else: needs `identity.bindings-read` there. Oneself if not given.
    subject: Option<String>,
    /// Suppose the request came from this address.
    from: Option<String>,
    /// Suppose these factors were used.
    factors: Option<Vec<String>>,
    /// Suppose it was this moment (RFC 3339).
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>)]
    at: Option<OffsetDateTime>,
}

#[derive(Serialize, ToSchema)]
pub struct Answer {
    allowed: bool,
    subject: String,
    permission: String,
    /// `platform`, `acme`, `acme/shop` or `acme/shop/test`.
    scope: String,
    /// The bindings that give the right; if it is denied: those that would if their condition held.
    reasons: Vec<Because>,
    /// In words.
    explanation: String,
}

#[derive(Serialize, ToSchema)]
pub struct Because {
    binding: BindingId,
    role: String,
    /// Where the role is bound.
    scope: String,
    /// From the subject's own team to the one that is bound; empty: bound directly.
    teams: Vec<String>,
    /// The part of the binding's condition that does not hold, or that depends on the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// From the published list.
    permission: String,
}

#[derive(Serialize, ToSchema)]
pub struct Holder {
    subject: String,
    name: String,
    reasons: Vec<Because>,
}

#[derive(Serialize, ToSchema)]
pub struct Row {
    subject: String,
    name: String,
    /// The permissions the subject has here; conditions are taken as not held.
    permissions: Vec<&'static str>,
}

fn permission(name: &str) -> ApiResult<&'static permissions::Permission> {
    permissions::find(name).ok_or_else(|| Problem::invalid("permission", format!("`{name}` is none: GET /api/v1/permissions lists them")))
}

fn because(app: &App, reason: Reason) -> Because {
    let auth = &app.host.auth;
    Because {
        binding: reason.binding,
        role: auth.read(|r| r.role_name(reason.role)),
        scope: place(app, reason.scope),
        teams: reason.teams.iter().map(|t| app.team_name(*t).map_or_else(|| t.to_string(), |n| n.to_string())).collect(),
        condition: reason.unmet,
    }
}

fn place(app: &App, scope: Scope) -> String {
    app.host.auth.read(|rights| match scope {
        Scope::Platform => "platform".to_owned(),
        Scope::Org(id) => rights.org_ref(id).map_or_else(|| scope.to_string(), |o| o.name.to_string()),
        Scope::Project(id) => rights.project_ref(id).map_or_else(|| scope.to_string(), gantry_auth::ProjectRef::path),
        Scope::Space(id) => rights.space_ref(id).map_or_else(|| scope.to_string(), gantry_auth::SpaceRef::path),
    })
}

fn explain(allowed: bool, out: bool, reasons: &[Because], permission: &str, scope: &str) -> String {
    let Some(first) = reasons.first() else {
        return format!("denied: no role that has {permission} is bound at {scope} or above");
    };
    let by = if first.teams.is_empty() { "directly".to_owned() } else { format!("by the team {}", first.teams.join(", which is below ")) };
    let bound = format!("the role {} at {}, {by}", first.role, first.scope);
    match (allowed, out, &first.condition) {
        (true, ..) => format!("allowed: {bound}"),
        (false, true, _) => format!("denied: suspended or deleted; otherwise {bound} would do"),
        (false, false, Some(condition)) => format!("denied: {bound} would do, but {condition}"),
        (false, false, None) => "denied".to_owned(),
    }
}

/// Whether the caller (or `subject`) may do something somewhere, and why. Changes nothing.
#[utoipa::path(post, path = "/api/v1/rights/check", tag = "rights", request_body = Question, responses((status = 200, body = Answer)))]
pub async fn check(State(app): State<App>, caller: Caller, Json(body): Json<Question>) -> ApiResult<Json<Answer>> {
    let permission = permission(&body.permission)?;
    let at = At { org: body.org, project: body.project, space: body.space };
    let scope = scope(&app, &caller, &at)?;
    let subject = match &body.subject {
        None => caller.subject.clone(),
        Some(text) => {
            let subject = app.find_subject(text, app.tenant(scope)).await.map(|s| s.to_string());
            if !matches!(&subject, Ok(subject) if *subject == caller.subject) {
                app.host.auth.permit(&caller, "identity.bindings-read", scope)?;
            }
            subject?
        }
    };
    let own = caller.context();
    let from = match body.from.as_deref() {
        Some(text) => Some(text.parse().map_err(|_| Problem::invalid("from", "must be an IP address"))?),
        None => own.from,
    };
    let context = Context { now: body.at.unwrap_or(own.now), from, factors: body.factors.unwrap_or(own.factors) };
    let decision = app.host.auth.read(|rights| rights.explain(&subject, permission, scope, Some(&context)));
    let reasons: Vec<_> = decision.reasons.into_iter().map(|r| because(&app, r)).collect();
    let scope = place(&app, scope);
    let explanation = explain(decision.allowed, decision.out, &reasons, permission.name, &scope);
    Ok(Json(Answer { allowed: decision.allowed, subject, permission: permission.name.to_owned(), scope, reasons, explanation }))
}

/// Everybody who may do something somewhere, with the reasons (needs `identity.bindings-read` there).
#[utoipa::path(get, path = "/api/v1/rights/who-can", tag = "rights", params(Which, At, PageQuery), responses((status = 200, body = Page<Holder>)))]
pub async fn who_can(
    State(app): State<App>,
    caller: Caller,
    Query(which): Query<Which>,
    Query(at): Query<At>,
    Query(page): Query<PageQuery>,
) -> ApiResult<Json<Page<Holder>>> {
    let permission = permission(&which.permission)?;
    let scope = scope(&app, &caller, &at)?;
    app.host.auth.permit(&caller, "identity.bindings-read", scope)?;
    let limit = page.limit()?;
    let found: BTreeMap<String, Vec<Reason>> = app.host.auth.read(|rights| rights.who_can(permission, scope));
    let mut items = Vec::new();
    for (subject, reasons) in after(found, page.cursor.as_deref(), limit) {
        let name = app.subject_name(&subject).await?.unwrap_or_default();
        items.push(Holder { subject, name, reasons: reasons.into_iter().map(|r| because(&app, r)).collect() });
    }
    Ok(Json(Page::of(items, limit, |h| h.subject.clone())))
}

/// Who may what at a place: a row for everybody with a role there or above (needs `identity.bindings-read`).
#[utoipa::path(get, path = "/api/v1/rights/matrix", tag = "rights", params(At, PageQuery), responses((status = 200, body = Page<Row>)))]
pub async fn matrix(State(app): State<App>, caller: Caller, Query(at): Query<At>, Query(page): Query<PageQuery>) -> ApiResult<Json<Page<Row>>> {
    let scope = scope(&app, &caller, &at)?;
    app.host.auth.permit(&caller, "identity.bindings-read", scope)?;
    let limit = page.limit()?;
    let subjects: BTreeMap<String, ()> = app.host.auth.read(|rights| rights.subjects_at(scope)).into_iter().map(|s| (s, ())).collect();
    let mut items = Vec::new();
    for (subject, ()) in after(subjects, page.cursor.as_deref(), limit) {
        let permissions = app.host.auth.read(|rights| {
            let has = |p: &&permissions::Permission| rights.allows(&subject, p, scope, None);
            permissions::ALL.iter().filter(has).map(|p| p.name).collect()
        });
        let name = app.subject_name(&subject).await?.unwrap_or_default();
        items.push(Row { subject, name, permissions });
    }
    Ok(Json(Page::of(items, limit, |r| r.subject.clone())))
}

fn after<T>(found: BTreeMap<String, T>, cursor: Option<&str>, limit: u64) -> impl Iterator<Item = (String, T)> {
    let cursor = cursor.map(str::to_owned);
    let most = usize::try_from(limit + 1).unwrap_or(usize::MAX);
    found.into_iter().filter(move |(subject, _)| cursor.as_ref().is_none_or(|c| subject > c)).take(most)
}
