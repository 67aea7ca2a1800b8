//! Custom roles, and the permissions they are put together from.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::{Caller, permissions};
use gantry_host::{ApiResult, IfMatch, Json, Page, Path, Query, created, with_etag};
use gantry_kernel::{OffsetDateTime, OrgId, Problem, Role, RoleId, Scope};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::rest::{permitted, seen};
use crate::app::App;
use crate::app::orgs::name_of;
use crate::error::fault;
use crate::store::groups;

#[derive(Serialize, ToSchema)]
pub struct Permission {
    /// `<area>.<verb>`.
    name: &'static str,
    area: &'static str,
    /// The least built-in role that has it.
    role: Role,
    description: &'static str,
}

#[derive(Serialize, ToSchema)]
pub struct RoleView {
    /// `viewer`, `editor`, `admin`, or the id of a custom role.
    id: String,
    name: String,
    /// Whose it is; null: the platform's.
    org: Option<OrgId>,
    built_in: bool,
    description: String,
    permissions: Vec<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    created_at: Option<OffsetDateTime>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    /// A DNS label, unique in the organisation (or on the platform).
    name: String,
    /// Without one: a role of the platform, to be bound anywhere.
    org: Option<String>,
    #[serde(default)]
    description: String,
    /// From the published list.
    permissions: Vec<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleChange {
    description: Option<String>,
    permissions: Option<Vec<String>>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Of {
    /// The organisation whose roles are asked for, besides the platform's.
    org: Option<String>,
}

fn render(row: groups::RoleRow) -> RoleView {
    RoleView {
        id: row.id.to_string(),
        name: row.name,
        org: row.org.map(OrgId),
        built_in: false,
        description: row.description,
        permissions: row.permissions.split(' ').filter(|p| !p.is_empty()).map(str::to_owned).collect(),
        created_at: Some(row.created_at),
    }
}

fn built_in(role: Role) -> RoleView {
    let description = match role {
        Role::Viewer => "Reads",
        Role::Editor => "Reads, creates, changes, deletes",
        Role::Admin => "Everything in its scope, the rights of others included",
    };
    RoleView {
        id: role.as_str().to_owned(),
        name: role.as_str().to_owned(),
        org: None,
        built_in: true,
        description: description.to_owned(),
        permissions: permissions::ALL.iter().filter(|p| p.role <= role).map(|p| p.name.to_owned()).collect(),
        created_at: None,
    }
}

/// Everything that a role can allow. The list only grows.
#[utoipa::path(get, path = "/api/v1/permissions", tag = "rights", responses((status = 200, body = Page<Permission>)))]
pub async fn permissions(_: Caller) -> Json<Page<Permission>> {
    let view = |p: &permissions::Permission| Permission { name: p.name, area: p.area(), role: p.role, description: p.description };
    Json(Page::all(permissions::ALL.iter().map(view).collect()))
}

/// The built-in roles, the platform's, and those of `org`.
#[utoipa::path(get, path = "/api/v1/roles", tag = "rights", params(Of), responses((status = 200, body = Page<RoleView>)))]
pub async fn list(State(app): State<App>, caller: Caller, Query(of): Query<Of>) -> ApiResult<Json<Page<RoleView>>> {
    let org = of.org.as_deref().map(|org| seen(&app, &caller, org)).transpose()?;
    let rows = groups::roles(app.pool(), org).await.map_err(fault)?;
    let built_in = [Role::Viewer, Role::Editor, Role::Admin].map(built_in);
    Ok(Json(Page::all(built_in.into_iter().chain(rows.into_iter().map(render)).collect())))
}

/// Defines a role (needs `identity.roles-write` and every permission it shall have).
#[utoipa::path(post, path = "/api/v1/roles", tag = "rights", request_body = NewRole, responses((status = 201, body = RoleView)))]
pub async fn create(State(app): State<App>, caller: Caller, Json(body): Json<NewRole>) -> ApiResult<Response> {
    let org = match &body.org {
        Some(org) => Some(permitted(&app, &caller, org, "identity.roles-write")?),
        None => {
            app.host.auth.permit(&caller, "identity.roles-write", Scope::Platform)?;
            None
        }
    };
    app.refuse_permissions_beyond(&caller, org, &body.permissions)?;
    let (made, version) = app.define_role(org, &body.name, &body.description, body.permissions, caller.meta(org)).await?;
    let row = groups::role(app.pool(), made.role).await.map_err(fault)?.ok_or_else(|| Problem::not_found("role", made.role))?;
    Ok(created(&format!("/api/v1/roles/{}", made.role), version, Json(render(row))))
}

/// The role, if the caller may know of it: the platform's are everybody's to read.
async fn find(app: &App, caller: &Caller, id: RoleId) -> ApiResult<groups::RoleRow> {
    let missing = || Problem::not_found("role", id);
    let row = groups::role(app.pool(), id).await.map_err(fault)?.ok_or_else(missing)?;
    match row.org {
        Some(org) if !app.host.auth.read(|r| r.may_know(&caller.subject, Scope::Org(OrgId(org)))) => Err(missing()),
        _ => Ok(row),
    }
}

#[utoipa::path(get, path = "/api/v1/roles/{id}", tag = "rights", params(("id" = String, Path)), responses((status = 200, body = RoleView)))]
pub async fn show(State(app): State<App>, caller: Caller, Path(id): Path<RoleId>) -> ApiResult<Response> {
    let row = find(&app, &caller, id).await?;
    Ok(with_etag(row.version, Json(render(row))))
}

/// Changes a role; it counts everywhere within a second.
#[utoipa::path(patch, path = "/api/v1/roles/{id}", tag = "rights", params(("id" = String, Path), IfMatch), request_body = RoleChange, responses((status = 200, body = RoleView)))]
pub async fn change(
    State(app): State<App>,
    caller: Caller,
    IfMatch(expect): IfMatch,
    Path(id): Path<RoleId>,
    Json(body): Json<RoleChange>,
) -> ApiResult<Response> {
    let row = find(&app, &caller, id).await?;
    let org = row.org.map(OrgId);
    app.host.auth.permit(&caller, "identity.roles-write", App::role_scope(org))?;
    if let Some(permissions) = &body.permissions {
        app.refuse_permissions_beyond(&caller, org, permissions)?;
    }
    app.change_role(org, id, body.description, body.permissions, expect, caller.meta(org)).await?;
    let row = find(&app, &caller, id).await?;
    Ok(with_etag(row.version, Json(render(row))))
}

/// Deletes a role that nobody has.
#[utoipa::path(delete, path = "/api/v1/roles/{id}", tag = "rights", params(("id" = String, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<App>, caller: Caller, Path(id): Path<RoleId>) -> ApiResult<StatusCode> {
    let row = find(&app, &caller, id).await?;
    let org = row.org.map(OrgId);
    app.host.auth.permit(&caller, "identity.roles-write", App::role_scope(org))?;
    app.delete_role(org, id, &name_of("name", &row.name)?, caller.meta(org)).await?;
    Ok(StatusCode::NO_CONTENT)
}
