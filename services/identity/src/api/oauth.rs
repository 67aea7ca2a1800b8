//! The OAuth 2.0 and OpenID Connect endpoints. Errors here have the form of RFC 6749, not of RFC 9457.

pub mod authorize;
pub mod client_auth;
pub mod device;
pub mod discovery;
pub mod form;
pub mod introspect;
pub mod registry;
pub mod token;
pub mod userinfo;

use axum::Router;
use axum::routing::{get, post};

use crate::app::App;

pub fn router() -> Router<App> {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery::metadata))
        .route("/.well-known/oauth-authorization-server", get(discovery::metadata))
        .route("/oauth2/jwks", get(discovery::jwks))
        .route("/oauth2/authorize", get(authorize::by_query).post(authorize::by_form))
        .route("/oauth2/token", post(token::token))
        .route("/oauth2/device_authorization", post(device::start))
        .route("/oauth2/userinfo", get(userinfo::userinfo).post(userinfo::userinfo))
        .route("/oauth2/revoke", post(introspect::revoke))
        .route("/oauth2/introspect", post(introspect::introspect))
        .route("/oauth2/registry-token", get(registry::by_query).post(registry::by_form))
}
