//! Open Service Broker API 2.17 (openservicebrokerapi.org) over the same application code. The other platform signs in with
//! the user and password of `[catalog]` and is trusted to say in `context` (or the parameters) which space an instance is for.

mod bindings;
mod catalog;
mod guard;
mod instances;
mod reply;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, put};
use gantry_es::Meta;
use gantry_kernel::OrgId;

use crate::App;

/// Whose rights the other platform acts with.
const SUBJECT: &str = "service:osb";

pub fn routes(app: Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/osb/v2/catalog", get(catalog::catalog))
        .route("/osb/v2/service_instances/{instance}", put(instances::provision).get(instances::fetch).delete(instances::deprovision))
        .route("/osb/v2/service_instances/{instance}/last_operation", get(instances::last_operation))
        .route("/osb/v2/service_instances/{instance}/service_bindings/{binding}", put(bindings::bind).get(bindings::fetch).delete(bindings::unbind))
        .layer(from_fn_with_state(app, guard::guard))
}

fn meta(org: Option<OrgId>) -> Meta {
    Meta { actor: SUBJECT.into(), tenant: org, ..Meta::default() }
}
