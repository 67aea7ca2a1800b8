//! How the number of instances follows what is measured; what they should reserve.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_host::{ApiResult, IfMatch, Json, Path, Query};
use gantry_kernel::{Name, Problem};
use serde::{Deserialize, Serialize};

use super::apps::{AppPath, DryRun, readable};
use super::verbs::{Changed, run};
use crate::app::scaling::{self, ScalingBody};
use crate::app::sizing::{self, SizingBody};
use crate::app::view;
use crate::app::{Scheduler, change};
use crate::domain::app::Command;

#[derive(Serialize, utoipa::ToSchema)]
pub struct Scalings {
    pub items: Vec<ScalingBody>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Sizings {
    pub items: Vec<SizingBody>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScalingPauseBody {
    workload: String,
    /// Goes into the audit trail; 500 characters at most.
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScalingResumeBody {
    workload: String,
}

fn name(text: &str) -> Result<Name, Problem> {
    Name::parse(text).map_err(|e| Problem::invalid("workload", e.to_string()))
}

/// Workloads whose number follows what is measured or a schedule, with the last decision and its reason.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/scaling", tag = "applications", params(AppPath), responses((status = 200, body = Scalings)))]
pub async fn list(State(s): State<Scheduler>, caller: Caller, Path(at): Path<AppPath>) -> ApiResult<Json<Scalings>> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    let row = change::find(&s, &space, &at.app).await?;
    let seeing = view::see(&s, row, &view::reports(&s)).await?;
    Ok(Json(Scalings { items: scaling::all(&s, &seeing.row, seeing.outline()).await? }))
}

/// What each workload's instances used within the last seven days, and what they should therefore reserve.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/sizing", tag = "applications", params(AppPath), responses((status = 200, body = Sizings)))]
pub async fn sizes(State(s): State<Scheduler>, caller: Caller, Path(at): Path<AppPath>) -> ApiResult<Json<Sizings>> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    let row = change::find(&s, &space, &at.app).await?;
    let seeing = view::see(&s, row, &view::reports(&s)).await?;
    Ok(Json(Sizings { items: sizing::all(&s, &seeing).await? }))
}

/// Holds a workload's number where it is; it can be set by hand then.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/scaling/pause", tag = "applications", params(AppPath, DryRun, IfMatch), request_body = ScalingPauseBody, responses((status = 200, body = Changed)))]
pub async fn pause(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<AppPath>,
    Query(dry): Query<DryRun>,
    expect: IfMatch,
    Json(body): Json<ScalingPauseBody>,
) -> ApiResult<Response> {
    run(s, caller, at, dry, expect, Command::PauseScaling { workload: name(&body.workload)?, reason: body.reason }).await
}

/// Lets a workload's number follow again.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/scaling/resume", tag = "applications", params(AppPath, DryRun, IfMatch), request_body = ScalingResumeBody, responses((status = 200, body = Changed)))]
pub async fn resume(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<AppPath>,
    Query(dry): Query<DryRun>,
    expect: IfMatch,
    Json(body): Json<ScalingResumeBody>,
) -> ApiResult<Response> {
    run(s, caller, at, dry, expect, Command::ResumeScaling { workload: name(&body.workload)? }).await
}
