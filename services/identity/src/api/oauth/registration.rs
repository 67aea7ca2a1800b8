//! Dynamic client registration (RFC 7591) and management (RFC 7592). Behind an initial access token that an administrator
//! made; what registers itself is a third party, so people are asked before it gets anything.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_contract::identity::ClientSettings;
use gantry_es_pg::Expect;
use gantry_kernel::{Kind, Problem};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::app::App;
use crate::app::client_registry::Made;
use crate::app::context::meta_of;
use crate::app::secrets::{fresh, kept};
use crate::app::signin::Origin;
use crate::domain::client::Present;
use crate::error::{OAuthError, fault};
use crate::store::registration_tokens as tokens;

const MAX_BODY: usize = 64 * 1024;

pub async fn register(State(app): State<App>, headers: HeaderMap, origin: Origin, body: Bytes) -> Result<Response, OAuthError> {
    let token = bearer(&headers).ok_or_else(no_credentials)?;
    let settings = settings(&metadata(&body)?, None)?;
    // Used even if the registration fails, so that it cannot be tried without end.
    let initial = tokens::spend(app.pool(), &kept(token), app.now()).await.map_err(fault)?.ok_or_else(no_token)?;
    let actor = initial.created_by.clone();
    let made = app.register_client(None, initial.org.map(Into::into), settings, true, meta_of(&actor, &origin.address)).await.map_err(unfit)?;
    let registration = fresh(&app.host.env, "grt_");
    tokens::put_registration(app.pool(), &made.client.id, &kept(&registration)).await.map_err(fault)?;
    Ok(answer(&app, StatusCode::CREATED, &made, Some(&registration)))
}

pub async fn show(State(app): State<App>, headers: HeaderMap, Path(id): Path<String>) -> Result<Response, OAuthError> {
    let (client, version) = mine(&app, &headers, &id).await?;
    Ok(answer(&app, StatusCode::OK, &Made { client: Box::new(client), version, secret: None }, bearer(&headers)))
}

pub async fn change(State(app): State<App>, headers: HeaderMap, origin: Origin, Path(id): Path<String>, body: Bytes) -> Result<Response, OAuthError> {
    let (client, _) = mine(&app, &headers, &id).await?;
    let metadata = metadata(&body)?;
    // RFC 7592 section 2.2.
    if metadata.get("client_id").and_then(Value::as_str) != Some(id.as_str()) {
        return Err(OAuthError::invalid_request("client_id is missing or another one"));
    }
    if let Some(sent) = metadata.get("client_secret").and_then(Value::as_str) {
        let hash = URL_SAFE_NO_PAD.encode(kept(sent));
        if !client.secrets.iter().any(|secret| secret.hash == hash) {
            return Err(OAuthError::invalid_request("client_secret is not the client's: it cannot be chosen"));
        }
    }
    let settings = settings(&metadata, Some(&client.settings))?;
    let needs_secret = crate::domain::client::uses_secret(&settings.token_endpoint_auth_method) && client.secrets.is_empty();
    let meta = meta_of(&format!("client:{id}"), &origin.address);
    let mut made = app.change_client(&id, client.org, settings, Expect::Any, meta.clone()).await.map_err(unfit)?;
    if needs_secret {
        made = app.add_client_secret(&id, client.org, None, meta).await?.0;
    }
    Ok(answer(&app, StatusCode::OK, &made, bearer(&headers)))
}

pub async fn delete(State(app): State<App>, headers: HeaderMap, origin: Origin, Path(id): Path<String>) -> Result<StatusCode, OAuthError> {
    let (client, _) = mine(&app, &headers, &id).await?;
    app.delete_client(&id, client.org, Expect::Any, meta_of(&format!("client:{id}"), &origin.address)).await?;
    tokens::drop_registration(app.pool(), &id).await.map_err(fault)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The client of a registration access token.
async fn mine(app: &App, headers: &HeaderMap, id: &str) -> Result<(Present, i64), OAuthError> {
    let token = bearer(headers).ok_or_else(no_credentials)?;
    if !tokens::registration_fits(app.pool(), id, &kept(token)).await.map_err(fault)? {
        return Err(no_token());
    }
    let row = crate::store::clients::get(app.pool(), id).await.map_err(fault)?.ok_or_else(no_token)?;
    Ok((Present { id: row.id, org: row.org.map(Into::into), settings: row.settings.0, secrets: row.secrets.0 }, row.version))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn no_token() -> OAuthError {
    let description = "send `Authorization: Bearer <token>`; an administrator makes initial ones (`gantry client registration-token`)";
    let challenge = Some("Bearer error=\"invalid_token\"");
    OAuthError { status: StatusCode::UNAUTHORIZED, challenge, ..OAuthError::new("invalid_token", description) }
}

/// To who shows nothing no error is named (RFC 6750 section 3.1).
fn no_credentials() -> OAuthError {
    OAuthError { challenge: Some("Bearer"), ..no_token() }
}

fn metadata(body: &[u8]) -> Result<Value, OAuthError> {
    if body.len() > MAX_BODY {
        return Err(OAuthError::invalid_request("the body is too large"));
    }
    let read: Value = serde_json::from_slice(body).map_err(|_| OAuthError::invalid_request("the body must be a JSON object"))?;
    if read.is_object() { Ok(read) } else { Err(OAuthError::invalid_request("the body must be a JSON object")) }
}

/// What of the sent metadata we understand; the rest is ignored (RFC 7591 section 2). What decides about trust (consent,
/// whether it is enabled) is not the client's to say.
fn settings(sent: &Value, before: Option<&ClientSettings>) -> Result<ClientSettings, OAuthError> {
    const KNOWN: [&str; 21] = [
        "client_name",
        "application_type",
        "redirect_uris",
        "post_logout_redirect_uris",
        "grant_types",
        "token_endpoint_auth_method",
        "jwks",
        "jwks_uri",
        "tls_client_auth_subject_dn",
        "tls_client_auth_san_dns",
        "tls_client_auth_san_uri",
        "backchannel_logout_uri",
        "backchannel_logout_session_required",
        "id_token_signed_response_alg",
        "require_pushed_authorization_requests",
        "dpop_bound_access_tokens",
        "tls_client_certificate_bound_access_tokens",
        "client_uri",
        "policy_uri",
        "tos_uri",
        "scope",
    ];
    let mut picked = serde_json::Map::new();
    for name in KNOWN {
        match sent.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(scope)) if name == "scope" => {
                let known = crate::domain::authorize::granted_scope(scope);
                let asked: Vec<&str> = known.split(' ').filter(|s| !s.is_empty() && *s != "api").collect();
                picked.insert("scopes".into(), json!(asked));
            }
            Some(value) => {
                picked.insert(name.to_owned(), value.clone());
            }
        }
    }
    if let Some(unknown) = sent.get("response_types").and_then(Value::as_array).and_then(|all| all.iter().find(|t| t.as_str() != Some("code"))) {
        return Err(OAuthError::new("invalid_client_metadata", format!("response_types: {unknown}: only code")));
    }
    if sent.get("subject_type").and_then(Value::as_str).is_some_and(|kind| kind != "public") {
        return Err(OAuthError::new("invalid_client_metadata", "subject_type: only public"));
    }
    let addresses = |uris: &Value| uris.as_array().is_some_and(|all| all.iter().all(Value::is_string));
    if picked.get("redirect_uris").is_some_and(|uris| !addresses(uris)) {
        return Err(OAuthError::new("invalid_redirect_uri", "redirect_uris: must be a list of addresses"));
    }
    let read: Result<ClientSettings, _> = serde_json::from_value(Value::Object(picked));
    let mut read = read.map_err(|error| OAuthError::new("invalid_client_metadata", error.to_string()))?;
    if read.client_name.is_empty() {
        read.client_name = before.map_or_else(|| "unnamed application".to_owned(), |b| b.client_name.clone());
    }
    read.consent_required = true;
    read.enabled = before.is_none_or(|b| b.enabled);
    read.pkce_optional = before.is_some_and(|b| b.pkce_optional);
    read.audience = before.and_then(|b| b.audience.clone());
    // Nor for how long what it gets is good.
    read.access_token_seconds = before.and_then(|b| b.access_token_seconds);
    read.refresh_idle_days = before.and_then(|b| b.refresh_idle_days);
    read.refresh_days = before.and_then(|b| b.refresh_days);
    Ok(read)
}

fn unfit(problem: Problem) -> OAuthError {
    if problem.kind != Kind::Invalid {
        return OAuthError::from(problem);
    }
    let code = if problem.faults.iter().any(|f| f.field == "redirect_uris") { "invalid_redirect_uri" } else { "invalid_client_metadata" };
    let description = problem.faults.iter().map(|f| format!("{}: {}", f.field, f.detail)).collect::<Vec<_>>().join("; ");
    OAuthError::new(code, if description.is_empty() { problem.detail } else { description })
}

/// RFC 7591 section 3.2.1. `registration`: the token that manages the client, also when it was shown to us (RFC 7592 section 3).
fn answer(app: &App, status: StatusCode, made: &Made, registration: Option<&str>) -> Response {
    let client = &made.client;
    let mut body = serde_json::to_value(&client.settings).unwrap_or_default();
    if let Some(map) = body.as_object_mut() {
        map.retain(|name, value| !value.is_null() && !matches!(name.as_str(), "scopes" | "enabled" | "consent_required" | "pkce_optional" | "audience"));
        map.insert("client_id".into(), json!(client.id));
        map.insert("scope".into(), json!(client.settings.scopes.join(" ")));
        let by_code = client.settings.grant_types.iter().any(|grant| grant == "authorization_code");
        map.insert("response_types".into(), if by_code { json!(["code"]) } else { json!([]) });
        map.insert("subject_type".into(), json!("public"));
        map.insert("registration_client_uri".into(), json!(format!("{}/oauth2/register/{}", app.issuer, client.id)));
        if let Some(secret) = &made.secret {
            map.insert("client_secret".into(), json!(secret));
            map.insert("client_secret_expires_at".into(), json!(0));
        }
        if let Some(token) = registration {
            map.insert("registration_access_token".into(), json!(token));
        }
    }
    (status, [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], axum::Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_administrator_set_is_not_the_clients_to_change() {
        let before = ClientSettings {
            access_token_seconds: Some(60),
            refresh_days: Some(1),
            refresh_idle_days: Some(1),
            audience: Some("shop".into()),
            ..ClientSettings::default()
        };
        let sent = json!({ "client_name": "Chat", "access_token_seconds": 86_400, "refresh_days": 365, "audience": "other", "enabled": false, "consent_required": false });
        let read = settings(&sent, Some(&before)).unwrap();
        assert_eq!((read.access_token_seconds, read.refresh_days, read.refresh_idle_days), (Some(60), Some(1), Some(1)));
        assert_eq!((read.audience.as_deref(), read.enabled, read.consent_required), (Some("shop"), true, true));
        let new = settings(&sent, None).unwrap();
        assert_eq!((new.access_token_seconds, new.refresh_days, new.audience), (None, None, None));
    }

    #[test]
    fn metadata_that_means_something_else_is_refused_by_name() {
        for bad in [json!({ "response_types": ["code token"] }), json!({ "subject_type": "pairwise" }), json!({ "grant_types": "authorization_code" })] {
            assert_eq!(settings(&bad, None).unwrap_err().error, "invalid_client_metadata", "{bad}");
        }
        assert_eq!(settings(&json!({ "redirect_uris": "https://shop.example/cb" }), None).unwrap_err().error, "invalid_redirect_uri");
        let all = settings(&json!({ "redirect_uris": ["https://shop.example/cb"], "response_types": ["code"], "logo_uri": "x", "scope": "openid api" }), None)
            .unwrap();
        assert_eq!((all.client_name.as_str(), all.scopes), ("unnamed application", vec!["openid".to_owned()]));
    }
}
