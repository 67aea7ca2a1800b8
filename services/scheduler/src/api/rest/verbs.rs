//! Changes of an application that exists.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_host::{ApiResult, IfMatch, Json, Path, Query, with_etag};
use gantry_kernel::{Name, Problem};
use serde::{Deserialize, Serialize};

use super::apps::{AppPath, DryRun, readable};
use crate::app::Scheduler;
use crate::app::change::{self, Change};
use crate::app::preview::ChangePreview;
use crate::app::view::{self, AppBody};
use crate::domain::app::Command;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleBody {
    workload: String,
    /// 0 to 1000.
    replicas: u32,
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartBody {
    /// All if empty.
    #[serde(default)]
    workloads: Vec<String>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackBody {
    revision: u64,
}

/// The application after the change, or what a dry run says of it.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Changed {
    Done(AppBody),
    Preview(ChangePreview),
}

pub(super) async fn run(s: Scheduler, caller: Caller, at: AppPath, dry: DryRun, expect: IfMatch, command: Command) -> ApiResult<Response> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    let meta = caller.meta(Some(space.org().id));
    let asked = Change { space: space.clone(), app: at.app.clone(), command, subject: caller.subject, meta, expect: expect.0 };
    if dry.dry_run {
        let (preview, version) = change::preview(&s, asked).await?;
        return Ok(with_etag(version, Json(Changed::Preview(preview))));
    }
    let (_, version) = change::change(&s, asked).await?;
    let row = change::find(&s, &space, &at.app).await?;
    let body = view::see(&s, row, &view::reports(&s)).await?.body(&s);
    Ok(with_etag(version, Json(Changed::Done(body))))
}

fn name(field: &str, text: &str) -> Result<Name, Problem> {
    Name::parse(text).map_err(|e| Problem::invalid(field, e.to_string()))
}

/// Sets a workload's replicas until the next revision.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/scale", tag = "applications", params(AppPath, DryRun, IfMatch), request_body = ScaleBody, responses((status = 200, body = Changed)))]
pub async fn scale(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<AppPath>,
    Query(dry): Query<DryRun>,
    expect: IfMatch,
    Json(body): Json<ScaleBody>,
) -> ApiResult<Response> {
    let command = Command::Scale { workload: name("workload", &body.workload)?, replicas: body.replicas };
    run(s, caller, at, dry, expect, command).await
}

/// Replaces instances by new ones of the same revision, as a release does.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/restart", tag = "applications", params(AppPath, DryRun, IfMatch), request_body = RestartBody, responses((status = 200, body = Changed)))]
pub async fn restart(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<AppPath>,
    Query(dry): Query<DryRun>,
    expect: IfMatch,
    body: Option<Json<RestartBody>>,
) -> ApiResult<Response> {
    let asked = body.map(|b| b.0).unwrap_or_default();
    let workloads = asked.workloads.iter().map(|w| name("workloads", w)).collect::<Result<_, _>>()?;
    run(s, caller, at, dry, expect, Command::Restart { workloads }).await
}

/// Stops all instances; the application stays.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/stop", tag = "applications", params(AppPath, DryRun, IfMatch), responses((status = 200, body = Changed)))]
pub async fn stop(State(s): State<Scheduler>, caller: Caller, Path(at): Path<AppPath>, Query(dry): Query<DryRun>, expect: IfMatch) -> ApiResult<Response> {
    run(s, caller, at, dry, expect, Command::Stop).await
}

/// Starts a stopped application.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/start", tag = "applications", params(AppPath, DryRun, IfMatch), responses((status = 200, body = Changed)))]
pub async fn start(State(s): State<Scheduler>, caller: Caller, Path(at): Path<AppPath>, Query(dry): Query<DryRun>, expect: IfMatch) -> ApiResult<Response> {
    run(s, caller, at, dry, expect, Command::Start).await
}

/// Puts an earlier revision to work again: images, configuration, services, all of it.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/rollback", tag = "applications", params(AppPath, DryRun, IfMatch), request_body = RollbackBody, responses((status = 200, body = Changed)))]
pub async fn rollback(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<AppPath>,
    Query(dry): Query<DryRun>,
    expect: IfMatch,
    Json(body): Json<RollbackBody>,
) -> ApiResult<Response> {
    run(s, caller, at, dry, expect, Command::Rollback { revision: body.revision }).await
}

/// Deletes the application; its instances are stopped and its name and ports are free at once.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}", tag = "applications", params(AppPath, DryRun, IfMatch), responses((status = 200, description = "A dry run", body = ChangePreview), (status = 204)))]
pub async fn delete(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<AppPath>,
    Query(dry): Query<DryRun>,
    IfMatch(expect): IfMatch,
) -> ApiResult<Response> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    let meta = caller.meta(Some(space.org().id));
    let asked = Change { space, app: at.app, command: Command::Delete, subject: caller.subject, meta, expect };
    if dry.dry_run {
        let (preview, version) = change::preview(&s, asked).await?;
        return Ok(with_etag(version, Json(preview)));
    }
    change::change(&s, asked).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
