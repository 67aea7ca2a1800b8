//! UserInfo (OpenID Connect Core 5.3).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

use crate::api::oauth::client_auth::Asking;
use crate::app::App;
use crate::app::issue::family_of;
use crate::domain::claims::ClaimsRequest;
use crate::error::{OAuthError, fault};
use crate::store::refresh;

pub async fn userinfo(State(app): State<App>, asking: Asking) -> Result<Json<Map<String, Value>>, Response> {
    let header = asking.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.split_once(' '));
    let (dpop, token) = match header {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => (false, token.trim()),
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("dpop") => (true, token.trim()),
        _ => return Err(refuse(StatusCode::UNAUTHORIZED, "Bearer")),
    };
    let invalid = || refuse(StatusCode::UNAUTHORIZED, if dpop { "DPoP error=\"invalid_token\"" } else { "Bearer error=\"invalid_token\"" });
    let ours = |aud: &String| *aud == app.issuer || *aud == app.userinfo_audience();
    let claims = app.issued_claims(token).filter(|c| c.aud.iter().any(ours)).ok_or_else(invalid)?;
    match app.possesses(&claims, token, dpop, asking.shown(&asking.proofs())).await {
        Ok(true) => {}
        Ok(false) => return Err(invalid()),
        Err(error) => return Err(error.into_response()),
    }
    if !claims.scope.split(' ').any(|s| s == "openid") {
        return Err(refuse(StatusCode::FORBIDDEN, "Bearer error=\"insufficient_scope\", scope=\"openid\""));
    }
    let user = App::person_of(&claims).ok_or_else(|| refuse(StatusCode::FORBIDDEN, "Bearer error=\"insufficient_scope\""))?;
    let failed = |problem| OAuthError::from(problem).into_response();
    if !app.counts(&claims).await.map_err(failed)? {
        return Err(invalid());
    }
    let person = app.active(user).await.map_err(failed)?.ok_or_else(invalid)?;
    let besides = besides(&app, &claims.jti).await.map_err(|error| failed(fault(error)))?;
    let org = app.clients.get(&claims.client_id).await.map_err(failed)?.and_then(|c| c.org);
    app.profile_claims(&person, &claims.scope, besides.userinfo.iter().map(String::as_str), org).await.map(Json).map_err(failed)
}

/// Single claims that the client asked for beside the scopes.
async fn besides(app: &App, jti: &str) -> Result<ClaimsRequest, sqlx::Error> {
    let Some(family) = family_of(jti) else { return Ok(ClaimsRequest::default()) };
    let claims = refresh::claims_of(app.pool(), family).await?;
    Ok(claims.and_then(|c| serde_json::from_str(&c).ok()).unwrap_or_default())
}

fn refuse(status: StatusCode, challenge: &'static str) -> Response {
    (status, [(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))]).into_response()
}
