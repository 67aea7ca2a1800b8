//! The token endpoint.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};

use crate::api::oauth::client_auth::client;
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::clients::Grant;
use crate::app::issue::Tokens;
use crate::app::signin::Origin;
use crate::error::OAuthError;

pub async fn token(State(app): State<App>, headers: HeaderMap, origin: Origin, form: Form) -> Result<Response, OAuthError> {
    let form = form.once()?;
    let asker = client(&app, &headers, &form)?;
    let grant = form.need("grant_type")?;
    let grant = Grant::parse(grant).ok_or_else(|| OAuthError::new("unsupported_grant_type", "this grant is not offered"))?;
    if !asker.may(grant) {
        return Err(OAuthError::new("unauthorized_client", "this client may not use this grant"));
    }
    let tokens = match grant {
        Grant::AuthorizationCode => {
            let (code, to, verifier) = (form.need("code")?, form.need("redirect_uri")?, form.need("code_verifier")?);
            app.exchange_code(asker, code, to, verifier, &origin).await?
        }
        Grant::RefreshToken => app.refresh(asker, form.need("refresh_token")?, form.get("scope"), &origin).await?,
        Grant::DeviceCode => app.poll_device(asker, form.need("device_code")?, &origin).await?,
        Grant::ClientCredentials => app.client_credentials(asker, &origin).await?,
        Grant::TokenExchange => app.exchange_token(asker, form.need("subject_token")?, form.need("subject_token_type")?, &origin).await?,
    };
    Ok(answer(&tokens))
}

fn answer(tokens: &Tokens) -> Response {
    let mut response = axum::Json(tokens).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
