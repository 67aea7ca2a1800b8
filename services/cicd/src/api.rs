//! Doors: REST for people and programs, git's smart HTTP for `git`.

mod bodies;
mod git;
mod logs;
mod repositories;
mod runs;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use tokio::sync::{Semaphore, watch};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::adapters::peers::Peers;
use crate::app::Cicd;
use crate::config::CicdConfig;

const MAX_BODY: usize = 1 << 20;

/// What handlers share.
pub struct Api {
    pub cicd: Arc<Cicd>,
    /// How far the tables are; watched lists wake by it.
    pub tables: watch::Receiver<i64>,
    pub peers: Peers,
    pub git_room: Arc<Semaphore>,
    pub max_push_bytes: u64,
}

#[derive(OpenApi)]
#[openapi(info(title = "Gantry CI/CD", description = "Hosted git repositories, pipeline runs, their logs and artifacts."))]
struct Document;

fn rest() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(repositories::list, repositories::create))
        .routes(routes!(repositories::remove))
        .routes(routes!(runs::list, runs::start))
        .routes(routes!(runs::get))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::approve))
        .routes(routes!(logs::step_log))
        .routes(routes!(runs::artifacts))
        .routes(routes!(runs::artifact))
}

pub fn openapi() -> utoipa::openapi::OpenApi {
    rest().into_openapi()
}

pub fn router(cicd: Arc<Cicd>, tables: watch::Receiver<i64>, config: &CicdConfig) -> Router {
    let (peers, git_room) = (Peers::new(cicd.host.clone()), Arc::new(Semaphore::new(config.max_git_processes)));
    let api = Arc::new(Api { cicd, tables, peers, git_room, max_push_bytes: config.max_push_bytes });
    let (rest, _) = rest().split_for_parts();
    rest.layer(DefaultBodyLimit::max(MAX_BODY)).merge(git::routes()).with_state(api)
}
