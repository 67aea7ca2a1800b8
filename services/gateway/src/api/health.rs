//! `/healthz`, `/readyz` and the merged API document.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderValue, StatusCode, header};

use crate::app::documents::Documents;

pub fn router(documents: Documents) -> Router {
    Router::new()
        .route("/healthz", get(async || Json(serde_json::json!({ "status": "ok" }))))
        .route("/readyz", get(ready))
        .route("/api/openapi.json", get(openapi))
        .with_state(documents)
}

async fn ready(State(documents): State<Documents>) -> Response {
    let ready = documents.ready().await;
    let status = if ready.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut answer = (status, Json(ready)).into_response();
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

async fn openapi(State(documents): State<Documents>) -> Response {
    let mut answer = Json(&*documents.openapi().await).into_response();
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}
