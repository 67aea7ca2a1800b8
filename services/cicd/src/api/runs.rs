//! `/api/v1/orgs/{org}/projects/{project}/runs`

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use gantry_auth::{Caller, ProjectRef};
use gantry_host::{ApiResult, Json, Page, PageQuery, Path, Query, WatchQuery, created, with_etag};
use gantry_kernel::{Problem, Role, RunId};
use serde::Deserialize;
use tokio_util::io::ReaderStream;

use super::Api;
use super::bodies::{Approval, Artifact, NewRun, Run};
use crate::app::Cicd;
use crate::error;
use crate::store::queries::{self, RunRow};

/// Only runs of one repository.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunsQuery {
    pub limit: Option<u32>,
    pub cursor: Option<String>,
    #[serde(default)]
    pub watch: bool,
    pub repository: Option<String>,
}

/// The runs of a project, newest first.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/runs", tag = "runs",
    params(("org" = String, Path), ("project" = String, Path), RunsQuery), responses((status = 200, body = Page<Run>)))]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((org, project)): Path<(String, String)>,
    Query(query): Query<RunsQuery>,
) -> ApiResult<Response> {
    let project = api.visible(&caller, &org, &project)?;
    let limit = PageQuery { limit: query.limit, ..PageQuery::default() }.limit()?;
    let before = query.cursor.as_deref().map(|c| c.parse::<i64>().map_err(|_| Problem::invalid("cursor", "must be `next` of the page before"))).transpose()?;
    let (host, watcher) = (api.cicd.host.clone(), caller.clone());
    let read = move || {
        let (host, caller, repository, project) = (host.clone(), caller.clone(), query.repository.clone(), project.clone());
        async move {
            // Asked again at every change: a right taken away ends the stream.
            host.auth.require(&caller, Role::Viewer, project.scope())?;
            let rows = queries::runs(&host.db().orm, project.id, repository.as_deref(), before, limit + 1).await.map_err(error::database)?;
            Ok::<_, Problem>(Page::of(rows.into_iter().map(Run::from).collect(), limit, |r: &Run| r.number.to_string()))
        }
    };
    if query.watch {
        return Ok(gantry_host::watch_list(&api.cicd.host, &watcher, api.tables.clone(), read));
    }
    Ok(Json(read().await?).into_response())
}

/// Starts a run of the pipeline file that the branch or tag has now.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/runs", tag = "runs",
    params(("org" = String, Path), ("project" = String, Path)), request_body = NewRun, responses((status = 201, body = Run)))]
pub async fn start(State(api): State<Arc<Api>>, caller: Caller, Path((org, project)): Path<(String, String)>, Json(body): Json<NewRun>) -> ApiResult<Response> {
    let repository = Cicd::name("repository", &body.repository)?;
    let project = api.cicd.host.auth.project(&org, &project)?;
    let executed = api.cicd.start_run(&caller, &project, repository, &body.reference).await?;
    let about = executed.state.about.ok_or_else(|| Problem::internal("a run that was just made has no start"))?;
    let row = api.read(&project, about.run, executed.position).await?;
    let location = format!("/api/v1/orgs/{org}/projects/{}/runs/{}", project.name, about.run);
    Ok(created(&location, executed.version, Json(Run::from(row))))
}

/// One run with its steps.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/runs/{run}", tag = "runs",
    params(("org" = String, Path), ("project" = String, Path), ("run" = RunId, Path), WatchQuery), responses((status = 200, body = Run)))]
pub async fn get(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((org, project, run)): Path<(String, String, RunId)>,
    Query(query): Query<WatchQuery>,
) -> ApiResult<Response> {
    let project = api.visible(&caller, &org, &project)?;
    let row = api.read(&project, run, 0).await?;
    if query.watch {
        let (host, watcher, tables) = (api.cicd.host.clone(), caller.clone(), api.tables.clone());
        let read = move || {
            let (api, caller, project) = (api.clone(), caller.clone(), project.clone());
            async move {
                api.cicd.host.auth.require(&caller, Role::Viewer, project.scope())?;
                api.read(&project, run, 0).await.map(Run::from)
            }
        };
        return Ok(gantry_host::watch_list(&host, &watcher, tables, read));
    }
    Ok(with_etag(row.run.version, Json(Run::from(row))))
}

/// Stops a run: its steps are killed, none begins.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/runs/{run}/cancel", tag = "runs",
    params(("org" = String, Path), ("project" = String, Path), ("run" = RunId, Path)), responses((status = 200, body = Run)))]
pub async fn cancel(State(api): State<Arc<Api>>, caller: Caller, Path((org, project, run)): Path<(String, String, RunId)>) -> ApiResult<Response> {
    let project = api.cicd.host.auth.project(&org, &project)?;
    let executed = api.cicd.cancel_run(&caller, &project, run).await?;
    let row = api.read(&project, run, executed.position).await?;
    Ok(with_etag(row.run.version, Json(Run::from(row))))
}

/// Confirms a step that waits for a person.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/runs/{run}/approve", tag = "runs",
    params(("org" = String, Path), ("project" = String, Path), ("run" = RunId, Path)), request_body = Approval, responses((status = 200, body = Run)))]
pub async fn approve(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((org, project, run)): Path<(String, String, RunId)>,
    Json(body): Json<Approval>,
) -> ApiResult<Response> {
    let project = api.cicd.host.auth.project(&org, &project)?;
    let executed = api.cicd.approve_step(&caller, &project, run, body.step).await?;
    let row = api.read(&project, run, executed.position).await?;
    Ok(with_etag(row.run.version, Json(Run::from(row))))
}

/// What the steps kept.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/runs/{run}/artifacts", tag = "runs",
    params(("org" = String, Path), ("project" = String, Path), ("run" = RunId, Path)), responses((status = 200, body = Page<Artifact>)))]
pub async fn artifacts(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((org, project, run)): Path<(String, String, RunId)>,
) -> ApiResult<Json<Page<Artifact>>> {
    let project = api.visible(&caller, &org, &project)?;
    api.read(&project, run, 0).await?;
    let rows = queries::artifacts(&api.cicd.host.db().orm, run).await.map_err(error::database)?;
    Ok(Json(Page::all(rows.into_iter().map(Artifact::from).collect())))
}

/// One kept file.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/runs/{run}/artifacts/{*name}", tag = "runs",
    params(("org" = String, Path), ("project" = String, Path), ("run" = RunId, Path), ("name" = String, Path)), responses((status = 200, body = Vec<u8>)))]
pub async fn artifact(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((org, project, run, name)): Path<(String, String, RunId, String)>,
) -> ApiResult<Response> {
    let project = api.visible(&caller, &org, &project)?;
    api.read(&project, run, 0).await?;
    let row = queries::artifact(&api.cicd.host.db().orm, run, &name).await.map_err(error::database)?;
    let row = row.ok_or_else(|| Problem::not_found("artifact", &name))?;
    // Stored by digest: the name that the caller gave never becomes a path.
    let path = api.cicd.home.join("artifacts").join(row.digest.trim_start_matches("sha256:"));
    let file = tokio::fs::File::open(path).await.map_err(|e| Problem::unavailable("the artifact").with_source(e))?;
    // What steps wrote must not run in the console's origin.
    let headers = [
        (header::CONTENT_TYPE, row.media_type),
        (header::CONTENT_LENGTH, row.size_bytes.to_string()),
        (header::CONTENT_DISPOSITION, "attachment".to_owned()),
        (header::CONTENT_SECURITY_POLICY, "sandbox".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, Body::from_stream(ReaderStream::new(file))).into_response())
}

impl Api {
    /// The project, if the caller may read it.
    pub fn visible(&self, caller: &Caller, org: &str, project: &str) -> ApiResult<ProjectRef> {
        let auth = &self.cicd.host.auth;
        let project = auth.project(org, project)?;
        auth.require(caller, Role::Viewer, project.scope())?;
        Ok(project)
    }

    /// A run of this project, read after `position` has come to the tables.
    pub async fn read(&self, project: &ProjectRef, run: RunId, position: i64) -> ApiResult<RunRow> {
        if position > 0 {
            self.cicd.host.settled(position).await;
        }
        let row = queries::run(&self.cicd.host.db().orm, project.id, run).await.map_err(error::database)?;
        row.ok_or_else(|| Problem::not_found("run", run))
    }
}
