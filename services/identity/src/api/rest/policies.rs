//! Security policies of the platform and of organisations.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_contract::policy::SecurityPolicy;
use gantry_host::{ApiResult, IfMatch, Json, Path, with_etag};
use gantry_kernel::{OrgId, Role, Scope};

use crate::app::App;

fn org_at(app: &App, caller: &Caller, name: &str, role: Role) -> ApiResult<OrgId> {
    let org = crate::api::rest::orgs::known(app, caller, name)?;
    app.host.auth.require(caller, role, Scope::Org(org))?;
    Ok(org)
}

#[utoipa::path(get, path = "/api/v1/policies/security", tag = "policies", responses((status = 200, body = SecurityPolicy)))]
pub async fn show_platform(State(app): State<App>, caller: Caller) -> ApiResult<Response> {
    app.host.auth.require(&caller, Role::Viewer, Scope::Platform)?;
    let (policy, version) = app.policy(None).await?;
    Ok(with_etag(version, Json(policy)))
}

/// Replaces the platform's policy. Of it and an organisation's, the stricter rule holds.
#[utoipa::path(put, path = "/api/v1/policies/security", tag = "policies", params(IfMatch), request_body = SecurityPolicy, responses((status = 200, body = SecurityPolicy)))]
pub async fn put_platform(State(app): State<App>, caller: Caller, IfMatch(expect): IfMatch, Json(body): Json<SecurityPolicy>) -> ApiResult<Response> {
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    let (policy, version) = app.change_policy(None, body, expect, caller.meta(None)).await?;
    Ok(with_etag(version, Json(policy)))
}

#[utoipa::path(get, path = "/api/v1/orgs/{org}/policies/security", tag = "policies", params(("org" = String, Path)), responses((status = 200, body = SecurityPolicy)))]
pub async fn show_org(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> ApiResult<Response> {
    let org = org_at(&app, &caller, &name, Role::Viewer)?;
    let (policy, version) = app.policy(Some(org)).await?;
    Ok(with_etag(version, Json(policy)))
}

/// Replaces an organisation's policy. It holds for all its members.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/policies/security", tag = "policies", params(("org" = String, Path), IfMatch), request_body = SecurityPolicy,
    responses((status = 200, body = SecurityPolicy)))]
pub async fn put_org(
    State(app): State<App>,
    caller: Caller,
    IfMatch(expect): IfMatch,
    Path(name): Path<String>,
    Json(body): Json<SecurityPolicy>,
) -> ApiResult<Response> {
    let org = org_at(&app, &caller, &name, Role::Admin)?;
    let (policy, version) = app.change_policy(Some(org), body, expect, caller.meta(None)).await?;
    Ok(with_etag(version, Json(policy)))
}
