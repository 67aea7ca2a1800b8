//! `/api/v1/orgs/{org}/projects/{project}/spaces/{space}/configs`: configs and secrets that a space keeps for its applications.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_host::{ApiResult, IfMatch, Json, Page, Path, Query, created, with_etag};
use serde::Deserialize;

use super::apps::{SpacePath, readable};
use crate::app::Scheduler;
use crate::app::kept::bodies::{ConfigBody, ConfigRevealedBody, ConfigRolledOutBody, ConfigSetBody, ConfigVersionBody};
use crate::app::kept::reading::{self, Reveal};
use crate::app::kept::rollout as rolling;
use crate::app::kept::setting::{self, Set};
use crate::domain::model::Config;

#[derive(Clone, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ConfigPath {
    pub org: String,
    pub project: String,
    pub space: String,
    pub config: String,
}

#[derive(Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct KindQuery {
    /// Only secrets, or only configs.
    #[serde(default)]
    secret: Option<bool>,
}

#[derive(Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct WhichQuery {
    /// Whether the secret or the config of this name is meant; needed where there is one of each.
    #[serde(default)]
    secret: Option<bool>,
}

#[derive(Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SetQuery {
    /// Only say what would happen.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetConfigBody {
    /// Its contents are shown to nobody without a right of its own. A config of the same name is another one.
    #[serde(default)]
    secret: bool,
    /// Texts by key; a single value has the key `content`. All of them have at most 1 MiB.
    #[serde(default)]
    entries: BTreeMap<String, String>,
    /// Contents that are no text, as base64.
    #[serde(default)]
    binary: BTreeMap<String, String>,
    /// A secret's type on Kubernetes clusters, such as `kubernetes.io/tls`.
    #[serde(default)]
    kind: String,
    /// Keys that are not given stay as they are.
    #[serde(default)]
    merge: bool,
    /// Keys that go.
    #[serde(default)]
    remove: Vec<String>,
    /// Refuse every further version. Only when it is made.
    #[serde(default)]
    immutable: bool,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigRevealBody {
    /// The newest if none is named.
    #[serde(default)]
    version: Option<u32>,
    /// Stays in the audit trail; needed for secrets.
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigRollbackBody {
    version: u32,
    #[serde(default)]
    reason: String,
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigRolloutBody {
    /// All that need it if empty.
    #[serde(default)]
    apps: Vec<String>,
    #[serde(default)]
    reason: String,
}

/// Configs and secrets of a space, by name, with who uses them. Contents are not shown.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/configs", tag = "configs", params(SpacePath, KindQuery), responses((status = 200, body = Page<ConfigBody>)))]
pub async fn list(State(s): State<Scheduler>, caller: Caller, Path(at): Path<SpacePath>, Query(query): Query<KindQuery>) -> ApiResult<Json<Page<ConfigBody>>> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    Ok(Json(Page::all(reading::list(&s, &space, query.secret).await?)))
}

/// One of them, without its contents.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/configs/{config}", tag = "configs", params(ConfigPath, WhichQuery), responses((status = 200, body = ConfigBody)))]
pub async fn get(State(s): State<Scheduler>, caller: Caller, Path(at): Path<ConfigPath>, Query(which): Query<WhichQuery>) -> ApiResult<Response> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    let body = reading::get(&s, &space, (at.config.as_str(), which.secret)).await?;
    Ok(with_etag(body.etag, Json(body)))
}

/// Makes it, or its next version. Applications that show it as files have it within seconds; for variables see `rollout`.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/configs/{config}", tag = "configs", params(ConfigPath, SetQuery, IfMatch), request_body = SetConfigBody,
    responses((status = 201, body = ConfigSetBody), (status = 200, description = "A new version, a dry run, or nothing to change", body = ConfigSetBody)))]
pub async fn set(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<ConfigPath>,
    Query(query): Query<SetQuery>,
    IfMatch(expect): IfMatch,
    Json(body): Json<SetConfigBody>,
) -> ApiResult<Response> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    let location = format!("/api/v1/orgs/{}/projects/{}/spaces/{}/configs/{}", at.org, at.project, at.space, at.config);
    let new = Set {
        name: at.config,
        secret: body.secret,
        content: Config { entries: body.entries, binary: body.binary, kind: body.kind, ..Config::default() },
        merge: body.merge,
        remove: body.remove,
        immutable: body.immutable,
        reason: body.reason,
        dry_run: query.dry_run,
        expect,
    };
    let done = setting::set(&s, &caller, &space, new).await?;
    if done.created && !query.dry_run {
        return Ok(created(&location, done.etag, Json(done)));
    }
    Ok(with_etag(done.etag, Json(done)))
}

/// Deletes it with all versions, for ever. Refused while an application uses it.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/configs/{config}", tag = "configs", params(ConfigPath, WhichQuery, IfMatch), responses((status = 204)))]
pub async fn delete(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<ConfigPath>,
    Query(which): Query<WhichQuery>,
    IfMatch(expect): IfMatch,
) -> ApiResult<Response> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    setting::delete(&s, &caller, &space, (at.config.as_str(), which.secret), expect).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Its versions, newest first, with who set them and why. Contents are not shown.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/configs/{config}/versions", tag = "configs", params(ConfigPath, WhichQuery), responses((status = 200, body = Page<ConfigVersionBody>)))]
pub async fn versions(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<ConfigPath>,
    Query(which): Query<WhichQuery>,
) -> ApiResult<Json<Page<ConfigVersionBody>>> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    Ok(Json(Page::all(reading::versions(&s, &space, (at.config.as_str(), which.secret)).await?)))
}

/// A version in clear: of a secret only with the right `apps.secrets-reveal` and a reason. Each reading is in the audit trail.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/configs/{config}/reveal", tag = "configs", params(ConfigPath, WhichQuery), request_body = ConfigRevealBody, responses((status = 200, body = ConfigRevealedBody)))]
pub async fn reveal(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<ConfigPath>,
    Query(which): Query<WhichQuery>,
    Json(body): Json<ConfigRevealBody>,
) -> ApiResult<Response> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    let asked = Reveal { name: at.config, secret: which.secret, version: body.version, reason: body.reason };
    let revealed = reading::reveal(&s, &caller, &space, asked).await?;
    Ok(([(axum::http::header::CACHE_CONTROL, "no-store")], Json(revealed)).into_response())
}

/// Brings the content of an earlier version back, as a new version.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/configs/{config}/rollback", tag = "configs", params(ConfigPath, WhichQuery, IfMatch), request_body = ConfigRollbackBody, responses((status = 200, body = ConfigSetBody)))]
pub async fn roll_back(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<ConfigPath>,
    Query(which): Query<WhichQuery>,
    IfMatch(expect): IfMatch,
    Json(body): Json<ConfigRollbackBody>,
) -> ApiResult<Response> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    let done = setting::roll_back(&s, &caller, &space, (at.config.as_str(), which.secret), body.version, body.reason, expect).await?;
    Ok(with_etag(done.etag, Json(done)))
}

/// A new revision of the applications that have it as it was when they were deployed.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/configs/{config}/rollout", tag = "configs", params(ConfigPath, WhichQuery), request_body = ConfigRolloutBody, responses((status = 200, body = Page<ConfigRolledOutBody>)))]
pub async fn rollout(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<ConfigPath>,
    Query(which): Query<WhichQuery>,
    body: Option<Json<ConfigRolloutBody>>,
) -> ApiResult<Json<Page<ConfigRolledOutBody>>> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    let asked = body.map(|b| b.0).unwrap_or_default();
    Ok(Json(Page::all(rolling::rollout(&s, &caller, &space, (at.config.as_str(), which.secret), &asked.apps, &asked.reason).await?)))
}
