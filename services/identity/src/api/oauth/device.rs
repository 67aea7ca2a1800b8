//! Start of the device flow (RFC 8628 section 3.1); the page is in `pages::device`.

use axum::Json;
use axum::extract::State;

use crate::api::oauth::client_auth::{Asking, client};
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::clients::Grant;
use crate::app::devices::Started;
use crate::error::OAuthError;

pub async fn start(State(app): State<App>, asking: Asking, form: Form) -> Result<Json<Started>, OAuthError> {
    let form = form.once()?;
    let asker = client(&app, &asking, &form).await?;
    if !asker.may(Grant::DeviceCode) {
        return Err(OAuthError::new("unauthorized_client", "this client may not use the device flow"));
    }
    Ok(Json(app.start_device(&asker, form.get("scope").unwrap_or_default()).await?))
}
