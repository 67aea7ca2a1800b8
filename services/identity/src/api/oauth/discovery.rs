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
    let mut response = Json(document(&app.issuer, app.config.certificates_url.as_deref())).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

/// `door`: where clients come with their certificates; without one nobody can show any.
fn document(issuer: &str, door: Option<&str>) -> Value {
    let at = |path: &str| format!("{issuer}{path}");
    let methods: Vec<&str> = AUTH_METHODS.into_iter().filter(|method| door.is_some() || !method.ends_with("tls_client_auth")).collect();
    let with_credentials: Vec<&str> = methods.iter().copied().filter(|method| *method != "none").collect();
    let mut document = json!({
        "issuer": issuer,
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
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": PROOF_ALGORITHMS,
        "introspection_endpoint_auth_methods_supported": with_credentials,
        "introspection_endpoint_auth_signing_alg_values_supported": PROOF_ALGORITHMS,
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": PROOF_ALGORITHMS,
        "tls_client_certificate_bound_access_tokens": door.is_some(),
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
    if let Some(base) = door {
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
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_by_certificate_are_offered_where_there_is_a_door_for_certificates() {
        for (door, offered) in [(None, false), (Some("https://id.example:7444/"), true)] {
            let document = document("https://id.example", door);
            for list in ["token", "introspection", "revocation"] {
                let methods = document[format!("{list}_endpoint_auth_methods_supported")].as_array().unwrap();
                let by_certificate = methods.iter().filter(|method| method.as_str().unwrap().ends_with("tls_client_auth")).count();
                assert_eq!((by_certificate, methods.contains(&json!("private_key_jwt"))), (if offered { 2 } else { 0 }, true), "{list}: {methods:?}");
            }
            assert_eq!(document["tls_client_certificate_bound_access_tokens"], offered);
            assert_eq!(document["mtls_endpoint_aliases"]["token_endpoint"].as_str(), offered.then_some("https://id.example:7444/oauth2/token"));
        }
    }
}
