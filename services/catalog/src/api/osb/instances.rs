//! Provisioning, always asynchronous, and what became of it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use gantry_auth::SpaceRef;
use gantry_es_pg::Expect;
use gantry_host::{Json, Path, Query};
use gantry_kernel::{Name, Problem, Uuid};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::catalog::plan_of;
use super::reply::{OsbError, Reply, reply};
use super::{SUBJECT, meta};
use crate::App;
use crate::app::instances::{InstanceView, Wanted};

/// Unknown fields are allowed: the specification tells brokers to ignore them.
#[derive(Debug, Deserialize)]
pub struct ProvisionRequest {
    service_id: String,
    plan_id: String,
    #[serde(default)]
    context: Map<String, Value>,
    #[serde(default)]
    parameters: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
pub struct AsyncQuery {
    #[serde(default)]
    accepts_incomplete: bool,
}

pub(super) fn instance_id(text: &str) -> Result<Uuid, OsbError> {
    Uuid::parse_str(text).map_err(|_| OsbError::invalid("instance ids must be UUIDs"))
}

fn need_async(query: &AsyncQuery) -> Result<(), OsbError> {
    if query.accepts_incomplete {
        return Ok(());
    }
    Err(OsbError::new(StatusCode::UNPROCESSABLE_ENTITY, Some("AsyncRequired"), "this broker works asynchronously: send accepts_incomplete=true"))
}

pub async fn provision(State(app): State<Arc<App>>, Path(id): Path<String>, Query(query): Query<AsyncQuery>, Json(mut body): Json<ProvisionRequest>) -> Reply {
    let id = instance_id(&id)?;
    need_async(&query)?;
    let plan = plan_of(&body.service_id, &body.plan_id).ok_or_else(|| OsbError::invalid("the plan does not belong to the service"))?.to_owned();
    let space = space_of(&app, &mut body)?;
    let name = take(&mut body, "instance_name").unwrap_or_else(|| format!("osb-{}", &id.simple().to_string()[24..]));
    let name = Name::parse(&name).map_err(|error| OsbError::invalid(format!("instance_name {error}")))?;
    if let Some(present) = app.by_id(id).await? {
        return again(&app, &present, &body, &plan);
    }
    let wanted = Wanted { id, name, offering: body.service_id, plan, parameters: body.parameters };
    app.request(&space, wanted, SUBJECT, meta(None)).await?;
    Ok(reply(StatusCode::ACCEPTED, json!({ "operation": "provision" })))
}

/// The same request again is answered by how far it is; another under the same id is a conflict.
fn again(app: &App, present: &InstanceView, body: &ProvisionRequest, plan: &str) -> Reply {
    let parameters = app.offering(&body.service_id)?.parameters.check(&body.parameters).map_err(Problem::invalid_fields)?;
    let same = present.offering == body.service_id && present.plan == plan && present.parameters == Value::Object(parameters);
    match (same, present.state.as_str()) {
        (true, "provisioning") => Ok(reply(StatusCode::ACCEPTED, json!({ "operation": "provision" }))),
        (true, "ready") => Ok(reply(StatusCode::OK, json!({}))),
        _ => Err(OsbError::new(StatusCode::CONFLICT, None, "there is another instance of this id, or it failed or was deleted")),
    }
}

pub async fn fetch(State(app): State<Arc<App>>, Path(id): Path<String>) -> Reply {
    let view = app.by_id(instance_id(&id)?).await?.filter(|v| v.state == "ready");
    let view = view.ok_or_else(|| OsbError::new(StatusCode::NOT_FOUND, None, "there is no such instance, or it is not ready"))?;
    let plan_id = format!("{}-{}", view.offering, view.plan);
    Ok(reply(StatusCode::OK, json!({ "service_id": view.offering, "plan_id": plan_id, "parameters": view.parameters })))
}

pub async fn last_operation(State(app): State<Arc<App>>, Path(id): Path<String>) -> Reply {
    let view = app.by_id(instance_id(&id)?).await?.ok_or_else(OsbError::gone)?;
    let state = match view.state.as_str() {
        "provisioning" | "deleting" => "in progress",
        "ready" => "succeeded",
        "failed" => "failed",
        _ => return Err(OsbError::gone()),
    };
    let description = if view.reason.is_empty() { view.state } else { view.reason };
    Ok(reply(StatusCode::OK, json!({ "state": state, "description": description })))
}

pub async fn deprovision(State(app): State<Arc<App>>, Path(id): Path<String>, Query(query): Query<AsyncQuery>) -> Result<Response, OsbError> {
    let id = instance_id(&id)?;
    need_async(&query)?;
    app.by_id(id).await?.filter(|v| v.state != "deleted").ok_or_else(OsbError::gone)?;
    let org = app.org_of(id).await?;
    app.delete(id, Expect::Any, meta(org)).await?;
    Ok(reply(StatusCode::ACCEPTED, json!({ "operation": "deprovision" })))
}

/// `org`, `project` and `space` by name, from the context or else the parameters.
fn space_of(app: &App, body: &mut ProvisionRequest) -> Result<SpaceRef, OsbError> {
    let mut need = |field: &str| take(body, field).ok_or_else(|| OsbError::invalid(format!("context.{field} (or parameters.{field}) must name the {field}")));
    let (org, project, space) = (need("org")?, need("project")?, need("space")?);
    app.host.auth.space(&org, &project, &space).map_err(|problem| OsbError::invalid(problem.detail))
}

fn take(body: &mut ProvisionRequest, field: &str) -> Option<String> {
    let given = body.parameters.remove(field);
    let text = body.context.get(field).cloned().or(given)?;
    text.as_str().map(str::to_owned)
}
