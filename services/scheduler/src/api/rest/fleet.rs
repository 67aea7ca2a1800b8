//! The clusters that a space's workloads run on.

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Path};
use serde_json::{Map, Value};

use super::apps::{SpacePath, readable};
use super::placement::object;
use crate::app::Scheduler;
use crate::app::fleet::{self, SpaceClustersBody};
use crate::domain::fleet::Fleet;

/// The clusters that the space's workloads run on, and how they are.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/clusters", tag = "clusters", params(SpacePath), responses((status = 200, body = SpaceClustersBody)))]
pub async fn get(State(s): State<Scheduler>, caller: Caller, Path(at): Path<SpacePath>) -> ApiResult<Json<SpaceClustersBody>> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    Ok(Json(fleet::get(&s, &space).await?))
}

/// Sets them as a whole, instead of the one cluster or the nodes before; what runs moves by the policy. An empty object: on nodes
/// again.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/clusters", tag = "clusters", params(SpacePath), request_body = Fleet, responses((status = 200, body = SpaceClustersBody)))]
pub async fn set(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<SpacePath>,
    Json(body): Json<Map<String, Value>>,
) -> ApiResult<Json<SpaceClustersBody>> {
    let fleet: Option<Fleet> = if body.is_empty() { None } else { Some(object(body)?) };
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    let meta = caller.meta(Some(space.org().id));
    Ok(Json(fleet::set(&s, &space, fleet, &caller.subject, meta).await?))
}
