//! Start of the device flow (RFC 8628 section 3.1); the page is in `pages::device`.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;

use crate::api::oauth::client_auth::{Asking, client};
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::clients::Grant;
use crate::error::OAuthError;

pub async fn start(State(app): State<App>, asking: Asking, form: Form) -> Result<Response, OAuthError> {
    let form = form.once()?;
    let asker = client(&app, &asking, &form).await?;
    if !asker.may(Grant::DeviceCode) {
        return Err(OAuthError::new("unauthorized_client", "this client may not use the device flow"));
    }
    let started = app.start_device(&asker, form.get("scope").unwrap_or_default()).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(started)).into_response())
}
