//! Answers as the specification wants them: `{ "error", "description" }` for errors, `{}` for nothing.

use axum::response::{IntoResponse, Response};
use gantry_kernel::{Kind, Problem};
use http::StatusCode;
use serde_json::{Value, json};

pub type Reply = Result<Response, OsbError>;

pub struct OsbError {
    status: StatusCode,
    /// `AsyncRequired`, `ConcurrencyError`, ... or nothing.
    error: Option<&'static str>,
    description: String,
}

impl OsbError {
    pub fn new(status: StatusCode, error: Option<&'static str>, description: impl Into<String>) -> Self {
        Self { status, error, description: description.into() }
    }

    pub fn invalid(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, None, description)
    }

    /// What was there and is no more, or never was.
    pub fn gone() -> Self {
        Self::new(StatusCode::GONE, None, "there is no such thing")
    }
}

impl From<Problem> for OsbError {
    fn from(problem: Problem) -> Self {
        if problem.kind.status().is_server_error() {
            tracing::warn!(error = problem.chain(), "the broker's door could not answer");
        }
        let status = match problem.kind {
            // The specification knows no 412 for anything but versions.
            Kind::Stale => StatusCode::CONFLICT,
            kind => kind.status(),
        };
        Self::new(status, None, problem.detail)
    }
}

impl IntoResponse for OsbError {
    fn into_response(self) -> Response {
        let mut body = json!({ "description": self.description });
        if let Some(error) = self.error {
            body["error"] = error.into();
        }
        (self.status, axum::Json(body)).into_response()
    }
}

pub fn reply(status: StatusCode, body: Value) -> Response {
    (status, [(http::header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response()
}
