//! Body, path and query, refused as problems that name the field.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
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
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(body)) => Ok(Self(body)),
            Err(JsonRejection::JsonDataError(error)) => Err(Problem::invalid("body", cause(&error))),
            Err(JsonRejection::JsonSyntaxError(error)) => Err(Problem::invalid("body", format!("is not JSON: {}", cause(&error)))),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(Problem::invalid("Content-Type", "must be application/json")),
            Err(JsonRejection::BytesRejection(error)) if error.status() == http::StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Problem::new(Kind::TooLarge, "request.too_large", "the body is larger than this endpoint takes"))
            }
            Err(other) => Err(Problem::invalid("body", other.body_text())),
        }
    }
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
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(QueryRejection::FailedToDeserializeQueryString(error)) => Err(Problem::invalid("query", cause(&error))),
            Err(other) => Err(Problem::invalid("query", other.body_text())),
        }
    }
}
