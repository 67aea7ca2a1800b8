//! Refuses addresses with a NUL in them before anything reads them: no name, id or search of ours has one, and the database cannot
//! hold it. Each door says so in the words of its own protocol.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use gantry_kernel::Problem;
use http::{HeaderMap, StatusCode, header};

use crate::api::{pages, scim};
use crate::error::OAuthError;

pub async fn layer(request: Request, next: Next) -> Response {
    let uri = request.uri();
    if uri.path().contains("%00") || uri.query().is_some_and(|q| q.contains("%00")) {
        return refused(uri.path(), request.headers());
    }
    next.run(request).await
}

fn refused(path: &str, headers: &HeaderMap) -> Response {
    const TEXT: &str = "must not have a NUL (%00) in it";
    if path.starts_with("/scim/") {
        return scim::refused("invalidValue", format!("the address {TEXT}"));
    }
    // Browsers say what they want to show; programs at the same addresses do not ask for pages.
    let wants_page = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|accept| accept.contains("text/html"));
    if wants_page && !path.starts_with("/api/") {
        return pages::message(pages::language(headers, None), StatusCode::BAD_REQUEST, "bad_request", &format!("the address {TEXT}"));
    }
    if path.starts_with("/oauth2/") {
        return OAuthError::invalid_request(format!("the address {TEXT}")).into_response();
    }
    Problem::invalid("address", TEXT).into_response()
}
