//! Kubernetes clusters: for those who administer the platform, or the organisation whose a cluster is.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, Path, Query, created, with_etag};
use gantry_kubernetes::{Account, More};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::IntoParams;

use super::placement::object;
use crate::app::Scheduler;
use crate::app::clusters::{self, AccessBody, ClusterBody, NewCluster, TestBody};
use crate::domain::cluster::ClusterSettings;

/// The clusters that the caller may know.
#[utoipa::path(get, path = "/api/v1/clusters", tag = "clusters", responses((status = 200, body = Page<ClusterBody>)))]
pub async fn list(State(s): State<Scheduler>, caller: Caller) -> ApiResult<Json<Page<ClusterBody>>> {
    Ok(Json(Page::all(clusters::list(&s, &caller).await?)))
}

/// Takes a cluster in; it is tested before.
#[utoipa::path(post, path = "/api/v1/clusters", tag = "clusters", request_body = NewCluster, responses((status = 201, body = ClusterBody)))]
pub async fn add(State(s): State<Scheduler>, caller: Caller, Json(body): Json<NewCluster>) -> ApiResult<Response> {
    let added = clusters::add(&s, &caller, body).await?;
    Ok(created(&format!("/api/v1/clusters/{}", added.name), added.version, Json(added)))
}

/// One cluster; its credential is never shown.
#[utoipa::path(get, path = "/api/v1/clusters/{cluster}", tag = "clusters", params(("cluster" = String, Path)), responses((status = 200, body = ClusterBody)))]
pub async fn get(State(s): State<Scheduler>, caller: Caller, Path(cluster): Path<String>) -> ApiResult<Response> {
    let found = clusters::get(&s, &caller, &cluster).await?;
    Ok(with_etag(found.version, Json(found)))
}

/// Forgets it, and the credential for ever. Nothing on the cluster is touched.
#[utoipa::path(delete, path = "/api/v1/clusters/{cluster}", tag = "clusters", params(("cluster" = String, Path)), responses((status = 204)))]
pub async fn remove(State(s): State<Scheduler>, caller: Caller, Path(cluster): Path<String>) -> ApiResult<StatusCode> {
    clusters::remove(&s, &caller, &cluster).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Another way in, tested before it counts: a renewed credential or another address.
#[utoipa::path(put, path = "/api/v1/clusters/{cluster}/access", tag = "clusters", params(("cluster" = String, Path)), request_body = AccessBody, responses((status = 200, body = ClusterBody)))]
pub async fn access(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(cluster): Path<String>,
    Json(body): Json<Map<String, Value>>,
) -> ApiResult<Json<ClusterBody>> {
    let access: AccessBody = object(body)?;
    Ok(Json(clusters::change_access(&s, &caller, &cluster, access).await?))
}

/// Sets its settings as a whole.
#[utoipa::path(put, path = "/api/v1/clusters/{cluster}/settings", tag = "clusters", params(("cluster" = String, Path)), request_body = ClusterSettings, responses((status = 200, body = ClusterBody)))]
pub async fn settings(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(cluster): Path<String>,
    Json(body): Json<Map<String, Value>>,
) -> ApiResult<Json<ClusterBody>> {
    let settings: ClusterSettings = object(body)?;
    Ok(Json(clusters::change_settings(&s, &caller, &cluster, settings).await?))
}

/// Connects, and says what it found: version, capabilities, missing rights, or what is in the way.
#[utoipa::path(post, path = "/api/v1/clusters/{cluster}/test", tag = "clusters", params(("cluster" = String, Path)), responses((status = 200, body = TestBody)))]
pub async fn test(State(s): State<Scheduler>, caller: Caller, Path(cluster): Path<String>) -> ApiResult<Json<TestBody>> {
    Ok(Json(clusters::test(&s, &caller, &cluster).await?))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ManifestQuery {
    /// With the rights of the custom scheduler.
    #[serde(default)]
    scheduler: bool,
    /// With the right to bind people's roles in the namespaces of spaces.
    #[serde(default)]
    roles: bool,
}

/// A service account with the least rights that are needed, for `kubectl apply`.
#[utoipa::path(get, path = "/api/v1/cluster-manifest", tag = "clusters", params(ManifestQuery), responses((status = 200, body = String, content_type = "application/yaml")))]
pub async fn manifest(_: Caller, Query(query): Query<ManifestQuery>) -> ApiResult<Response> {
    let text = gantry_kubernetes::manifest(&Account::default(), More { scheduler: query.scheduler, roles: query.roles });
    Ok(([(axum::http::header::CONTENT_TYPE, "application/yaml")], text).into_response())
}
