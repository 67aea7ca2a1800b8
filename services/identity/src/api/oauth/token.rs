//! The token endpoint.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};

use crate::api::oauth::client_auth::{Asking, client};
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::clients::Grant;
use crate::app::code::CodeShown;
use crate::app::exchange::Exchange;
use crate::app::issue::Tokens;
use crate::app::signin::Origin;
use crate::error::OAuthError;

pub async fn token(State(app): State<App>, asking: Asking, origin: Origin, form: Form) -> Result<Response, OAuthError> {
    let form = form.once()?;
    let asker = client(&app, &asking, &form).await?;
    let grant = form.need("grant_type")?;
    let grant = Grant::parse(grant).ok_or_else(|| OAuthError::new("unsupported_grant_type", "this grant is not offered"))?;
    if !asker.may(grant) {
        return Err(OAuthError::new("unauthorized_client", "this client may not use this grant"));
    }
    let bound = app.binding(&asker, asking.shown(&asking.proofs())).await?;
    let scope = form.get("scope");
    let tokens = match grant {
        Grant::AuthorizationCode => {
            let verifier = if asker.pkce_optional() { form.get("code_verifier") } else { Some(form.need("code_verifier")?) };
            let shown = CodeShown { code: form.need("code")?, redirect_uri: form.need("redirect_uri")?, verifier };
            app.exchange_code(&asker, shown, bound, &origin).await?
        }
        Grant::RefreshToken => app.refresh(&asker, form.need("refresh_token")?, scope, bound, &origin).await?,
        Grant::DeviceCode => app.poll_device(&asker, form.need("device_code")?, bound, &origin).await?,
        Grant::ClientCredentials => app.client_credentials(&asker, scope, bound, &origin).await?,
        Grant::TokenExchange => {
            let asked = Exchange {
                token: form.need("subject_token")?,
                token_type: form.need("subject_token_type")?,
                requested_subject: form.get("requested_subject"),
                requested_type: form.get("requested_token_type"),
                scope,
                targets: [form.get("audience"), form.get("resource")],
                actor: form.get("actor_token"),
            };
            app.exchange_token(&asker, asked, bound, &origin).await?
        }
    };
    Ok(answer(&tokens))
}

fn answer(tokens: &Tokens) -> Response {
    let mut response = axum::Json(tokens).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
