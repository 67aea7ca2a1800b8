//! An error as OCI clients want it: `{"errors":[{"code":..,"message":..,"detail":..}]}` (distribution-spec, "Error Codes").

use axum::response::{IntoResponse, Response};
use gantry_kernel::Problem;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::error::Error;

pub struct Failure {
    /// Boxed: answers pass through many functions, and most are no failures.
    error: Box<Error>,
    /// `WWW-Authenticate` of a 401.
    challenge: Option<String>,
    headers: Vec<(&'static str, String)>,
}

impl Failure {
    pub fn unauthenticated(challenge: String, detail: &str) -> Self {
        Self { error: Box::new(Error::Denied(Problem::unauthenticated(detail))), challenge: Some(challenge), headers: Vec::new() }
    }
}

impl Failure {
    /// With more headers.
    pub fn with(mut self, headers: Vec<(&'static str, String)>) -> Self {
        self.headers.extend(headers);
        self
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: Box::new(error.into()), challenge: None, headers: Vec::new() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, code, detail) = self.error.oci();
        let mut body = json!({ "code": code, "message": self.error.to_string() });
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            body["message"] = "internal error; the operator's log has the cause".into();
        }
        if !detail.is_null() {
            body["detail"] = detail;
        }
        let mut response = (status, json!({ "errors": [body] }).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(challenge) = self.challenge.and_then(|c| HeaderValue::try_from(c).ok()) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        // For the host's log line, and for audit.
        let problem = Problem::from(*self.error);
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            let seconds = problem.retry_after.map_or(2, |after| after.as_secs().max(1));
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(problem);
        response
    }
}
