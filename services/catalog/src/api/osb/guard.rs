//! Who may come in (basic authentication) and which versions are spoken.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};

use super::reply::OsbError;
use crate::App;

/// 2.13 brought `context`; everything up to the present is the same for what is used here.
const OLDEST_MINOR: u32 = 13;

pub async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if !signed_in(&app, request.headers()) {
        let refused = OsbError::new(StatusCode::UNAUTHORIZED, None, "user or password is wrong, or the broker's door is closed");
        return ([(header::WWW_AUTHENTICATE, "Basic realm=\"gantry\"")], refused).into_response();
    }
    if !speaks(request.headers()) {
        return OsbError::new(StatusCode::PRECONDITION_FAILED, None, format!("X-Broker-API-Version must be 2.{OLDEST_MINOR} or a later 2.x")).into_response();
    }
    next.run(request).await
}

fn signed_in(app: &App, headers: &HeaderMap) -> bool {
    let Some(expected) = &app.osb_credentials else { return false };
    let given = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.split_once(' '));
    let Some((scheme, encoded)) = given else { return false };
    let decoded = STANDARD.decode(encoded.trim()).unwrap_or_default();
    // Hashes of equal length, so that the time taken says nothing about how much of the password was right.
    scheme.eq_ignore_ascii_case("basic") && Sha256::digest(&decoded) == Sha256::digest(expected.expose())
}

fn speaks(headers: &HeaderMap) -> bool {
    let version = headers.get("x-broker-api-version").and_then(|v| v.to_str().ok()).and_then(|v| v.split_once('.'));
    version.is_some_and(|(major, minor)| major == "2" && minor.parse::<u32>().is_ok_and(|m| m >= OLDEST_MINOR))
}
