//! `/bindings` of an instance. Answers hold secrets: nobody may keep them on the way.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Path};
use gantry_kernel::{Name, Problem, Role};
use http::{StatusCode, header};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::SpacePath;
use super::instances::space;
use crate::App;
use crate::app::bindings::Credentials;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(bind)).routes(routes!(get, unbind))
}

#[derive(Debug, Deserialize)]
struct InstancePath {
    #[serde(flatten)]
    space: SpacePath,
    instance: String,
}

#[derive(Debug, Deserialize)]
struct BindingPath {
    #[serde(flatten)]
    space: SpacePath,
    instance: String,
    binding: String,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct BindRequest {
    name: Name,
}

fn secret(status: StatusCode, credentials: Credentials) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(credentials)).into_response()
}

fn parse(binding: &str) -> ApiResult<Name> {
    Name::parse(binding).map_err(|_| Problem::not_found("binding", binding))
}

/// Credentials under a name, for one application that uses the instance.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/instances/{instance}/bindings", tag = "catalogue",
    params(("org" = String, Path), ("project" = String, Path), ("space" = String, Path), ("instance" = String, Path)),
    request_body = BindRequest, responses((status = 201, body = Credentials)))]
async fn bind(State(app): State<Arc<App>>, caller: Caller, Path(path): Path<InstancePath>, Json(body): Json<BindRequest>) -> ApiResult<Response> {
    let space = space(&app, &caller, &path.space, Role::Editor)?;
    let instance = app.find(&space, &path.instance).await?;
    let made = app.bind(instance.id, app.host.uuid(), &body.name, caller.meta(Some(space.org().id))).await?;
    Ok(secret(StatusCode::CREATED, made))
}

/// The credentials of a binding again; each reading is on record.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/instances/{instance}/bindings/{binding}", tag = "catalogue",
    params(("org" = String, Path), ("project" = String, Path), ("space" = String, Path), ("instance" = String, Path), ("binding" = String, Path)),
    responses((status = 200, body = Credentials)))]
async fn get(State(app): State<Arc<App>>, caller: Caller, Path(path): Path<BindingPath>) -> ApiResult<Response> {
    let space = space(&app, &caller, &path.space, Role::Editor)?;
    let instance = app.find(&space, &path.instance).await?;
    let read = app.read_binding(instance.id, &parse(&path.binding)?, &caller.meta(Some(space.org().id))).await?;
    Ok(secret(StatusCode::OK, read))
}

/// Takes a binding away.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/instances/{instance}/bindings/{binding}", tag = "catalogue",
    params(("org" = String, Path), ("project" = String, Path), ("space" = String, Path), ("instance" = String, Path), ("binding" = String, Path)),
    responses((status = 204)))]
async fn unbind(State(app): State<Arc<App>>, caller: Caller, Path(path): Path<BindingPath>) -> ApiResult<StatusCode> {
    let space = space(&app, &caller, &path.space, Role::Editor)?;
    let instance = app.find(&space, &path.instance).await?;
    app.unbind(instance.id, &parse(&path.binding)?, caller.meta(Some(space.org().id))).await?;
    Ok(StatusCode::NO_CONTENT)
}
