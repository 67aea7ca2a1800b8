//! The REST door.

mod alerts;
mod audit;
mod events;
mod logs;
mod metrics;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use crate::App;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().merge(logs::routes()).merge(audit::routes()).merge(events::routes()).merge(metrics::routes()).merge(alerts::routes())
}
