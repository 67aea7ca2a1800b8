//! `/instances` of a space.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gantry_auth::{Caller, SpaceRef};
use gantry_host::{ApiResult, IfMatch, Json, Page, Path, Query, WatchQuery, etag, watch_list, with_etag};
use gantry_kernel::{Name, Role};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::SpacePath;
use crate::App;
use crate::app::instances::{InstanceView, Wanted};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, request)).routes(routes!(get, delete))
}

pub(super) fn space(app: &App, caller: &Caller, path: &SpacePath, role: Role) -> ApiResult<SpaceRef> {
    let space = app.host.auth.space(&path.org, &path.project, &path.space)?;
    app.host.auth.require(caller, role, space.scope())?;
    Ok(space)
}

#[derive(Debug, Deserialize)]
struct InstancePath {
    #[serde(flatten)]
    space: SpacePath,
    instance: String,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct InstanceRequest {
    offering: String,
    plan: String,
    name: Name,
    /// As the offering's JSON Schema says.
    #[serde(default)]
    #[schema(value_type = Object)]
    parameters: Map<String, Value>,
}

/// Service instances of a space, watchable.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/instances", tag = "catalogue",
    params(("org" = String, Path), ("project" = String, Path), ("space" = String, Path), WatchQuery), responses((status = 200, body = Page<InstanceView>)))]
async fn list(State(app): State<Arc<App>>, caller: Caller, Path(path): Path<SpacePath>, Query(query): Query<WatchQuery>) -> ApiResult<Response> {
    let space = space(&app, &caller, &path, Role::Viewer)?;
    let moved = app.host.progress.watch("instances");
    match moved.filter(|_| query.watch) {
        Some(moved) => {
            let (host, watcher) = (app.host.clone(), caller.clone());
            Ok(watch_list(&host, &watcher, moved, move || {
                let (app, caller, space) = (app.clone(), caller.clone(), space.clone());
                async move {
                    app.host.auth.require(&caller, Role::Viewer, space.scope())?;
                    Ok(Page::all(app.list(space.id).await?))
                }
            }))
        }
        None => Ok(Json(Page::all(app.list(space.id).await?)).into_response()),
    }
}

/// Requests an instance. It is provisioned in the background: watch `state` become `ready` or `failed`.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/instances", tag = "catalogue",
    params(("org" = String, Path), ("project" = String, Path), ("space" = String, Path)), request_body = InstanceRequest, responses((status = 202, body = InstanceView)))]
async fn request(State(app): State<Arc<App>>, caller: Caller, Path(path): Path<SpacePath>, Json(body): Json<InstanceRequest>) -> ApiResult<Response> {
    let space = space(&app, &caller, &path, Role::Editor)?;
    let wanted = Wanted { id: app.host.uuid(), name: body.name, offering: body.offering, plan: body.plan, parameters: body.parameters };
    let view = app.request(&space, wanted, &caller.subject, caller.meta(Some(space.org().id))).await?;
    let SpacePath { org, project, space } = path;
    let location = format!("/api/v1/orgs/{org}/projects/{project}/spaces/{space}/instances/{}", view.name);
    let location = HeaderValue::try_from(location).unwrap_or_else(|_| HeaderValue::from_static("/"));
    Ok((StatusCode::ACCEPTED, [(header::ETAG, etag(view.version)), (header::LOCATION, location)], Json(view)).into_response())
}

/// One instance.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/instances/{instance}", tag = "catalogue",
    params(("org" = String, Path), ("project" = String, Path), ("space" = String, Path), ("instance" = String, Path)), responses((status = 200, body = InstanceView)))]
async fn get(State(app): State<Arc<App>>, caller: Caller, Path(path): Path<InstancePath>) -> ApiResult<Response> {
    let space = space(&app, &caller, &path.space, Role::Viewer)?;
    let view = app.find(&space, &path.instance).await?;
    Ok(with_etag(view.version, Json(view)))
}

/// Deletes an instance, its bindings and its data, in the background.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/instances/{instance}", tag = "catalogue",
    params(("org" = String, Path), ("project" = String, Path), ("space" = String, Path), ("instance" = String, Path), IfMatch), responses((status = 202, body = InstanceView)))]
async fn delete(State(app): State<Arc<App>>, caller: Caller, Path(path): Path<InstancePath>, IfMatch(expect): IfMatch) -> ApiResult<Response> {
    let space = space(&app, &caller, &path.space, Role::Editor)?;
    let view = app.find(&space, &path.instance).await?;
    app.delete(view.id, expect, caller.meta(Some(space.org().id))).await?;
    let view = app.by_id(view.id).await?.unwrap_or(view);
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}
