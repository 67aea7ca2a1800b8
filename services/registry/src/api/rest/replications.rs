//! Targets and replications of a project, and the reports of their runs.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::{Caller, ProjectRef};
use gantry_contract::registry::flow::{Replication, Target};
use gantry_contract::registry::settings::Change;
use gantry_host::{ApiResult, IfMatch, Json, Page, PageQuery, Path, Query};
use gantry_kernel::{OffsetDateTime, Problem, Role, Uuid};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::endpoints::{self, Trial};
use super::search::cursor;
use super::settings::{change, member, named};
use super::settings_view::SettingsView;
use crate::app::App;
use crate::domain::settings::Settings;
use crate::store::replications::{self, Item, Run};

#[derive(Debug, Serialize, ToSchema)]
pub struct TargetView {
    pub target: Target,
    pub has_password: bool,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginRun {
    /// Only says what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// One run of a replication.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunView {
    pub id: Uuid,
    pub replication: String,
    /// `hand`, `schedule` or `event`.
    pub cause: String,
    pub by: String,
    pub dry_run: bool,
    /// `waiting`, `running`, `done`, `failed` or `cancelled`.
    pub state: String,
    pub error: Option<String>,
    /// Tags that were the same at both ends.
    pub same: i64,
    /// Tags to do, done, given up, and left alone because they differ there.
    pub waiting: i64,
    pub done: i64,
    pub failed: i64,
    pub skipped: i64,
    /// Sent or received.
    pub bytes: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
}

/// One tag of a run.
#[derive(Debug, Serialize, ToSchema)]
pub struct ItemView {
    pub number: i32,
    /// At the source.
    pub repository: String,
    /// At the other end.
    pub other: String,
    pub tag: String,
    pub digest: Option<String>,
    /// `copy`, `delete`, or `differs`: it points at something else there and is left alone.
    pub action: String,
    /// `waiting`, `done`, `failed` or `skipped`.
    pub state: String,
    pub tries: i32,
    /// Why it failed, or is to be tried again.
    pub error: Option<String>,
    pub bytes: i64,
    /// Blobs sent or received, and those that were there already or were mounted.
    pub blobs: i32,
    pub blobs_there: i32,
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
}

impl From<Item> for ItemView {
    fn from(i: Item) -> Self {
        let Item { number, repository, other, tag, digest, action, state, tries, error, bytes, blobs, blobs_there, finished_at } = i;
        Self { number, repository, other, tag, digest, action, state, tries, error, bytes, blobs, blobs_there, finished_at }
    }
}

async fn view(app: &App, run: Run) -> Result<RunView, Problem> {
    let counts = replications::counts(&app.host.db().orm, run.id).await.map_err(Problem::internal)?;
    Ok(RunView {
        id: run.id,
        replication: run.name,
        cause: run.cause,
        by: run.by_whom,
        dry_run: run.dry_run,
        state: run.state,
        error: run.error,
        same: run.same,
        waiting: counts.waiting,
        done: counts.done,
        failed: counts.failed,
        skipped: counts.skipped,
        bytes: counts.bytes,
        created_at: run.created_at,
        started_at: run.started_at,
        finished_at: run.finished_at,
    })
}

type Project = Path<(String, String)>;
type Named = Path<(String, String, String)>;

/// The registries that this project replicates with.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/registry/targets", tag = "registry replication",
    params(("org" = String, Path), ("project" = String, Path)), responses((status = 200, body = Page<TargetView>), (status = 404, description = "no such project, or not a member")))]
pub async fn targets(State(app): State<App>, caller: Caller, Path((org, name)): Project) -> ApiResult<Json<Page<TargetView>>> {
    let project = member(&app, &caller, &org, &name, Role::Viewer)?;
    let (settings, _) = app.settings_now(project.id).await?;
    let items = settings.targets.into_values().map(|k| TargetView { has_password: k.secret.is_some(), target: k.target });
    Ok(Json(Page::all(items.collect())))
}

/// Names a registry to replicate with. `password` goes beside the other fields and is never shown again; left out, the one before stays.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/registry/targets/{name}", tag = "registry replication",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path), IfMatch), request_body = Target,
    responses((status = 200, body = SettingsView), (status = 400), (status = 403, description = "needs admin on the project"), (status = 404), (status = 412)))]
pub async fn set_target(
    State(app): State<App>,
    caller: Caller,
    Path((org, project, name)): Named,
    expect: IfMatch,
    Json(body): Json<Value>,
) -> ApiResult<Response> {
    let place = member(&app, &caller, &org, &project, Role::Admin)?;
    let before = |settings: &Settings, name: &str| settings.targets.get(name).map(|k| (k.target.endpoint.clone(), k.secret.clone()));
    let taken = endpoints::taken(&app, &caller, &place, (name, body), "endpoint.allow_private", before, |t: &Target| t.endpoint.clone());
    let (target, secret) = taken.await?;
    change(&app, &caller, (&org, &project), expect, Change::TargetSet { target, secret }).await
}

/// Forgets a target that no replication needs.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/registry/targets/{name}", tag = "registry replication",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path), IfMatch),
    responses((status = 200, body = SettingsView), (status = 403, description = "needs admin on the project"), (status = 404), (status = 409, description = "a replication needs it")))]
pub async fn remove_target(State(app): State<App>, caller: Caller, Path((org, project, name)): Named, expect: IfMatch) -> ApiResult<Response> {
    change(&app, &caller, (&org, &project), expect, Change::TargetRemoved(name)).await
}

/// Asks the target whether it answers and takes the credentials.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/registry/targets/{name}/test", tag = "registry replication",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Trial), (status = 403, description = "needs admin on the project"), (status = 404)))]
pub async fn test_target(State(app): State<App>, caller: Caller, Path((org, project, name)): Named) -> ApiResult<Json<Trial>> {
    let place = member(&app, &caller, &org, &project, Role::Admin)?;
    let (settings, _) = app.settings_now(place.id).await?;
    let kept = settings.targets.get(&name).ok_or_else(|| Problem::not_found("target", &name))?;
    let remote = app.remote(place.id, &format!("target {name}"), &kept.target.endpoint, kept.secret.as_ref()).await?;
    Ok(Json(endpoints::tried(&app, remote).await))
}

/// The project's replications.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/registry/replications", tag = "registry replication",
    params(("org" = String, Path), ("project" = String, Path)), responses((status = 200, body = Page<Replication>), (status = 404, description = "no such project, or not a member")))]
pub async fn list(State(app): State<App>, caller: Caller, Path((org, name)): Project) -> ApiResult<Json<Page<Replication>>> {
    let project = member(&app, &caller, &org, &name, Role::Viewer)?;
    let (settings, _) = app.settings_now(project.id).await?;
    Ok(Json(Page::all(settings.replications.into_values().collect())))
}

/// Says what is replicated, where to, and when.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/registry/replications/{name}", tag = "registry replication",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path), IfMatch), request_body = Replication,
    responses((status = 200, body = SettingsView), (status = 400), (status = 403, description = "needs admin on the project"), (status = 404), (status = 412)))]
pub async fn set(State(app): State<App>, caller: Caller, Path((org, project, name)): Named, expect: IfMatch, Json(body): Json<Value>) -> ApiResult<Response> {
    change(&app, &caller, (&org, &project), expect, Change::ReplicationSet(named("name", name, body)?)).await
}

/// Ends a replication. What it copied stays; a run that is under way goes on.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/registry/replications/{name}", tag = "registry replication",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path), IfMatch),
    responses((status = 200, body = SettingsView), (status = 403, description = "needs admin on the project"), (status = 404)))]
pub async fn remove(State(app): State<App>, caller: Caller, Path((org, project, name)): Named, expect: IfMatch) -> ApiResult<Response> {
    change(&app, &caller, (&org, &project), expect, Change::ReplicationRemoved(name)).await
}

/// Begins a run, or a dry run, now.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/registry/replications/{name}/runs", tag = "registry replication",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path)), request_body = BeginRun,
    responses((status = 202, body = RunView), (status = 403, description = "needs admin on the project"), (status = 404), (status = 409, description = "a run is not over")))]
pub async fn begin(
    State(app): State<App>,
    caller: Caller,
    Path((org, project, name)): Named,
    body: Option<Json<BeginRun>>,
) -> ApiResult<(StatusCode, Json<RunView>)> {
    let place = member(&app, &caller, &org, &project, Role::Admin)?;
    let dry_run = body.is_some_and(|Json(b)| b.dry_run);
    let run = app.begin_replication(&place, &name, "hand", dry_run, &caller.subject).await?;
    Ok((StatusCode::ACCEPTED, Json(view(&app, run).await?)))
}

/// Runs of a replication, newest first. Reports stay for 30 days.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/registry/replications/{name}/runs", tag = "registry replication",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path), PageQuery),
    responses((status = 200, body = Page<RunView>), (status = 404)))]
pub async fn runs(State(app): State<App>, caller: Caller, Path((org, project, name)): Named, Query(page): Query<PageQuery>) -> ApiResult<Json<Page<RunView>>> {
    let place = member(&app, &caller, &org, &project, Role::Viewer)?;
    let limit = page.limit()?;
    let before = cursor::<Uuid>(page.cursor.as_deref())?;
    let rows = replications::list(&app.host.db().orm, place.id.0, &name, before, limit + 1).await.map_err(Problem::internal)?;
    let mut items = Vec::with_capacity(rows.len());
    for run in rows {
        items.push(view(&app, run).await?);
    }
    Ok(Json(Page::of(items, limit, |i: &RunView| i.id.to_string())))
}

async fn run_of(app: &App, project: &ProjectRef, id: Uuid) -> Result<Run, Problem> {
    let found = replications::find(&app.host.db().orm, Some(project.id.0), id).await.map_err(Problem::internal)?;
    found.ok_or_else(|| Problem::not_found("run", id))
}

/// One run.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/registry/replication-runs/{run}", tag = "registry replication",
    params(("org" = String, Path), ("project" = String, Path), ("run" = Uuid, Path)), responses((status = 200, body = RunView), (status = 404)))]
pub async fn run(State(app): State<App>, caller: Caller, Path((org, project, id)): Path<(String, String, Uuid)>) -> ApiResult<Json<RunView>> {
    let place = member(&app, &caller, &org, &project, Role::Viewer)?;
    Ok(Json(view(&app, run_of(&app, &place, id).await?).await?))
}

/// What a run did, or a dry run would do, tag by tag.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/registry/replication-runs/{run}/items", tag = "registry replication",
    params(("org" = String, Path), ("project" = String, Path), ("run" = Uuid, Path), PageQuery), responses((status = 200, body = Page<ItemView>), (status = 404)))]
pub async fn items(
    State(app): State<App>,
    caller: Caller,
    Path((org, project, id)): Path<(String, String, Uuid)>,
    Query(page): Query<PageQuery>,
) -> ApiResult<Json<Page<ItemView>>> {
    let place = member(&app, &caller, &org, &project, Role::Viewer)?;
    let run = run_of(&app, &place, id).await?;
    let limit = page.limit()?;
    let after = cursor::<i32>(page.cursor.as_deref())?.unwrap_or(-1);
    let rows = replications::items(&app.host.db().orm, run.id, None, after, limit + 1).await.map_err(Problem::internal)?;
    Ok(Json(Page::of(rows.into_iter().map(ItemView::from).collect(), limit, |i: &ItemView| i.number.to_string())))
}

/// Ends a run after the tag it is at.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/registry/replication-runs/{run}/cancel", tag = "registry replication",
    params(("org" = String, Path), ("project" = String, Path), ("run" = Uuid, Path)),
    responses((status = 200, body = RunView), (status = 403, description = "needs admin on the project"), (status = 404), (status = 409, description = "it is over")))]
pub async fn cancel(State(app): State<App>, caller: Caller, Path((org, project, id)): Path<(String, String, Uuid)>) -> ApiResult<Json<RunView>> {
    let place = member(&app, &caller, &org, &project, Role::Admin)?;
    let run = run_of(&app, &place, id).await?;
    let db = &app.host.db().orm;
    if !replications::finish(db, run.id, "cancelled", Some(&format!("cancelled by {}", caller.subject)), app.host.env.now()).await.map_err(Problem::internal)? {
        return Err(Problem::conflict("registry.run_over", format!("the run is over: {}", run.state)));
    }
    Ok(Json(view(&app, run_of(&app, &place, id).await?).await?))
}
