//! `ETag` and `If-Match`: the stream version, so that a change meant for one state never meets another.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use gantry_es_pg::Expect;
use gantry_kernel::Problem;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};

/// `"7"` for version 7 (RFC 9110 section 8.8.3).
pub fn etag(version: i64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).expect("digits and quotes are a header value")
}

/// 200 with the version.
pub fn with_etag<T: IntoResponse>(version: i64, body: T) -> Response {
    ([(header::ETAG, etag(version))], body).into_response()
}

/// 201 with address and version.
pub fn created<T: IntoResponse>(location: &str, version: i64, body: T) -> Response {
    let location = HeaderValue::try_from(location).unwrap_or_else(|_| HeaderValue::from_static("/"));
    (StatusCode::CREATED, [(header::ETAG, etag(version)), (header::LOCATION, location)], body).into_response()
}

/// The caller's `If-Match`, if any.
#[derive(Clone, Copy, Debug, Default)]
pub struct IfMatch(pub Expect);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(Expect::Any)) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(Expect::Any));
        }
        let version = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).and_then(|t| t.parse().ok());
        version.map(|v| Self(Expect::Version(v))).ok_or_else(|| Problem::invalid("If-Match", "must be the ETag of an earlier answer, such as \"3\""))
    }
}
