//! Bindings, synchronous.

use std::sync::Arc;

use axum::extract::State;
use gantry_host::Path;
use gantry_kernel::{Kind, Name, Uuid};
use http::StatusCode;
use serde_json::json;

use super::instances::instance_id;
use super::meta;
use super::reply::{OsbError, Reply, reply};
use crate::App;

/// A binding's name here: names are ours, ids are theirs.
fn ids(instance: &str, binding: &str) -> Result<(Uuid, Uuid, Name), OsbError> {
    let id = Uuid::parse_str(binding).map_err(|_| OsbError::invalid("binding ids must be UUIDs"))?;
    let name = Name::parse(&format!("osb-{}", id.simple())).map_err(|error| OsbError::invalid(error.to_string()))?;
    Ok((instance_id(instance)?, id, name))
}

pub async fn bind(State(app): State<Arc<App>>, Path((instance, binding)): Path<(String, String)>) -> Reply {
    let (instance, binding, name) = ids(&instance, &binding)?;
    let view = app.by_id(instance).await?.ok_or_else(|| OsbError::new(StatusCode::NOT_FOUND, None, "there is no such instance"))?;
    let org = app.org_of(instance).await?;
    if view.bindings.iter().any(|b| b.name == name.as_str()) {
        let again = app.read_binding(instance, &name, &meta(org)).await?;
        return Ok(reply(StatusCode::OK, json!({ "credentials": again.credentials })));
    }
    let made = app.bind(instance, binding, &name, meta(org)).await.map_err(|problem| match problem.kind {
        // "An operation is under way" has a code of its own.
        Kind::Conflict => OsbError::new(StatusCode::UNPROCESSABLE_ENTITY, Some("ConcurrencyError"), problem.detail),
        _ => problem.into(),
    })?;
    Ok(reply(StatusCode::CREATED, json!({ "credentials": made.credentials })))
}

pub async fn fetch(State(app): State<Arc<App>>, Path((instance, binding)): Path<(String, String)>) -> Reply {
    let (instance, _, name) = ids(&instance, &binding)?;
    let read = app.read_binding(instance, &name, &meta(app.org_of(instance).await?)).await?;
    Ok(reply(StatusCode::OK, json!({ "credentials": read.credentials })))
}

pub async fn unbind(State(app): State<Arc<App>>, Path((instance, binding)): Path<(String, String)>) -> Reply {
    let (instance, _, name) = ids(&instance, &binding)?;
    let org = app.org_of(instance).await?;
    match app.unbind(instance, &name, meta(org)).await {
        Ok(()) => Ok(reply(StatusCode::OK, json!({}))),
        Err(problem) if problem.kind == Kind::NotFound => Err(OsbError::gone()),
        Err(problem) => Err(problem.into()),
    }
}
