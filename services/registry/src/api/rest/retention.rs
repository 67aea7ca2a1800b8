//! Retention as it would be, and as it is applied now.

use axum::extract::State;
use gantry_auth::Caller;
use gantry_contract::registry::settings::{Change, Retention};
use gantry_es::{Ctx, Decider};
use gantry_host::{ApiResult, Json, Path};
use gantry_kernel::{Problem, Role};
use serde::Serialize;
use utoipa::ToSchema;

use super::settings::member;
use crate::app::App;
use crate::domain::retention::Verdict;
use crate::domain::settings::{Command, ProjectSettings};

#[derive(Debug, Serialize, ToSchema)]
pub struct RetentionPlan {
    pub kept: usize,
    pub removed: usize,
    pub tags: Vec<Verdict>,
}

impl RetentionPlan {
    fn of(tags: Vec<Verdict>) -> Self {
        let kept = tags.iter().filter(|v| v.keep).count();
        Self { kept, removed: tags.len() - kept, tags }
    }
}

/// What these rules would keep and remove. Changes nothing.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/registry/retention/simulate", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path)), request_body = Retention,
    responses((status = 200, body = RetentionPlan), (status = 400), (status = 404, description = "no such project, or not a member")))]
pub async fn simulate(
    State(app): State<App>,
    caller: Caller,
    Path((org, name)): Path<(String, String)>,
    Json(body): Json<Retention>,
) -> ApiResult<Json<RetentionPlan>> {
    let project = member(&app, &caller, &org, &name, Role::Viewer)?;
    // The same checks as for rules that are to stay.
    let command = Command { org: project.org.id, project: project.id, change: Change::Retention(body.clone()) };
    let ctx = Ctx { now: app.host.env.now(), actor: String::new() };
    ProjectSettings::decide(&Default::default(), command, &ctx).map_err(|refusal| gantry_host::AsProblem::as_problem(&refusal))?;
    Ok(Json(RetentionPlan::of(app.plan_retention(project.id, &body).await.map_err(Problem::from)?)))
}

/// Applies the project's rules now: tags that no rule keeps go, with what only they needed.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/registry/retention/run", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path)),
    responses((status = 200, body = RetentionPlan), (status = 403, description = "needs admin on the project"), (status = 404)))]
pub async fn run(State(app): State<App>, caller: Caller, Path((org, name)): Path<(String, String)>) -> ApiResult<Json<RetentionPlan>> {
    let project = member(&app, &caller, &org, &name, Role::Admin)?;
    let verdicts = app.retain((&org, &name), project.id, &caller.meta(None)).await.map_err(Problem::from)?;
    Ok(Json(RetentionPlan::of(verdicts)))
}
