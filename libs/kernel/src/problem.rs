//! The one error type that crosses a border, as RFC 9457 `application/problem+json` and as a gRPC status.
//!
//! Two texts: `detail` is for the user; the source chain is for the log and never leaves the process.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

pub type Result<T, E = Problem> = std::result::Result<T, E>;

/// What went wrong, as the user may know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Invalid,
    Unauthenticated,
    Forbidden,
    /// Also "you may not know whether it exists".
    NotFound,
    /// The present state forbids it.
    Conflict,
    /// `If-Match` failed, or somebody else was faster.
    Stale,
    TooLarge,
    QuotaExceeded,
    TooMany,
    Unavailable,
    Internal,
}

impl Kind {
    pub fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Stale => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::QuotaExceeded => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub fn grpc(self) -> tonic::Code {
        match self {
            Self::Invalid => tonic::Code::InvalidArgument,
            Self::Unauthenticated => tonic::Code::Unauthenticated,
            Self::Forbidden => tonic::Code::PermissionDenied,
            Self::NotFound => tonic::Code::NotFound,
            Self::Conflict => tonic::Code::FailedPrecondition,
            Self::Stale => tonic::Code::Aborted,
            Self::TooLarge => tonic::Code::OutOfRange,
            Self::QuotaExceeded | Self::TooMany => tonic::Code::ResourceExhausted,
            Self::Unavailable => tonic::Code::Unavailable,
            Self::Internal => tonic::Code::Internal,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Invalid => "The request is not valid",
            Self::Unauthenticated => "Sign in first",
            Self::Forbidden => "A right is missing",
            Self::NotFound => "Not found",
            Self::Conflict => "The present state forbids this",
            Self::Stale => "It has changed meanwhile",
            Self::TooLarge => "Too large",
            Self::QuotaExceeded => "A quota is exceeded",
            Self::TooMany => "Too many requests",
            Self::Unavailable => "Not available right now",
            Self::Internal => "Internal error",
        }
    }
}

/// One faulty field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldFault {
    /// Where, as a JSON path without `$`: `workloads[0].replicas`.
    pub field: String,
    /// What is allowed.
    pub detail: String,
}

/// An error with everything the user may see. Cheap to clone.
#[derive(Clone)]
pub struct Problem {
    pub kind: Kind,
    /// Stable, listed in `docs/errors.md`: `<service>.<snake_case>`.
    pub code: &'static str,
    pub detail: String,
    pub faults: Vec<FieldFault>,
    pub retry_after: Option<Duration>,
    challenge: Option<&'static str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Problem {
    pub fn new(kind: Kind, code: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, code, detail: detail.into(), faults: Vec::new(), retry_after: None, challenge: None, source: None }
    }

    /// A field of the request is not acceptable.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        let fault = FieldFault { field: field.into(), detail: detail.into() };
        let mut problem = Self::new(Kind::Invalid, "request.invalid", format!("{}: {}", fault.field, fault.detail));
        problem.faults.push(fault);
        problem
    }

    /// Several fields at once; `faults` must not be empty.
    pub fn invalid_fields(faults: Vec<FieldFault>) -> Self {
        let detail = faults.iter().map(|f| format!("{}: {}", f.field, f.detail)).collect::<Vec<_>>().join("; ");
        Self { faults, ..Self::new(Kind::Invalid, "request.invalid", detail) }
    }

    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(Kind::Unauthenticated, "request.unauthenticated", detail)
    }

    /// `right` is what the caller lacks, e.g. "editor on project acme/shop".
    pub fn forbidden(right: impl fmt::Display) -> Self {
        Self::new(Kind::Forbidden, "request.forbidden", format!("this needs the right: {right}"))
    }

    pub fn not_found(what: &str, name: impl fmt::Display) -> Self {
        Self::new(Kind::NotFound, "request.not_found", format!("there is no {what} `{name}`, or you may not see it"))
    }

    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, code, detail)
    }

    pub fn unavailable(what: impl fmt::Display) -> Self {
        let mut problem = Self::new(Kind::Unavailable, "request.unavailable", format!("{what} is not available right now; try again"));
        problem.retry_after = Some(Duration::from_secs(2));
        problem
    }

    /// The cause goes to the log only.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Internal, "request.internal", "the operator's log has the cause").with_source(source)
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// What `WWW-Authenticate` says, where that is more than `Bearer`.
    #[must_use]
    pub fn challenge(mut self, challenge: &'static str) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// The whole chain, for the log.
    pub fn chain(&self) -> String {
        let mut text = format!("{}: {}", self.code, self.detail);
        let mut next: Option<&(dyn Error + 'static)> = self.source.as_deref().map(|e| e as &(dyn Error + 'static));
        while let Some(error) = next {
            text.push_str(": ");
            text.push_str(&error.to_string());
            next = error.source();
        }
        text
    }

    /// The body of RFC 9457 section 3.
    pub fn body(&self) -> serde_json::Value {
        let mut body = serde_json::json!({
            "type": format!("/docs/errors#{}", self.code),
            "title": self.kind.title(),
            "status": self.kind.status().as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if !self.faults.is_empty() {
            body["errors"] = serde_json::json!(self.faults);
        }
        body
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl Error for Problem {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn Error + 'static))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), self.body().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if let Some(challenge) = self.challenge.or((self.kind == Kind::Unauthenticated).then_some("Bearer")) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        // The host logs it once with the request's fields, and fills in the trace id.
        response.extensions_mut().insert(self);
        response
    }
}

/// gRPC metadata that carries [`Problem::code`].
const CODE_KEY: &str = "gantry-code";

impl From<Problem> for tonic::Status {
    fn from(problem: Problem) -> Self {
        let mut status = tonic::Status::new(problem.kind.grpc(), problem.detail.clone());
        if let Ok(code) = problem.code.parse() {
            status.metadata_mut().insert(CODE_KEY, code);
        }
        status.set_source(Arc::new(problem));
        status
    }
}

impl From<tonic::Status> for Problem {
    /// The answer of another service, as seen by the user of this one: a refusal keeps its text, a fault does not.
    fn from(status: tonic::Status) -> Self {
        let detail = status.message().to_owned();
        let quota = status.metadata().get(CODE_KEY).is_some_and(|c| c.as_bytes().starts_with(b"billing."));
        let known = |kind, code| Self::new(kind, code, detail.clone());
        match status.code() {
            tonic::Code::InvalidArgument => known(Kind::Invalid, "request.invalid"),
            tonic::Code::Unauthenticated => known(Kind::Unauthenticated, "request.unauthenticated"),
            tonic::Code::PermissionDenied => known(Kind::Forbidden, "request.forbidden"),
            tonic::Code::NotFound => known(Kind::NotFound, "request.not_found"),
            tonic::Code::FailedPrecondition | tonic::Code::AlreadyExists => known(Kind::Conflict, "request.conflict"),
            tonic::Code::Aborted => known(Kind::Stale, "request.stale"),
            tonic::Code::OutOfRange => known(Kind::TooLarge, "request.too_large"),
            tonic::Code::ResourceExhausted if quota => known(Kind::QuotaExceeded, "billing.quota_exceeded"),
            tonic::Code::ResourceExhausted => known(Kind::TooMany, "request.too_many"),
            tonic::Code::Unavailable | tonic::Code::DeadlineExceeded | tonic::Code::Cancelled => {
                Self::unavailable("a part of the platform").with_source(status)
            }
            tonic::Code::Ok | tonic::Code::Unknown | tonic::Code::Unimplemented | tonic::Code::Internal | tonic::Code::DataLoss => Self::internal(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_error_shows_its_cause_to_the_log_only() {
        let problem = Problem::internal(std::io::Error::other("password=hunter2"));
        assert!(problem.chain().contains("hunter2"));
        assert!(!problem.body().to_string().contains("hunter2"));
        assert!(!tonic::Status::from(problem).message().contains("hunter2"));
    }

    #[test]
    fn a_challenge_says_what_is_wrong_where_that_is_known() {
        let told = |problem: Problem| problem.into_response().headers().get(header::WWW_AUTHENTICATE).map(|v| v.to_str().unwrap_or_default().to_owned());
        assert_eq!(told(Problem::unauthenticated("no token")).as_deref(), Some("Bearer"));
        assert_eq!(told(Problem::forbidden("x").challenge("Bearer error=\"insufficient_scope\"")).as_deref(), Some("Bearer error=\"insufficient_scope\""));
        assert_eq!(told(Problem::forbidden("x")), None);
    }

    #[test]
    fn a_field_fault_names_the_field() {
        let body = Problem::invalid("replicas", "must be 0 to 1000").body();
        assert_eq!(body["status"], 400);
        assert_eq!(body["errors"][0]["field"], "replicas");
    }

    #[test]
    fn a_quota_refusal_keeps_its_text_across_grpc() {
        let refused = Problem::new(Kind::QuotaExceeded, "billing.quota_exceeded", "cpu: limit 2, used 1, asked 2");
        let seen = Problem::from(tonic::Status::from(refused));
        assert_eq!((seen.kind, seen.detail.as_str()), (Kind::QuotaExceeded, "cpu: limit 2, used 1, asked 2"));
    }
}
