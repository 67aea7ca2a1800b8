//! The OAuth 2.0 and OpenID Connect endpoints. Errors here have the form of RFC 6749, not of RFC 9457.

pub mod authorize;
pub mod client_auth;
pub mod device;
pub mod discovery;
pub mod form;
pub mod introspect;
pub mod par;
pub mod registration;
pub mod registry;
pub mod token;
pub mod userinfo;

use axum::Router;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderValue, header};

use crate::app::App;

pub fn router() -> Router<App> {
    Router::new()
        .route("/oauth2/authorize", get(authorize::by_query).post(authorize::by_form))
        .route("/oauth2/register", post(registration::register))
        .route("/oauth2/register/{client}", get(registration::show).put(registration::change).delete(registration::delete))
        .route("/oauth2/introspect", post(introspect::introspect))
        .route("/oauth2/registry-token", get(registry::by_query).post(registry::by_form))
        .merge(called_by_scripts())
}

/// What applications that run in a browser call from their own pages. No cookie is read here, so any page may.
fn called_by_scripts() -> Router<App> {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery::metadata).options(nothing))
        .route("/.well-known/oauth-authorization-server", get(discovery::metadata).options(nothing))
        .route("/oauth2/jwks", get(discovery::jwks).options(nothing))
        .route("/oauth2/par", post(par::push).options(nothing))
        .route("/oauth2/device_authorization", post(device::start).options(nothing))
        .route("/oauth2/token", post(token::token).options(nothing))
        .route("/oauth2/userinfo", get(userinfo::userinfo).post(userinfo::userinfo).options(nothing))
        .route("/oauth2/revoke", post(introspect::revoke).options(nothing))
        .layer(axum::middleware::from_fn(open_to_pages))
}

/// What a browser asks before it lets a page call is answered by [`open_to_pages`]. Without a route of its own it would be a method that is not
/// allowed, which the host answers by itself.
async fn nothing() -> http::StatusCode {
    http::StatusCode::NO_CONTENT
}

async fn open_to_pages(request: Request, next: Next) -> Response {
    let asked = request.method() == http::Method::OPTIONS;
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("dpop-nonce, www-authenticate"));
    if asked {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type, dpop"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}
