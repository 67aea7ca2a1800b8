//! `/healthz`, `/readyz` and the merged API document.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderValue, StatusCode, header};

use crate::app::documents::{Documents, Ready};

pub fn router(documents: Documents) -> Router {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(ready)).route("/api/openapi.json", get(openapi)).with_state(documents)
}

/// Whether this process lives.
#[utoipa::path(get, path = "/healthz", security(()), responses((status = 200, description = "it does")))]
pub(super) async fn healthz() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "ok" }))
}

/// Whether every service is ready, part by part.
#[utoipa::path(get, path = "/readyz", security(()), responses((status = 200, body = Ready), (status = 503, body = Ready)))]
pub(super) async fn ready(State(documents): State<Documents>) -> Response {
    let ready = documents.ready().await;
    let status = if ready.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut answer = (status, Json(ready)).into_response();
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// This document.
#[utoipa::path(get, path = "/api/openapi.json", security(()), responses((status = 200, description = "OpenAPI 3.1")))]
pub(super) async fn openapi(State(documents): State<Documents>) -> Response {
    let mut answer = Json(&*documents.openapi().await).into_response();
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}
