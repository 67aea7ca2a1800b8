//! Metadata (OpenID Connect Discovery, RFC 8414) and the key set. What is said here is what the endpoints do.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gantry_auth::dpop::PROOF_ALGORITHMS;
use gantry_kernel::Problem;
use http::{HeaderValue, header};
use serde_json::{Value, json};

use crate::app::App;
use crate::domain::assurance::NAMES;
use crate::domain::authorize::SCOPES;
use crate::domain::client_settings::{AUTH_METHODS, GRANTS, ID_TOKEN_ALGORITHMS};

pub async fn metadata(State(app): State<App>) -> Response {
    let mut response = Json(document(&app)).into_response();
    let headers = response.headers_mut();
    // Programs in browsers read it from anywhere; there is nothing in it that is not public.
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

fn document(app: &App) -> Value {
    let at = |path: &str| format!("{}{path}", app.issuer);
    let with_credentials: Vec<&str> = AUTH_METHODS.into_iter().filter(|m| *m != "none").collect();
    let mut document = json!({
        "issuer": app.issuer,
        "authorization_endpoint": at("/oauth2/authorize"),
        "token_endpoint": at("/oauth2/token"),
        "userinfo_endpoint": at("/oauth2/userinfo"),
        "jwks_uri": at("/oauth2/jwks"),
        "registration_endpoint": at("/oauth2/register"),
        "device_authorization_endpoint": at("/oauth2/device_authorization"),
        "pushed_authorization_request_endpoint": at("/oauth2/par"),
        "require_pushed_authorization_requests": false,
        "revocation_endpoint": at("/oauth2/revoke"),
        "introspection_endpoint": at("/oauth2/introspect"),
        "end_session_endpoint": at("/oauth2/logout"),
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
        "frontchannel_logout_supported": false,
        "scopes_supported": SCOPES,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "form_post"],
        "grant_types_supported": GRANTS,
        "subject_types_supported": ["public"],
        "acr_values_supported": NAMES.map(|(name, _)| name),
        "id_token_signing_alg_values_supported": ID_TOKEN_ALGORITHMS,
        "token_endpoint_auth_methods_supported": AUTH_METHODS,
        "token_endpoint_auth_signing_alg_values_supported": PROOF_ALGORITHMS,
        "introspection_endpoint_auth_methods_supported": with_credentials,
        "introspection_endpoint_auth_signing_alg_values_supported": PROOF_ALGORITHMS,
        "revocation_endpoint_auth_methods_supported": AUTH_METHODS,
        "revocation_endpoint_auth_signing_alg_values_supported": PROOF_ALGORITHMS,
        "tls_client_certificate_bound_access_tokens": true,
        "dpop_signing_alg_values_supported": PROOF_ALGORITHMS,
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "claim_types_supported": ["normal"],
        "claims_supported": [
            "sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "azp", "sid", "at_hash", "preferred_username", "name", "email",
            "email_verified", "groups", "roles",
        ],
        "claims_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "ui_locales_supported": ["en", "zh-CN"],
        "authorization_response_iss_parameter_supported": true,
    });
    // RFC 8705 section 5.
    if let Some(base) = &app.config.certificates_url {
        let at = |path: &str| format!("{}{path}", base.trim_end_matches('/'));
        document["mtls_endpoint_aliases"] = json!({
            "token_endpoint": at("/oauth2/token"),
            "revocation_endpoint": at("/oauth2/revoke"),
            "introspection_endpoint": at("/oauth2/introspect"),
            "device_authorization_endpoint": at("/oauth2/device_authorization"),
            "pushed_authorization_request_endpoint": at("/oauth2/par"),
            "userinfo_endpoint": at("/oauth2/userinfo"),
        });
    }
    document
}

pub async fn jwks(State(app): State<App>) -> Result<Response, Problem> {
    let mut response = Json(app.keys.jwks()?).into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    Ok(response)
}
