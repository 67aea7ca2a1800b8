//! The doors: REST for people, gRPC for the scheduler.

pub mod grpc;
mod invoices;
mod plans;
mod quotas;
mod usage;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use crate::App;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().merge(quotas::routes()).merge(usage::routes()).merge(invoices::routes()).merge(plans::routes())
}
