//! Role bindings: who may do what where.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_contract::identity::{Condition, RoleRef};
use gantry_host::{ApiResult, Json, Page, PageQuery, Path, Query, created};
use gantry_kernel::{BindingId, OffsetDateTime, Problem, Scope, UserId, Uuid};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::app::people::subject as subject_of;
use crate::error::fault;
use crate::store::directory;
use crate::store::entities::binding;

#[derive(Serialize, ToSchema)]
pub struct Binding {
    id: BindingId,
    /// `user:<id>`, `team:<id>` or `robot:<id>`.
    subject: String,
    /// User name, `team:<name>` or `robot:<name>`.
    name: Option<String>,
    /// `viewer`, `editor`, `admin`, or `role:<id>`.
    role: String,
    role_name: String,
    /// `platform`, `org:<id>`, `project:<id>` or `space:<id>`.
    scope: String,
    /// `platform`, `acme`, `acme/shop` or `acme/shop/test`.
    scope_name: String,
    /// When it counts; always if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<Condition>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBinding {
    /// A user name, `user:<id>`, `team:<name or id>` or `robot:<name or id>`.
    subject: String,
    /// `viewer`, `editor`, `admin`, or a custom role by name or `role:<id>`.
    role: String,
    /// Without one: the platform.
    org: Option<String>,
    project: Option<String>,
    space: Option<String>,
    /// Time, network and factors under which the binding counts.
    condition: Option<Condition>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct At {
    /// Without one: the platform.
    pub org: Option<String>,
    pub project: Option<String>,
    pub space: Option<String>,
}

/// The scope named by organisation, project and space, if the caller may know it. Hidden and missing look alike.
pub(super) fn scope(app: &App, caller: &Caller, at: &At) -> ApiResult<Scope> {
    let auth = &app.host.auth;
    let (found, hidden) = match (&at.org, &at.project, &at.space) {
        (None, None, None) => return Ok(Scope::Platform),
        (Some(org), None, None) => (auth.org(org)?.scope(), Problem::not_found("organisation", org)),
        (Some(org), Some(project), None) => (auth.project(org, project)?.scope(), Problem::not_found("project", format_args!("{org}/{project}"))),
        (Some(org), Some(project), Some(space)) => {
            (auth.space(org, project, space)?.scope(), Problem::not_found("space", format_args!("{org}/{project}/{space}")))
        }
        _ => return Err(Problem::invalid("project", "a project needs its organisation, and a space its project")),
    };
    if auth.read(|rights| rights.may_know(&caller.subject, found)) { Ok(found) } else { Err(hidden) }
}

async fn render(app: &App, row: binding::Model) -> ApiResult<Binding> {
    let names = app.scope_names(std::iter::once(row.scope.as_str())).await;
    let name = app.subject_name(&row.subject).await?;
    let role: RoleRef = row.role.parse().map_err(|e: String| fault(e))?;
    let condition = row.condition.as_deref().map(serde_json::from_str).transpose().map_err(fault)?;
    Ok(Binding {
        id: BindingId(row.id),
        name,
        scope_name: names.get(&row.scope).cloned().unwrap_or_default(),
        subject: row.subject,
        role_name: app.host.auth.read(|r| r.role_name(role)),
        role: row.role,
        condition,
        scope: row.scope,
        created_at: row.created_at,
    })
}

/// The bindings at exactly one place.
#[utoipa::path(get, path = "/api/v1/bindings", tag = "rights", params(At, PageQuery), responses((status = 200, body = Page<Binding>)))]
pub async fn list(State(app): State<App>, caller: Caller, Query(at): Query<At>, Query(page): Query<PageQuery>) -> ApiResult<Json<Page<Binding>>> {
    let scope = scope(&app, &caller, &at)?;
    app.host.auth.permit(&caller, "identity.bindings-read", scope)?;
    let limit = page.limit()?;
    let after = page.cursor.as_deref().map(Uuid::parse_str).transpose().map_err(|_| Problem::invalid("cursor", "must be `next` of a page before"))?;
    let mut items = Vec::new();
    for row in directory::bindings_at(app.orm(), vec![scope.to_string()], after, limit + 1).await.map_err(fault)? {
        items.push(render(&app, row).await?);
    }
    Ok(Json(Page::of(items, limit, |b| b.id.to_string())))
}

/// Gives a role (needs `identity.bindings-write` and everything the role allows).
#[utoipa::path(post, path = "/api/v1/bindings", tag = "rights", request_body = NewBinding, responses((status = 201, body = Binding)))]
pub async fn create(State(app): State<App>, caller: Caller, Json(body): Json<NewBinding>) -> ApiResult<Response> {
    let scope = scope(&app, &caller, &At { org: body.org, project: body.project, space: body.space })?;
    app.host.auth.permit(&caller, "identity.bindings-write", scope)?;
    let subject = app.find_subject(&body.subject, app.tenant(scope)).await?;
    let role = app.find_role(&body.role, scope).await?;
    app.refuse_more_than_own(&caller, role, scope)?;
    let id = app.grant_when(subject, role, scope, body.condition, caller.meta(None)).await?;
    let row = directory::binding(app.orm(), id).await.map_err(fault)?.ok_or_else(|| Problem::not_found("binding", id))?;
    Ok(created(&format!("/api/v1/bindings/{id}"), 1, Json(render(&app, row).await?)))
}

/// Takes a role away; it stops counting everywhere within a second.
#[utoipa::path(delete, path = "/api/v1/bindings/{id}", tag = "rights", params(("id" = String, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<StatusCode> {
    let missing = || Problem::not_found("binding", id);
    let row = directory::binding(app.orm(), BindingId(id)).await.map_err(fault)?.ok_or_else(missing)?;
    let scope: Scope = row.scope.parse().map_err(fault)?;
    if !app.host.auth.read(|rights| rights.may_know(&caller.subject, scope)) {
        return Err(missing());
    }
    app.host.auth.permit(&caller, "identity.bindings-write", scope)?;
    let user = row.subject.strip_prefix("user:").and_then(|u| u.parse::<UserId>().ok());
    if let (Some(user), "admin") = (user, row.role.as_str()) {
        match scope {
            Scope::Platform => app.refuse_last_admin(user).await?,
            Scope::Org(org) => {
                let owns = directory::orgs_by_ids(app.orm(), vec![org.0]).await.map_err(fault)?.iter().any(|o| o.owner == user.0);
                if owns {
                    return Err(Problem::conflict("identity.owner_stays", format!("{} owns the organisation and stays its administrator", subject_of(user))));
                }
            }
            Scope::Project(_) | Scope::Space(_) => {}
        }
    }
    app.revoke(BindingId(id), caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}
