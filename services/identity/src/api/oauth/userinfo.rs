//! UserInfo (OpenID Connect Core 5.3).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

use crate::app::App;
use crate::error::OAuthError;

pub async fn userinfo(State(app): State<App>, headers: HeaderMap) -> Result<Json<Map<String, Value>>, Response> {
    let token = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let token = token.ok_or_else(|| refuse(StatusCode::UNAUTHORIZED, "Bearer"))?;
    let invalid = |_| refuse(StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\"");
    let claims = app.access_claims(token).await.map_err(invalid)?;
    if !claims.scope.split(' ').any(|s| s == "openid") {
        return Err(refuse(StatusCode::FORBIDDEN, "Bearer error=\"insufficient_scope\", scope=\"openid\""));
    }
    let user = claims.sub.strip_prefix("user:").and_then(|id| id.parse().ok());
    let user = user.ok_or_else(|| refuse(StatusCode::FORBIDDEN, "Bearer error=\"insufficient_scope\""))?;
    let person = app.active_person(user).await.map_err(invalid)?;
    app.profile_claims(&person, &claims.scope).await.map(Json).map_err(|problem| OAuthError::from(problem).into_response())
}

fn refuse(status: StatusCode, challenge: &'static str) -> Response {
    (status, [(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))]).into_response()
}
