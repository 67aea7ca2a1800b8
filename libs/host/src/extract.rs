//! Body, path and query, refused as problems that name the field.

use axum::body::Bytes;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Request};
use axum::response::{IntoResponse, Response};
use gantry_kernel::{Kind, Problem};
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A JSON body in either direction. Bodies should be `#[serde(deny_unknown_fields)]`.
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(&request) {
            return Err(Problem::invalid("Content-Type", "must be application/json"));
        }
        parse(&whole(request, state).await?)
    }
}

/// No body at all is `None`; anything else must be right.
impl<S: Send + Sync, T: DeserializeOwned> OptionalFromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        let json = is_json(&request);
        let body = whole(request, state).await?;
        match (json, body.is_empty()) {
            (_, true) => Ok(None),
            (true, false) => parse(&body).map(Some),
            (false, false) => Err(Problem::invalid("Content-Type", "must be application/json")),
        }
    }
}

fn is_json(request: &Request) -> bool {
    let named = request.headers().get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let form = named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    form == "application/json" || (form.starts_with("application/") && form.ends_with("+json"))
}

async fn whole<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|error| match error.status() {
        http::StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Kind::TooLarge, "request.too_large", "the body is larger than this endpoint takes"),
        _ => Problem::invalid("body", error.body_text()),
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<Json<T>, Problem> {
    if writes_null(body) {
        return Err(Problem::invalid("body", "a text holds the character U+0000, which nothing here can keep"));
    }
    match axum::Json::<T>::from_bytes(body) {
        Ok(axum::Json(value)) => Ok(Json(value)),
        Err(JsonRejection::JsonDataError(error)) => Err(Problem::invalid("body", cause(&error))),
        Err(JsonRejection::JsonSyntaxError(error)) => Err(Problem::invalid("body", format!("is not JSON: {}", cause(&error)))),
        Err(other) => Err(Problem::invalid("body", other.body_text())),
    }
}

/// Whether a JSON text has the escape of U+0000, which Postgres takes neither in text nor in JSON.
fn writes_null(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some(at) = rest.iter().position(|b| *b == b'\\') {
        if rest[at + 1..].starts_with(b"u0000") {
            return true;
        }
        // What is escaped may be a backslash itself.
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    false
}

/// serde says which field and what it expected; axum wraps that.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(next) = deepest.source() {
        deepest = next;
    }
    deepest.to_string()
}

/// Path parameters.
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => Err(Problem::invalid("path", error.body_text())),
            Err(other) => Err(Problem::invalid("path", other.body_text())),
        }
    }
}

/// Query parameters.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(Problem::invalid("query", "a value holds the character U+0000"));
        }
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(QueryRejection::FailedToDeserializeQueryString(error)) => Err(Problem::invalid("query", cause(&error))),
            Err(other) => Err(Problem::invalid("query", other.body_text())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_null_character_is_found_only_where_it_is_one() {
        for (json, expected) in [(r#"{"a":"x\u0000y"}"#, true), (r#"{"a":"\\u0000"}"#, false), (r#"{"a":"\\\u0000"}"#, true), (r#"{"a":"u0000\\"}"#, false)] {
            assert_eq!(writes_null(json.as_bytes()), expected, "{json}");
        }
        assert!(!writes_null(b"\\"));
    }
}
