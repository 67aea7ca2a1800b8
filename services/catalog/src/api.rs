//! The doors: REST for people and consoles, Open Service Broker for other platforms.

mod bindings;
mod instances;
mod offerings;
pub mod osb;

use std::sync::Arc;

use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;

use crate::App;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().merge(offerings::routes()).merge(instances::routes()).merge(bindings::routes())
}

/// A space, as a path says it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SpacePath {
    pub org: String,
    pub project: String,
    pub space: String,
}
