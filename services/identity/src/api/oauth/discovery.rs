//! Metadata (OpenID Connect Discovery, RFC 8414) and the key set.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gantry_kernel::Problem;
use http::header;
use serde_json::{Value, json};

use crate::app::App;
use crate::app::clients::{DEVICE_CODE, TOKEN_EXCHANGE};
use crate::domain::authorize::SCOPES;

pub async fn metadata(State(app): State<App>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", app.issuer);
    Json(json!({
        "issuer": app.issuer,
        "authorization_endpoint": at("/oauth2/authorize"),
        "token_endpoint": at("/oauth2/token"),
        "userinfo_endpoint": at("/oauth2/userinfo"),
        "jwks_uri": at("/oauth2/jwks"),
        "device_authorization_endpoint": at("/oauth2/device_authorization"),
        "revocation_endpoint": at("/oauth2/revoke"),
        "introspection_endpoint": at("/oauth2/introspect"),
        "end_session_endpoint": at("/oauth2/logout"),
        "scopes_supported": SCOPES,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials", DEVICE_CODE, TOKEN_EXCHANGE],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "revocation_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "amr", "azp", "sid", "at_hash", "preferred_username", "name", "email", "email_verified", "groups"],
        "ui_locales_supported": ["en", "zh-CN"],
        "authorization_response_iss_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "claims_parameter_supported": false,
    }))
}

pub async fn jwks(State(app): State<App>) -> Result<Response, Problem> {
    Ok(([(header::CACHE_CONTROL, "public, max-age=300")], Json(app.keys.jwks()?)).into_response())
}
