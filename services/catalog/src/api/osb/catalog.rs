//! `GET /v2/catalog`.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use serde_json::{Value, json};

use super::reply::{Reply, reply};
use crate::App;
use crate::domain::offering::{Offering, Plan};

pub async fn catalog(State(app): State<Arc<App>>) -> Reply {
    let services: Vec<Value> = app.offerings.iter().map(service).collect();
    Ok(reply(StatusCode::OK, json!({ "services": services })))
}

fn service(offering: &Offering) -> Value {
    let parameters = serde_json::to_value(&offering.parameters).unwrap_or_default();
    let plan = |plan: &Plan| {
        json!({
            "id": plan_id(offering, plan),
            "name": plan.name,
            "description": plan.description,
            "free": false,
            "schemas": { "service_instance": { "create": { "parameters": parameters } } },
        })
    };
    json!({
        "id": offering.name,
        "name": offering.name,
        "description": offering.description,
        "tags": offering.tags,
        "bindable": true,
        "instances_retrievable": true,
        "bindings_retrievable": true,
        "plan_updateable": false,
        "metadata": { "displayName": offering.title },
        "plans": offering.plans.iter().map(plan).collect::<Vec<_>>(),
    })
}

/// Plan ids must be unique over all services.
fn plan_id(offering: &Offering, plan: &Plan) -> String {
    format!("{}-{}", offering.name, plan.name)
}

/// The plan's name of an id.
pub fn plan_of<'a>(service: &str, plan_id: &'a str) -> Option<&'a str> {
    plan_id.strip_prefix(service)?.strip_prefix('-')
}
