//! Nodes: for the platform's operators, and to look at for everybody who is signed in with a role on the platform.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_host::{ApiResult, IfMatch, Json, Page, Path, Query, WatchQuery, watch_list, with_etag};
use gantry_kernel::{Role, Scope};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::placement::object;
use crate::app::Scheduler;
use crate::app::cordoning::{self, CordonPreview};
use crate::app::draining::{self, DrainPreview};
use crate::app::node_settings;
use crate::app::nodes::{self, NodeBody, NodeVerb};
use crate::domain::placement::NodeSettings;

/// All nodes with what they are, have and hold.
#[utoipa::path(get, path = "/api/v1/nodes", tag = "nodes", params(WatchQuery), responses((status = 200, body = Page<NodeBody>)))]
pub async fn list(State(s): State<Scheduler>, caller: Caller, Query(query): Query<WatchQuery>) -> ApiResult<Response> {
    s.host.auth.require(&caller, Role::Viewer, Scope::Platform)?;
    if query.watch {
        let (moved, host, watcher) = (s.moved.subscribe(), s.host.clone(), caller.clone());
        return Ok(watch_list(&host, &watcher, moved, move || {
            let (s, caller) = (s.clone(), caller.clone());
            async move {
                s.host.auth.require(&caller, Role::Viewer, Scope::Platform)?;
                nodes::list(&s).await.map(Page::all)
            }
        }));
    }
    Ok(Json(Page::all(nodes::list(&s).await?)).into_response())
}

async fn run(s: Scheduler, caller: Caller, node: String, verb: NodeVerb) -> ApiResult<StatusCode> {
    s.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    nodes::change(&s, &node, verb, caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// No new instances here.
#[utoipa::path(post, path = "/api/v1/nodes/{node}/cordon", tag = "nodes", params(("node" = String, Path)), responses((status = 204)))]
pub async fn cordon(State(s): State<Scheduler>, caller: Caller, Path(node): Path<String>) -> ApiResult<StatusCode> {
    run(s, caller, node, NodeVerb::Cordon).await
}

/// What closing it to new instances would mean; nothing changes.
#[utoipa::path(get, path = "/api/v1/nodes/{node}/cordon", tag = "nodes", params(("node" = String, Path)), responses((status = 200, body = CordonPreview)))]
pub async fn preview_cordon(State(s): State<Scheduler>, caller: Caller, Path(node): Path<String>) -> ApiResult<Json<CordonPreview>> {
    s.host.auth.require(&caller, Role::Viewer, Scope::Platform)?;
    Ok(Json(cordoning::close(&s, &node).await?))
}

/// New instances may come again.
#[utoipa::path(post, path = "/api/v1/nodes/{node}/uncordon", tag = "nodes", params(("node" = String, Path)), responses((status = 204)))]
pub async fn uncordon(State(s): State<Scheduler>, caller: Caller, Path(node): Path<String>) -> ApiResult<StatusCode> {
    run(s, caller, node, NodeVerb::Uncordon).await
}

/// What opening it to new instances would mean; nothing changes.
#[utoipa::path(get, path = "/api/v1/nodes/{node}/uncordon", tag = "nodes", params(("node" = String, Path)), responses((status = 200, body = CordonPreview)))]
pub async fn preview_uncordon(State(s): State<Scheduler>, caller: Caller, Path(node): Path<String>) -> ApiResult<Json<CordonPreview>> {
    s.host.auth.require(&caller, Role::Viewer, Scope::Platform)?;
    Ok(Json(cordoning::open(&s, &node).await?))
}

/// Moves the instances elsewhere, each replaced before it goes, and takes no new ones.
#[utoipa::path(post, path = "/api/v1/nodes/{node}/drain", tag = "nodes", params(("node" = String, Path)), responses((status = 204)))]
pub async fn drain(State(s): State<Scheduler>, caller: Caller, Path(node): Path<String>) -> ApiResult<StatusCode> {
    run(s, caller, node, NodeVerb::Drain).await
}

/// What would become of the instances if it was drained; nothing changes. At an address of its own, so that a platform that does not know it
/// refuses instead of draining.
#[utoipa::path(get, path = "/api/v1/nodes/{node}/drain", tag = "nodes", params(("node" = String, Path)), responses((status = 200, body = DrainPreview)))]
pub async fn preview_drain(State(s): State<Scheduler>, caller: Caller, Path(node): Path<String>) -> ApiResult<Json<DrainPreview>> {
    s.host.auth.require(&caller, Role::Viewer, Scope::Platform)?;
    Ok(Json(draining::preview(&s, &node).await?))
}

#[derive(Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RemovalQuery {
    /// Also if it has instances: they are started elsewhere at once.
    #[serde(default)]
    force: bool,
}

/// Takes it out of the platform. Its agent stops everything, and is refused when it comes back; its certificates are revoked.
#[utoipa::path(delete, path = "/api/v1/nodes/{node}", tag = "nodes", params(("node" = String, Path), RemovalQuery), responses((status = 204)))]
pub async fn remove(State(s): State<Scheduler>, caller: Caller, Path(node): Path<String>, Query(query): Query<RemovalQuery>) -> ApiResult<StatusCode> {
    s.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    nodes::remove(&s, &node, query.force, caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a removed node attach again.
#[utoipa::path(post, path = "/api/v1/nodes/{node}/admit", tag = "nodes", params(("node" = String, Path)), responses((status = 204)))]
pub async fn admit(State(s): State<Scheduler>, caller: Caller, Path(node): Path<String>) -> ApiResult<StatusCode> {
    s.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    nodes::admit(&s, &node, caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SettingsQuery {
    /// Also of a node that has not joined yet: it has them from its first moment.
    #[serde(default)]
    ahead: bool,
}

/// Labels, taints, overcommitment and reservations as operators set them, also of a node that is to come.
#[utoipa::path(get, path = "/api/v1/nodes/{node}/settings", tag = "nodes", params(("node" = String, Path)), responses((status = 200, body = NodeSettings)))]
pub async fn settings(State(s): State<Scheduler>, caller: Caller, Path(node): Path<String>) -> ApiResult<Response> {
    s.host.auth.require(&caller, Role::Viewer, Scope::Platform)?;
    let (settings, version) = node_settings::get(&s, &node).await?;
    Ok(with_etag(version, Json(settings)))
}

/// Sets labels, taints, overcommitment and reservations of a node, all of them at once.
#[utoipa::path(put, path = "/api/v1/nodes/{node}/settings", tag = "nodes", params(("node" = String, Path), SettingsQuery, IfMatch), request_body = NodeSettings, responses((status = 200, body = NodeSettings)))]
pub async fn configure(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(node): Path<String>,
    Query(query): Query<SettingsQuery>,
    IfMatch(expect): IfMatch,
    Json(body): Json<Map<String, Value>>,
) -> ApiResult<Response> {
    s.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    let settings: NodeSettings = object(body)?;
    let (settings, version) = node_settings::set(&s, &node, settings, query.ahead, expect, caller.meta(None)).await?;
    Ok(with_etag(version, Json(settings)))
}
