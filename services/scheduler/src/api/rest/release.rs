//! The release that is under way: promote, pause, resume, abort.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_host::{ApiResult, IfMatch, Json, Path, Query};
use serde::Deserialize;

use super::apps::{AppPath, DryRun};
use super::verbs::{Changed, run};
use crate::app::Scheduler;
use crate::domain::app::Command;

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromoteBody {
    /// All further steps at once, instead of the next one.
    #[serde(default)]
    full: bool,
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonBody {
    /// Goes into the audit trail; 500 characters at most.
    #[serde(default)]
    reason: String,
}

/// Goes on to the next step of the release without waiting for its time, its word or its resumption.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/release/promote", tag = "applications", params(AppPath, DryRun, IfMatch), request_body = PromoteBody, responses((status = 200, body = Changed)))]
pub async fn promote(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<AppPath>,
    Query(dry): Query<DryRun>,
    expect: IfMatch,
    body: Option<Json<PromoteBody>>,
) -> ApiResult<Response> {
    run(s, caller, at, dry, expect, Command::Promote { full: body.is_some_and(|b| b.0.full) }).await
}

/// Holds the release where it is; what has requests keeps them.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/release/pause", tag = "applications", params(AppPath, DryRun, IfMatch), request_body = ReasonBody, responses((status = 200, body = Changed)))]
pub async fn pause(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<AppPath>,
    Query(dry): Query<DryRun>,
    expect: IfMatch,
    body: Option<Json<ReasonBody>>,
) -> ApiResult<Response> {
    run(s, caller, at, dry, expect, Command::PauseRelease { reason: body.map(|b| b.0.reason).unwrap_or_default() }).await
}

/// Lets a paused release go on.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/release/resume", tag = "applications", params(AppPath, DryRun, IfMatch), responses((status = 200, body = Changed)))]
pub async fn resume(State(s): State<Scheduler>, caller: Caller, Path(at): Path<AppPath>, Query(dry): Query<DryRun>, expect: IfMatch) -> ApiResult<Response> {
    run(s, caller, at, dry, expect, Command::ResumeRelease).await
}

/// Gives the release up: all requests go to the revision before, which is still there, and the new instances are stopped.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/release/abort", tag = "applications", params(AppPath, DryRun, IfMatch), request_body = ReasonBody, responses((status = 200, body = Changed)))]
pub async fn abort(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<AppPath>,
    Query(dry): Query<DryRun>,
    expect: IfMatch,
    body: Option<Json<ReasonBody>>,
) -> ApiResult<Response> {
    let given = body.map(|b| b.0.reason).unwrap_or_default();
    let reason = if given.is_empty() { "it was given up by hand".to_owned() } else { given };
    run(s, caller, at, dry, expect, Command::AbortRelease { reason }).await
}
