//! `/api/v1/orgs/{org}/projects/{project}/spaces/{space}/volumes`: what applications keep on nodes, and copies of it.

use std::future::Future;

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use gantry_auth::{Caller, SpaceRef};
use gantry_host::{ApiResult, Json, Page, Path, Query};
use gantry_kernel::{Problem, Role};
use http::request::Parts;
use serde::{Deserialize, Serialize};

use super::apps::{DryRun, SpacePath, readable};
use crate::adapters::backups::BackupBody;
use crate::app::volume_previews::{self, VolumeChangePreview};
use crate::app::volumes::{self, VolumeBody, VolumeVerb, VolumesBody};
use crate::app::{Scheduler, change, volume_backups};

#[derive(Clone, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct VolumePath {
    pub org: String,
    pub project: String,
    pub space: String,
    pub volume: String,
}

#[derive(Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct NodeQuery {
    /// Where it is, if its name is on several nodes; where to make it, if a backup is restored that has no volume any more.
    #[serde(default)]
    node: Option<String>,
}

#[derive(Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ChangeQuery {
    /// Where it is, if its name is on several nodes; where to make it, if a backup is restored that has no volume any more.
    #[serde(default)]
    node: Option<String>,
    /// Only say what would happen.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotName {
    /// Letters, digits, `-`, `.` and `_`.
    snapshot: String,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CopyBody {
    /// An application of the same space that does not run, or not with this volume yet.
    app: String,
    /// The volume's name in that application's document.
    volume: String,
    /// Of a stateful workload: which instance's.
    #[serde(default)]
    number: Option<u32>,
    /// Where the copy is made; beside the volume if not given.
    #[serde(default)]
    node: Option<String>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreBody {
    backup: String,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct CopiedBody {
    volume: String,
    node: String,
    bytes: u64,
}

/// What was copied, or what a dry run says of it.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Copied {
    Done(CopiedBody),
    Preview(VolumeChangePreview),
}

/// The backup that was made, or what a dry run says of it.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum BackedUp {
    Done(BackupBody),
    Preview(VolumeChangePreview),
}

/// What is asked of one volume: by whom, and of which.
pub struct Door {
    s: Scheduler,
    caller: Caller,
    at: VolumePath,
    query: NodeQuery,
}

impl FromRequestParts<Scheduler> for Door {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, s: &Scheduler) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, s).await?;
        let Path(at) = Path::<VolumePath>::from_request_parts(parts, s).await?;
        let Query(query) = Query::<NodeQuery>::from_request_parts(parts, s).await?;
        Ok(Self { s: s.clone(), caller, at, query })
    }
}

/// A change of one volume, which may only be tried.
pub struct Trial {
    door: Door,
    dry_run: bool,
}

impl FromRequestParts<Scheduler> for Trial {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, s: &Scheduler) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, s).await?;
        let Path(at) = Path::<VolumePath>::from_request_parts(parts, s).await?;
        let Query(ChangeQuery { node, dry_run }) = Query::<ChangeQuery>::from_request_parts(parts, s).await?;
        Ok(Self { door: Door { s: s.clone(), caller, at, query: NodeQuery { node } }, dry_run })
    }
}

impl Trial {
    async fn run(self, verb: VolumeVerb) -> ApiResult<Response> {
        let Self { door, dry_run } = self;
        if !dry_run {
            return Ok(door.run(verb).await?.into_response());
        }
        let space = door.editable()?;
        let volume = door.find(&space).await?;
        told(volume_previews::change(&door.s, &space, &volume, &verb).await?)
    }
}

/// The answer to a dry run.
fn told(seen: VolumeChangePreview) -> ApiResult<Response> {
    Ok(Json(seen).into_response())
}

impl Door {
    fn readable(&self) -> ApiResult<SpaceRef> {
        readable(&self.s, &self.caller, &self.at.org, &self.at.project, &self.at.space)
    }

    /// For a change: who may not make it learns nothing of what is there.
    fn editable(&self) -> ApiResult<SpaceRef> {
        let space = self.readable()?;
        self.s.host.auth.require(&self.caller, Role::Editor, space.scope())?;
        Ok(space)
    }

    async fn find(&self, space: &SpaceRef) -> ApiResult<VolumeBody> {
        volumes::find(&self.s, space, &self.at.volume, self.query.node.as_deref()).await
    }

    async fn run(self, verb: VolumeVerb) -> ApiResult<StatusCode> {
        let space = self.editable()?;
        let volume = self.find(&space).await?;
        let (s, caller) = (self.s.clone(), self.caller);
        whole(&self.s, async move { volumes::ask(&s, &caller, &space, &volume, verb).await }).await?;
        Ok(StatusCode::NO_CONTENT)
    }
}

/// To its end, also when the caller does not wait for it.
async fn whole<T: Send + 'static>(s: &Scheduler, work: impl Future<Output = ApiResult<T>> + Send + 'static) -> ApiResult<T> {
    s.host.tracker.spawn(work).await.map_err(Problem::internal)?
}

/// Volumes of a space on all nodes, also those of deleted applications.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/volumes", tag = "volumes", params(SpacePath), responses((status = 200, body = VolumesBody)))]
pub async fn list(State(s): State<Scheduler>, caller: Caller, Path(at): Path<SpacePath>) -> ApiResult<Json<VolumesBody>> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    Ok(Json(volumes::list(&s, &space).await?))
}

/// One volume.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/volumes/{volume}", tag = "volumes", params(VolumePath, NodeQuery), responses((status = 200, body = VolumeBody)))]
pub async fn get(door: Door) -> ApiResult<Json<VolumeBody>> {
    let space = door.readable()?;
    Ok(Json(door.find(&space).await?))
}

/// Deletes a volume that no instance has, with its snapshots. Backups stay.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/volumes/{volume}", tag = "volumes", params(VolumePath, ChangeQuery), responses((status = 200, description = "A dry run", body = VolumeChangePreview), (status = 204)))]
pub async fn delete(trial: Trial) -> ApiResult<Response> {
    trial.run(VolumeVerb::Delete).await
}

/// Keeps what is in a volume now, on its node.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/volumes/{volume}/snapshots", tag = "volumes", params(VolumePath, ChangeQuery), request_body = SnapshotName, responses((status = 200, description = "A dry run", body = VolumeChangePreview), (status = 204)))]
pub async fn snapshot(trial: Trial, Json(body): Json<SnapshotName>) -> ApiResult<Response> {
    trial.run(VolumeVerb::Snapshot(body.snapshot)).await
}

/// Deletes a snapshot.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/volumes/{volume}/snapshots/{snapshot}", tag = "volumes",
    params(("org" = String, Path), ("project" = String, Path), ("space" = String, Path), ("volume" = String, Path), ("snapshot" = String, Path), ChangeQuery), responses((status = 200, description = "A dry run", body = VolumeChangePreview), (status = 204)))]
pub async fn remove_snapshot(
    State(s): State<Scheduler>,
    caller: Caller,
    Path((org, project, space, volume, snapshot)): Path<(String, String, String, String, String)>,
    Query(ChangeQuery { node, dry_run }): Query<ChangeQuery>,
) -> ApiResult<Response> {
    let door = Door { s, caller, at: VolumePath { org, project, space, volume }, query: NodeQuery { node } };
    Trial { door, dry_run }.run(VolumeVerb::RemoveSnapshot(snapshot)).await
}

/// Brings the content of a snapshot back into a volume that no instance has.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/volumes/{volume}/rollback", tag = "volumes", params(VolumePath, ChangeQuery), request_body = SnapshotName, responses((status = 200, description = "A dry run", body = VolumeChangePreview), (status = 204)))]
pub async fn roll_back(trial: Trial, Json(body): Json<SnapshotName>) -> ApiResult<Response> {
    trial.run(VolumeVerb::RollBack(body.snapshot)).await
}

/// Copies a volume into one of another application, also on another node. What was in that one is replaced.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/volumes/{volume}/copies", tag = "volumes", params(VolumePath, ChangeQuery), request_body = CopyBody, responses((status = 200, description = "A dry run", body = Copied), (status = 201, body = Copied)))]
pub async fn copy(trial: Trial, Json(body): Json<CopyBody>) -> ApiResult<Response> {
    let Trial { door, dry_run } = trial;
    let space = door.editable()?;
    let source = door.find(&space).await?;
    let Door { s, caller, .. } = door;
    let app = change::find(&s, &space, &body.app).await?;
    if body.volume.is_empty() || body.volume.contains(|c: char| c == '/' || c.is_control()) {
        return Err(Problem::invalid("volume", "must be the volume's name in the application's document"));
    }
    let tail = body.number.map_or_else(String::new, |n| format!(".{n}"));
    let name = format!("{}.{}{tail}", app.id, body.volume);
    if name == source.name {
        return Err(Problem::invalid("volume", "it is the volume itself"));
    }
    let node = body.node.unwrap_or_else(|| source.node.clone());
    let target = VolumeBody { name, node, app: app.name, app_id: app.id.to_string(), snapshots: Vec::new(), ..source.clone() };
    volumes::require_place(&s, &target).await?;
    if dry_run {
        let seen = volume_previews::fill(&s, &space, &target, "volume.copied", &format!("{} on {}", source.name, source.node)).await?;
        return Ok(Json(Copied::Preview(seen)).into_response());
    }
    let copied = CopiedBody { volume: target.name.clone(), node: target.node.clone(), bytes: 0 };
    let own = s.clone();
    let bytes = whole(&s, async move {
        let done = async { volumes::pour(volumes::read(&own, &space, &source, "").await?, volumes::write(&own, &space, &target).await?).await }.await;
        volumes::record(&own, &caller, &space, &target, "volume.copied", &format!("from {}", source.name), done.as_ref().err()).await;
        done
    })
    .await?;
    Ok((StatusCode::CREATED, Json(Copied::Done(CopiedBody { bytes, ..copied }))).into_response())
}

/// Copies a volume into object storage, from a snapshot made for it. Goes on when the connection is cut.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/volumes/{volume}/backups", tag = "volumes", params(VolumePath, ChangeQuery), responses((status = 200, description = "A dry run", body = BackedUp), (status = 201, body = BackedUp)))]
pub async fn back_up(trial: Trial) -> ApiResult<Response> {
    let Trial { door, dry_run } = trial;
    let space = door.editable()?;
    let volume = door.find(&space).await?;
    if dry_run {
        return Ok(Json(BackedUp::Preview(volume_previews::back_up(&volume))).into_response());
    }
    let Door { s, caller, .. } = door;
    let own = s.clone();
    let backup = whole(&s, async move { volume_backups::back_up(&own, &caller, &space, &volume).await }).await?;
    Ok((StatusCode::CREATED, Json(BackedUp::Done(backup))).into_response())
}

/// Backups of a volume, newest first, also of one that is gone.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/volumes/{volume}/backups", tag = "volumes", params(VolumePath), responses((status = 200, body = Page<BackupBody>)))]
pub async fn backups(State(s): State<Scheduler>, caller: Caller, Path(at): Path<VolumePath>) -> ApiResult<Json<Page<BackupBody>>> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    Ok(Json(Page::all(s.backups.list(&space, Some(&at.volume)).await?)))
}

/// Makes a backup the whole content of its volume, which no instance may have.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/volumes/{volume}/restore", tag = "volumes", params(VolumePath, ChangeQuery), request_body = RestoreBody, responses((status = 200, description = "A dry run", body = VolumeChangePreview), (status = 204)))]
pub async fn restore(trial: Trial, Json(body): Json<RestoreBody>) -> ApiResult<Response> {
    let Trial { door, dry_run } = trial;
    let space = door.editable()?;
    let backup = door.s.backups.find(&space, &door.at.volume, &body.backup).await?;
    let found = door.find(&space).await;
    let Door { s, caller, query, .. } = door;
    let volume = match (found, query.node) {
        (Ok(volume), _) => volume,
        // It went with its node, or was deleted.
        (Err(problem), Some(node)) if problem.kind != gantry_kernel::Kind::Conflict => {
            let volume = VolumeBody {
                name: backup.volume.clone(),
                node,
                app: backup.app.clone(),
                app_id: backup.app_id.clone(),
                workload: backup.workload.clone(),
                size_bytes: backup.size_bytes,
                used_bytes: 0,
                in_use: false,
                orphaned: false,
                snapshots: Vec::new(),
            };
            volumes::require_place(&s, &volume).await?;
            volume
        }
        (Err(problem), _) => return Err(problem),
    };
    if dry_run {
        return told(volume_previews::fill(&s, &space, &volume, "volume.restored", &format!("backup {}", backup.id)).await?);
    }
    let own = s.clone();
    whole(&s, async move { volume_backups::restore(&own, &caller, &space, &volume, &backup).await }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Deletes a backup.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/volumes/{volume}/backups/{backup}", tag = "volumes",
    params(("org" = String, Path), ("project" = String, Path), ("space" = String, Path), ("volume" = String, Path), ("backup" = String, Path), DryRun), responses((status = 200, description = "A dry run", body = VolumeChangePreview), (status = 204)))]
pub async fn remove_backup(
    State(s): State<Scheduler>,
    caller: Caller,
    Path((org, project, space, volume, backup)): Path<(String, String, String, String, String)>,
    Query(dry): Query<DryRun>,
) -> ApiResult<Response> {
    let space = readable(&s, &caller, &org, &project, &space)?;
    s.host.auth.require(&caller, Role::Editor, space.scope())?;
    let backup = s.backups.find(&space, &volume, &backup).await?;
    if dry.dry_run {
        return told(volume_previews::remove_backup(&backup));
    }
    volume_backups::remove(&s, &caller, &space, &backup).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
