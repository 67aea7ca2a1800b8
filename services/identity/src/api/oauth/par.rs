//! Pushed authorization requests (RFC 9126): the client sends the request itself, authenticated; the browser carries only
//! a reference that nobody can change.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gantry_kernel::Problem;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use time::Duration;

use crate::api::oauth::client_auth::{Asking, client};
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::secrets::{fresh, kept as hashed};
use crate::domain::authorize::{Fault, read};
use crate::error::{OAuthError, fault};
use crate::store::pushed;

pub const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";
/// Long enough for a person to sign in, and less than the ten minutes that the FAPI 2.0 security profile (5.3.2.2) allows.
const LIFE: Duration = Duration::minutes(9);
/// What says who the client is; it is not part of the request.
const CREDENTIALS: [&str; 3] = ["client_secret", "client_assertion", "client_assertion_type"];

pub async fn push(State(app): State<App>, asking: Asking, form: Form) -> Result<Response, OAuthError> {
    let form = form.once()?;
    let asker = client(&app, &asking, &form).await?;
    if form.get("request_uri").is_some() {
        return Err(OAuthError::invalid_request("request_uri cannot be pushed"));
    }
    let mut parameters: Vec<(String, String)> = form.0.into_iter().filter(|(n, _)| !CREDENTIALS.contains(&n.as_str())).collect();
    if !parameters.iter().any(|(n, _)| n == "client_id") {
        parameters.push(("client_id".into(), asker.id.clone()));
    }
    // A proof here binds the code like `dpop_jkt` does (RFC 9449 section 10.1).
    let proofs = asking.proofs();
    if let Some(jkt) = app.proved(asking.shown(&proofs), None).await? {
        if parameters.iter().any(|(n, v)| n == "dpop_jkt" && *v != jkt) {
            return Err(OAuthError::new("invalid_dpop_proof", "dpop_jkt is of another key"));
        }
        parameters.retain(|(n, _)| n != "dpop_jkt");
        parameters.push(("dpop_jkt".into(), jkt));
    }
    read(&parameters, Some(&*asker), true).map_err(|wrong| match wrong {
        Fault::Page(why) => OAuthError::invalid_request(why),
        Fault::Redirect { error, description, .. } => OAuthError::new(error, description),
    })?;
    let reference = format!("{PREFIX}{}", fresh(&app.host.env, ""));
    pushed::insert(app.pool(), &hashed(&reference), &asker.id, &parameters, app.now() + LIFE).await.map_err(fault)?;
    let body = json!({ "request_uri": reference, "expires_in": LIFE.whole_seconds() });
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(body)).into_response())
}

type Kept = (Vec<(String, String)>, Vec<u8>);

/// The parameters that `client` pushed, and what they are kept under.
pub async fn kept(app: &App, reference: &str, client: &str) -> Result<Option<Kept>, Problem> {
    let hash = hashed(reference);
    let found = pushed::get(app.pool(), &hash, client, app.now()).await.map_err(fault)?;
    Ok(found.map(|parameters| (parameters, hash)))
}

pub async fn take(app: &App, hash: &[u8]) -> Result<bool, Problem> {
    pushed::take(app.pool(), hash).await.map_err(fault)
}
