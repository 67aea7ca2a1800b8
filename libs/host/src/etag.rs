//! `ETag` and `If-Match`: the stream version, so that a change meant for one state never meets another.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use gantry_es_pg::Expect;
use gantry_kernel::Problem;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{Object, Required, Type};

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

/// So that an operation that honours it says so: `params(..., IfMatch)`.
impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let described = "The ETag of the state that the change is meant for, such as `\"3\"`: the answer is 412 if it is another one by now. Without it, or with `*`, any state will do.";
        let header = ParameterBuilder::new().name("If-Match").parameter_in(ParameterIn::Header).required(Required::False).description(Some(described));
        vec![header.schema(Some(Object::with_type(Type::String))).build()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_described_as_one_that_may_be_left_out() {
        let told = serde_json::to_value(IfMatch::into_params(|| None)).unwrap();
        let header = &told[0];
        let parts = ["name", "in", "required"].map(|part| header[part].clone());
        assert_eq!(parts, [serde_json::json!("If-Match"), serde_json::json!("header"), serde_json::json!(false)], "{told}");
        assert_eq!(header["schema"]["type"], "string");
    }
}
