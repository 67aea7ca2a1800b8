//! UserInfo (OpenID Connect Core 5.3). The token comes in the header, or in a form (RFC 6750 section 2.2); never in the address.

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use gantry_auth::dpop::PROOF_ALGORITHMS;
use http::{HeaderValue, Method, StatusCode, header};

use crate::api::oauth::client_auth::Asking;
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::issue::family_of;
use crate::domain::claims::ClaimsRequest;
use crate::error::{OAuthError, fault};
use crate::store::refresh;

pub async fn userinfo(State(app): State<App>, asking: Asking, request: Request) -> Result<Response, Response> {
    let header = asking.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.split_once(' '));
    let form = in_form(request).await.map_err(IntoResponse::into_response)?;
    let (dpop, token) = match (header, form.as_ref().and_then(|f| f.get("access_token"))) {
        (Some(_), Some(_)) => return Err(refuse(StatusCode::BAD_REQUEST, false, "error=\"invalid_request\"")),
        (None, Some(token)) => (false, token),
        (Some((scheme, token)), None) if scheme.eq_ignore_ascii_case("bearer") => (false, token.trim()),
        (Some((scheme, token)), None) if scheme.eq_ignore_ascii_case("dpop") => (true, token.trim()),
        _ => return Err(refuse(StatusCode::UNAUTHORIZED, false, "")),
    };
    let invalid = || refuse(StatusCode::UNAUTHORIZED, dpop, "error=\"invalid_token\"");
    let ours = |aud: &String| *aud == app.issuer || *aud == app.userinfo_audience();
    let claims = app.issued_claims(token).filter(|c| c.aud.iter().any(ours)).ok_or_else(invalid)?;
    match app.possesses(&claims, token, dpop, asking.shown(&asking.proofs())).await {
        Ok(true) => {}
        Ok(false) => return Err(invalid()),
        Err(error) if error.error == "invalid_dpop_proof" => return Err(refuse(StatusCode::UNAUTHORIZED, true, "error=\"invalid_dpop_proof\"")),
        Err(error) => return Err(error.into_response()),
    }
    let insufficient = || refuse(StatusCode::FORBIDDEN, dpop, "error=\"insufficient_scope\", scope=\"openid\"");
    if !claims.scope.split(' ').any(|s| s == "openid") {
        return Err(insufficient());
    }
    let user = App::person_of(&claims).ok_or_else(insufficient)?;
    let failed = |problem| OAuthError::from(problem).into_response();
    if !app.counts(&claims).await.map_err(failed)? {
        return Err(invalid());
    }
    let person = app.active(user).await.map_err(failed)?.ok_or_else(invalid)?;
    let besides = besides(&app, &claims.jti).await.map_err(|error| failed(fault(error)))?;
    let org = app.clients.get(&claims.client_id).await.map_err(failed)?.and_then(|c| c.org);
    let told = app.profile_claims(&person, &claims.scope, besides.userinfo.iter().map(String::as_str), org).await.map_err(failed)?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(told)).into_response())
}

/// The form that a POST may be.
async fn in_form(request: Request) -> Result<Option<Form>, OAuthError> {
    let content = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if request.method() != Method::POST || !content.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
        return Ok(None);
    }
    Form::from_request(request, &()).await?.once().map(Some)
}

/// Single claims that the client asked for beside the scopes.
async fn besides(app: &App, jti: &str) -> Result<ClaimsRequest, sqlx::Error> {
    let Some(family) = family_of(jti) else { return Ok(ClaimsRequest::default()) };
    let claims = refresh::claims_of(app.pool(), family).await?;
    Ok(claims.and_then(|c| serde_json::from_str(&c).ok()).unwrap_or_default())
}

/// `more`: what the challenge says besides the scheme (RFC 6750 section 3, RFC 9449 section 7.1).
fn refuse(status: StatusCode, dpop: bool, more: &str) -> Response {
    let algorithms = PROOF_ALGORITHMS.join(" ");
    let challenge = match (dpop, more) {
        (false, "") => "Bearer".to_owned(),
        (false, more) => format!("Bearer {more}"),
        (true, more) => format!("DPoP {more}, algs=\"{algorithms}\""),
    };
    let challenge = HeaderValue::try_from(challenge).unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
    (status, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
}
