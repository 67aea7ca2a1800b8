//! For operators: collection of unneeded content, checks of what is kept, and the images that damage hurts.

use std::time::Duration;

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page};
use gantry_kernel::{Problem, Role, Scope};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::app::App;
use crate::app::care::Freed;
use crate::store::entities::collections;

/// Below this a push that is under way could lose what it has uploaded.
const SHORTEST_SECONDS: u64 = 60;
const SHOWN: u64 = 100;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectRequest {
    /// Only counts what would be removed.
    #[serde(default)]
    pub dry_run: bool,
    /// How long nobody must have needed it, 60 at least; `gc_grace_seconds` of the configuration if not given.
    pub older_than_seconds: Option<u64>,
}

/// What a collection removed, or would have.
#[derive(Serialize, ToSchema)]
pub struct Collection {
    pub dry_run: bool,
    /// Layers, configs and manifests.
    pub blobs: u64,
    pub bytes: u64,
    /// Uploads that nobody went on with.
    pub uploads: u64,
    pub by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub took_ms: u64,
}

impl From<collections::Model> for Collection {
    fn from(row: collections::Model) -> Self {
        Self {
            dry_run: row.dry_run,
            blobs: row.blobs.unsigned_abs(),
            bytes: row.bytes.unsigned_abs(),
            uploads: row.uploads.unsigned_abs(),
            by: row.by_whom,
            at: row.at,
            took_ms: row.took_ms.unsigned_abs(),
        }
    }
}

/// Removes content that no image needs. Pushes go on meanwhile. Platform administrators only.
#[utoipa::path(post, path = "/api/v1/registry/collections", tag = "registry", request_body = CollectRequest,
    responses((status = 200, body = Collection), (status = 403, description = "needs admin on the platform"), (status = 409, description = "a collection is under way")))]
pub async fn collect(State(app): State<App>, caller: Caller, Json(body): Json<CollectRequest>) -> ApiResult<Json<Collection>> {
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    let seconds = body.older_than_seconds.unwrap_or(app.config.gc_grace_seconds);
    if seconds < SHORTEST_SECONDS && body.older_than_seconds.is_some() {
        return Err(Problem::invalid(
            "older_than_seconds",
            format!("{seconds}: must be at least {SHORTEST_SECONDS}, or a push under way could lose its layers"),
        ));
    }
    let started = app.host.env.now();
    let done = app.collect(Duration::from_secs(seconds), body.dry_run, &caller.subject).await.map_err(|e| Problem::internal(e.into_boxed_dyn_error()))?;
    let Freed { blobs, bytes, uploads, .. } =
        done.ok_or_else(|| Problem::conflict("registry.busy", "a collection is under way, or the lists are being built anew; try again in a moment"))?;
    let now = app.host.env.now();
    let took_ms = u64::try_from((now - started).whole_milliseconds()).unwrap_or_default();
    Ok(Json(Collection { dry_run: body.dry_run, blobs, bytes, uploads, by: caller.subject, at: now, took_ms }))
}

/// The last collections, newest first. Platform administrators only.
#[utoipa::path(get, path = "/api/v1/registry/collections", tag = "registry",
    responses((status = 200, body = Page<Collection>), (status = 403, description = "needs admin on the platform")))]
pub async fn collections(State(app): State<App>, caller: Caller) -> ApiResult<Json<Page<Collection>>> {
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    let rows = app.collections(SHOWN).await.map_err(Problem::internal)?;
    Ok(Json(Page::all(rows.into_iter().map(Collection::from).collect())))
}

/// How many blobs are to be checked now.
#[derive(Serialize, ToSchema)]
pub struct Checks {
    pub waiting: u64,
}

/// Has everything read and compared with its digest now; `/api/v1/registry/damage` shows what comes out. Platform administrators only.
#[utoipa::path(post, path = "/api/v1/registry/checks", tag = "registry",
    responses((status = 202, body = Checks), (status = 403, description = "needs admin on the platform")))]
pub async fn check(State(app): State<App>, caller: Caller) -> ApiResult<(StatusCode, Json<Checks>)> {
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    let waiting = app.check_all().await.map_err(|e| Problem::internal(e.into_boxed_dyn_error()))?;
    Ok((StatusCode::ACCEPTED, Json(Checks { waiting: waiting.unsigned_abs() })))
}

/// Damaged content, and how far the check is.
#[derive(Serialize, ToSchema)]
pub struct Damage {
    /// Blobs that are still to be checked in this round.
    pub waiting: u64,
    pub items: Vec<Damaged>,
}

/// One image that cannot be pulled whole: a piece of its content is damaged on the disk. Pushing the piece again mends it.
#[derive(Serialize, ToSchema)]
pub struct Damaged {
    pub digest: String,
    pub size_bytes: u64,
    #[serde(with = "time::serde::rfc3339")]
    pub found_at: OffsetDateTime,
    /// None: no image has it.
    pub repository: Option<String>,
    pub image: Option<String>,
    pub tags: Vec<String>,
}

/// The images that damaged content hurts. Platform administrators only.
#[utoipa::path(get, path = "/api/v1/registry/damage", tag = "registry",
    responses((status = 200, body = Damage), (status = 403, description = "needs admin on the platform")))]
pub async fn damage(State(app): State<App>, caller: Caller) -> ApiResult<Json<Damage>> {
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    let (hurt, waiting) = app.damage().await.map_err(|e| Problem::internal(e.into_boxed_dyn_error()))?;
    let items = hurt.into_iter().map(|h| Damaged {
        digest: h.digest,
        size_bytes: h.size_bytes.unsigned_abs(),
        found_at: h.damaged_at,
        repository: h.repository,
        image: h.manifest,
        tags: h.tags,
    });
    Ok(Json(Damage { waiting: waiting.unsigned_abs(), items: items.collect() }))
}
