//! What a project wants of its part of the registry: read by its members, changed by its administrators.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::{Caller, ProjectRef};
use gantry_contract::registry::settings::{Allowance, Change, Policy, Retention, Scanning, TagRule, TrustedKey, WantedPlatforms};
use gantry_host::{ApiResult, IfMatch, Json, Path, with_etag};
use gantry_kernel::{Problem, Role};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::settings_view::SettingsView;
use crate::app::App;
use crate::store::usage;

/// How much may be kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaBody {
    /// Bytes; null for no limit.
    pub bytes: Option<u64>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImmutabilityBody {
    pub rules: Vec<TagRule>,
}

/// What a project keeps, counted both ways.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageView {
    /// Every layer, config and manifest once, however many images share it. This counts for the quota.
    pub unique_bytes: i64,
    /// The sum over all images, shared content each time.
    pub image_bytes: i64,
    pub images: i64,
    pub quota_bytes: Option<u64>,
}

/// A member of the project. That it is public is no reason to see how it is run.
pub(super) fn member(app: &App, caller: &Caller, org: &str, name: &str, role: Role) -> Result<ProjectRef, Problem> {
    let found = app.host.auth.project(org, name)?;
    app.host.auth.require(caller, role, found.scope()).map_err(|problem| match problem.kind {
        gantry_kernel::Kind::NotFound => Problem::not_found("project", format_args!("{org}/{name}")),
        _ => problem,
    })?;
    Ok(found)
}

pub(super) async fn change(app: &App, caller: &Caller, at: (&str, &str), expect: IfMatch, change: Change) -> ApiResult<Response> {
    let project = member(app, caller, at.0, at.1, Role::Admin)?;
    let (settings, version) = app.change_settings(&project, change, caller.meta(None), expect.0).await?;
    Ok(with_etag(version, Json(SettingsView::of(settings))))
}

/// A body whose name is the last part of the address.
pub(super) fn named<T: DeserializeOwned>(key: &str, name: String, body: Value) -> Result<T, Problem> {
    let Value::Object(mut map) = body else { return Err(Problem::invalid("body", "must be an object")) };
    if map.insert(key.into(), Value::String(name.clone())).is_some_and(|said| said != Value::String(name)) {
        return Err(Problem::invalid(key, "must be the one in the address, or left out"));
    }
    serde_json::from_value(Value::Object(map)).map_err(|e| Problem::invalid("body", e.to_string()))
}

/// All settings of a project's images.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/registry/settings", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path)),
    responses((status = 200, body = SettingsView, description = "with an ETag for If-Match"), (status = 404, description = "no such project, or not a member")))]
pub async fn show(State(app): State<App>, caller: Caller, Path((org, name)): Path<(String, String)>) -> ApiResult<Response> {
    let project = member(&app, &caller, &org, &name, Role::Viewer)?;
    let (settings, version) = app.settings_now(project.id).await?;
    Ok(with_etag(version, Json(SettingsView::of(settings))))
}

/// What the project's images take.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/registry/usage", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path)), responses((status = 200, body = UsageView), (status = 404)))]
pub async fn usage(State(app): State<App>, caller: Caller, Path((org, name)): Path<(String, String)>) -> ApiResult<Json<UsageView>> {
    let project = member(&app, &caller, &org, &name, Role::Viewer)?;
    let used = usage::of(&app.host.db().orm, project.id).await.map_err(Problem::internal)?;
    let quota_bytes = app.settings(project.id).await?.quota_bytes;
    Ok(Json(UsageView { unique_bytes: used.unique_bytes, image_bytes: used.image_bytes, images: used.images, quota_bytes }))
}

type Project = Path<(String, String)>;
type Item = Path<(String, String, String)>;

/// Sets the storage quota.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/registry/quota", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path), IfMatch), request_body = QuotaBody,
    responses((status = 200, body = SettingsView), (status = 403, description = "needs admin on the project"), (status = 404), (status = 412)))]
pub async fn quota(State(app): State<App>, caller: Caller, Path((org, name)): Project, expect: IfMatch, Json(body): Json<QuotaBody>) -> ApiResult<Response> {
    change(&app, &caller, (&org, &name), expect, Change::Quota(body.bytes)).await
}

/// Says which tags can be set once and then neither moved nor deleted.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/registry/immutability", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path), IfMatch), request_body = ImmutabilityBody,
    responses((status = 200, body = SettingsView), (status = 400), (status = 403, description = "needs admin on the project"), (status = 404), (status = 412)))]
pub async fn immutability(
    State(app): State<App>,
    caller: Caller,
    Path((org, name)): Project,
    expect: IfMatch,
    Json(body): Json<ImmutabilityBody>,
) -> ApiResult<Response> {
    change(&app, &caller, (&org, &name), expect, Change::Immutability(body.rules)).await
}

/// Says which tags retention keeps, and how often it is applied.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/registry/retention", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path), IfMatch), request_body = Retention,
    responses((status = 200, body = SettingsView), (status = 400), (status = 403, description = "needs admin on the project"), (status = 404), (status = 412)))]
pub async fn retention(
    State(app): State<App>,
    caller: Caller,
    Path((org, name)): Project,
    expect: IfMatch,
    Json(body): Json<Retention>,
) -> ApiResult<Response> {
    change(&app, &caller, (&org, &name), expect, Change::Retention(body)).await
}

/// Says what scanning does besides the report.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/registry/scanning", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path), IfMatch), request_body = Scanning,
    responses((status = 200, body = SettingsView), (status = 400), (status = 403, description = "needs admin on the project"), (status = 404), (status = 412)))]
pub async fn scanning(State(app): State<App>, caller: Caller, Path((org, name)): Project, expect: IfMatch, Json(body): Json<Scanning>) -> ApiResult<Response> {
    change(&app, &caller, (&org, &name), expect, Change::Scanning(body)).await
}

/// Says for which platforms images should be there.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/registry/platforms", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path), IfMatch), request_body = WantedPlatforms,
    responses((status = 200, body = SettingsView), (status = 400), (status = 403, description = "needs admin on the project"), (status = 404), (status = 412)))]
pub async fn platforms(
    State(app): State<App>,
    caller: Caller,
    Path((org, name)): Project,
    expect: IfMatch,
    Json(body): Json<WantedPlatforms>,
) -> ApiResult<Response> {
    change(&app, &caller, (&org, &name), expect, Change::Platforms(body)).await
}

/// Trusts a public key (cosign, in-toto) or certificate (Notation).
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/registry/keys/{name}", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path), IfMatch), request_body = TrustedKey,
    responses((status = 200, body = SettingsView), (status = 400), (status = 403, description = "needs admin on the project"), (status = 404), (status = 412)))]
pub async fn trust(State(app): State<App>, caller: Caller, Path((org, project, name)): Item, expect: IfMatch, Json(body): Json<Value>) -> ApiResult<Response> {
    change(&app, &caller, (&org, &project), expect, Change::KeyTrusted(named("name", name, body)?)).await
}

/// Stops trusting a key.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/registry/keys/{name}", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path), IfMatch),
    responses((status = 200, body = SettingsView), (status = 403, description = "needs admin on the project"), (status = 404), (status = 409, description = "a policy needs it")))]
pub async fn distrust(State(app): State<App>, caller: Caller, Path((org, project, name)): Item, expect: IfMatch) -> ApiResult<Response> {
    change(&app, &caller, (&org, &project), expect, Change::KeyDistrusted(name)).await
}

/// Sets a policy on images.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/registry/policies/{name}", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path), IfMatch), request_body = Policy,
    responses((status = 200, body = SettingsView), (status = 400), (status = 403, description = "needs admin on the project"), (status = 404), (status = 412)))]
pub async fn set_policy(
    State(app): State<App>,
    caller: Caller,
    Path((org, project, name)): Item,
    expect: IfMatch,
    Json(body): Json<Value>,
) -> ApiResult<Response> {
    change(&app, &caller, (&org, &project), expect, Change::PolicySet(named("name", name, body)?)).await
}

/// Removes a policy.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/registry/policies/{name}", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path), IfMatch),
    responses((status = 200, body = SettingsView), (status = 403, description = "needs admin on the project"), (status = 404)))]
pub async fn remove_policy(State(app): State<App>, caller: Caller, Path((org, project, name)): Item, expect: IfMatch) -> ApiResult<Response> {
    change(&app, &caller, (&org, &project), expect, Change::PolicyRemoved(name)).await
}

/// Accepts a finding, with a reason and perhaps an end.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/registry/allowances/{id}", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path), ("id" = String, Path, description = "of the advisory, or an alias such as CVE-2026-1"), IfMatch),
    request_body = Allowance,
    responses((status = 200, body = SettingsView), (status = 400), (status = 403, description = "needs admin on the project"), (status = 404), (status = 412)))]
pub async fn allow(State(app): State<App>, caller: Caller, Path((org, project, id)): Item, expect: IfMatch, Json(body): Json<Value>) -> ApiResult<Response> {
    change(&app, &caller, (&org, &project), expect, Change::FindingAllowed(named("id", id, body)?)).await
}

/// Counts a finding again.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/registry/allowances/{id}", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path), ("id" = String, Path), IfMatch),
    responses((status = 200, body = SettingsView), (status = 403, description = "needs admin on the project"), (status = 404)))]
pub async fn disallow(State(app): State<App>, caller: Caller, Path((org, project, id)): Item, expect: IfMatch) -> ApiResult<Response> {
    change(&app, &caller, (&org, &project), expect, Change::FindingDisallowed(id)).await
}
