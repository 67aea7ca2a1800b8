//! `/quota` of organisations, projects and users.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_contract::billing::Limits;
use gantry_host::{ApiResult, IfMatch, Json, Path, with_etag};
use gantry_kernel::{Role, Scope, UserId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::app::quotas::Quota;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(get_org, put_org)).routes(routes!(get_project, put_project)).routes(routes!(get_user, put_user))
}

fn answer(quota: Quota) -> Response {
    with_etag(quota.version, Json(quota))
}

/// Limits of an organisation and what its applications have reserved.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/quota", tag = "quotas", params(("org" = String, Path)), responses((status = 200, body = Quota)))]
async fn get_org(State(app): State<Arc<App>>, caller: Caller, Path(org): Path<String>) -> ApiResult<Response> {
    let org = app.host.auth.org(&org)?;
    app.host.auth.require(&caller, Role::Viewer, org.scope())?;
    Ok(answer(app.quota(&org.scope().to_string()).await?))
}

/// Sets the limits of an organisation as a whole. Platform administrators only: nobody raises their own limits.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/quota", tag = "quotas", params(("org" = String, Path), IfMatch), request_body = Limits, responses((status = 200, body = Quota)))]
async fn put_org(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(org): Path<String>,
    IfMatch(expect): IfMatch,
    Json(limits): Json<Limits>,
) -> ApiResult<Response> {
    let org = app.host.auth.org(&org)?;
    app.host.auth.require(&caller, Role::Viewer, org.scope())?;
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    let holder = org.scope().to_string();
    Ok(answer(app.set_quota(&holder, Some(org.scope()), limits, expect, caller.meta(Some(org.id))).await?))
}

/// Limits of a project and what its applications have reserved.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/quota", tag = "quotas", params(("org" = String, Path), ("project" = String, Path)), responses((status = 200, body = Quota)))]
async fn get_project(State(app): State<Arc<App>>, caller: Caller, Path((org, project)): Path<(String, String)>) -> ApiResult<Response> {
    let project = app.host.auth.project(&org, &project)?;
    app.host.auth.require(&caller, Role::Viewer, project.scope())?;
    Ok(answer(app.quota(&project.scope().to_string()).await?))
}

/// Sets the limits of a project. Administrators of the organisation.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/quota", tag = "quotas", params(("org" = String, Path), ("project" = String, Path), IfMatch), request_body = Limits, responses((status = 200, body = Quota)))]
async fn put_project(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((org, project)): Path<(String, String)>,
    IfMatch(expect): IfMatch,
    Json(limits): Json<Limits>,
) -> ApiResult<Response> {
    let project = app.host.auth.project(&org, &project)?;
    app.host.auth.require(&caller, Role::Viewer, project.scope())?;
    app.host.auth.require(&caller, Role::Admin, project.org.scope())?;
    let holder = project.scope().to_string();
    Ok(answer(app.set_quota(&holder, Some(project.scope()), limits, expect, caller.meta(Some(project.org.id))).await?))
}

/// Limits of a person over all organisations. For that person and platform administrators.
#[utoipa::path(get, path = "/api/v1/users/{user}/quota", tag = "quotas", params(("user" = uuid::Uuid, Path)), responses((status = 200, body = Quota)))]
async fn get_user(State(app): State<Arc<App>>, caller: Caller, Path(user): Path<UserId>) -> ApiResult<Response> {
    if caller.user_id() != Some(user) {
        app.host.auth.require(&caller, Role::Viewer, Scope::Platform)?;
    }
    Ok(answer(app.quota(&format!("user:{user}")).await?))
}

/// Sets the limits of a person. Platform administrators only.
#[utoipa::path(put, path = "/api/v1/users/{user}/quota", tag = "quotas", params(("user" = uuid::Uuid, Path), IfMatch), request_body = Limits, responses((status = 200, body = Quota)))]
async fn put_user(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<UserId>,
    IfMatch(expect): IfMatch,
    Json(limits): Json<Limits>,
) -> ApiResult<Response> {
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    Ok(answer(app.set_quota(&format!("user:{user}"), None, limits, expect, caller.meta(None)).await?))
}
