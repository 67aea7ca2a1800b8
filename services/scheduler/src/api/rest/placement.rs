//! Placement rules of a space.

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Path};
use gantry_kernel::Problem;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::apps::{SpacePath, readable};
use crate::app::{Scheduler, space_rules};
use crate::domain::placement::SpaceRules;

/// What counts for where all workloads of the space run, beside their own rules.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/placement", tag = "applications", params(SpacePath), responses((status = 200, body = SpaceRules)))]
pub async fn get(State(s): State<Scheduler>, caller: Caller, Path(at): Path<SpacePath>) -> ApiResult<Json<SpaceRules>> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    Ok(Json(space_rules::get(&s, &space).await?))
}

/// Sets them as a whole; new instances follow them at once, those that stand stay.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/placement", tag = "applications", params(SpacePath), request_body = SpaceRules, responses((status = 200, body = SpaceRules)))]
pub async fn set(State(s): State<Scheduler>, caller: Caller, Path(at): Path<SpacePath>, Json(body): Json<Map<String, Value>>) -> ApiResult<Json<SpaceRules>> {
    let rules: SpaceRules = object(body)?;
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    let meta = caller.meta(Some(space.org().id));
    Ok(Json(space_rules::set(&s, &space, rules, &caller.subject, meta).await?))
}

/// What is set as a whole comes as an object: every field may be missing, and serde would take a list for its first fields.
pub(super) fn object<T: DeserializeOwned>(body: Map<String, Value>) -> Result<T, Problem> {
    serde_json::from_value(Value::Object(body)).map_err(|e| Problem::invalid("body", e.to_string()))
}
