//! The own account for programs: factors, recovery codes, connected applications, the own data, leaving for good.
//! What could take an account over wants a token of a fresh sign-in, with the second factor if there is one.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, Path, Query};
use gantry_kernel::{Problem, Uuid};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::rest::{doer, oneself, person};
use crate::app::App;
use crate::app::account::{ConnectedApp, Erased};
use crate::app::factors::Factor;
use crate::app::people::Person;

#[derive(Serialize, ToSchema)]
pub struct TotpOffer {
    /// For typing: base 32.
    secret: String,
    /// For a QR code.
    uri: String,
    /// Goes back with the first code, within 15 minutes.
    pending: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TotpProof {
    pending: String,
    /// What the authenticator shows now.
    code: String,
    /// A name for it.
    #[serde(default)]
    label: String,
}

#[derive(Serialize, ToSchema)]
pub struct RecoveryCodes {
    /// Shown this once; each works once. Empty when the codes from before stay valid.
    codes: Vec<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Leave {
    /// The own user name again.
    confirm: Option<String>,
}

pub(super) async fn proved(app: &App, caller: &Caller) -> ApiResult<Person> {
    let user = oneself(caller)?;
    app.prove(user, caller.session.as_deref()).await?;
    app.active_person(user).await
}

fn once<T: IntoResponse>(status: StatusCode, body: T) -> Response {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[utoipa::path(get, path = "/api/v1/me/factors", tag = "account", responses((status = 200, body = Page<Factor>)))]
pub async fn factors(State(app): State<App>, caller: Caller) -> ApiResult<Json<Page<Factor>>> {
    Ok(Json(Page::all(app.factors(person(&caller)?).await?)))
}

/// Begins adding an authenticator application. Nothing is stored until its first code comes back.
#[utoipa::path(post, path = "/api/v1/me/factors/totp", tag = "account", responses((status = 200, body = TotpOffer)))]
pub async fn offer_totp(State(app): State<App>, caller: Caller) -> ApiResult<Response> {
    let me = proved(&app, &caller).await?;
    let new = app.begin_totp(&me).await?;
    Ok(once(StatusCode::OK, Json(TotpOffer { secret: new.secret, uri: new.uri, pending: new.pending })))
}

/// Adds the authenticator. The first factor of a person comes with recovery codes.
#[utoipa::path(post, path = "/api/v1/me/factors", tag = "account", request_body = TotpProof, responses((status = 201, body = RecoveryCodes)))]
pub async fn add_totp(State(app): State<App>, caller: Caller, Json(body): Json<TotpProof>) -> ApiResult<Response> {
    let me = proved(&app, &caller).await?;
    let codes = app.confirm_totp(&me, &body.pending, &body.code, &body.label, caller.meta(None)).await;
    // Not a question of who calls.
    let codes = codes.map_err(|p| if p.code == "identity.wrong_code" { Problem::invalid("code", p.detail) } else { p })?;
    Ok(once(StatusCode::CREATED, Json(RecoveryCodes { codes })))
}

#[utoipa::path(delete, path = "/api/v1/me/factors/{id}", tag = "account", params(("id" = String, Path)), responses((status = 204)))]
pub async fn remove_factor(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<StatusCode> {
    let me = proved(&app, &caller).await?;
    app.remove_factor(me.id, id, caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes ten new recovery codes; the ones before are void.
#[utoipa::path(post, path = "/api/v1/me/recovery-codes", tag = "account", responses((status = 201, body = RecoveryCodes)))]
pub async fn recovery_codes(State(app): State<App>, caller: Caller) -> ApiResult<Response> {
    let me = proved(&app, &caller).await?;
    let codes = app.make_recovery_codes(me.id, caller.meta(None)).await?;
    Ok(once(StatusCode::CREATED, Json(RecoveryCodes { codes })))
}

/// Applications that hold tokens of the caller.
#[utoipa::path(get, path = "/api/v1/me/applications", tag = "account", responses((status = 200, body = Page<ConnectedApp>)))]
pub async fn applications(State(app): State<App>, caller: Caller) -> ApiResult<Json<Page<ConnectedApp>>> {
    Ok(Json(Page::all(app.connected_apps(person(&caller)?).await?)))
}

/// Ends every token that an application holds of the caller.
#[utoipa::path(delete, path = "/api/v1/me/applications/{client}", tag = "account", params(("client" = String, Path)), responses((status = 204)))]
pub async fn disconnect(State(app): State<App>, caller: Caller, Path(client): Path<String>) -> ApiResult<StatusCode> {
    app.disconnect(doer(&caller)?, &client, caller.from.as_deref().unwrap_or_default()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Everything that is kept of the caller, without secrets.
#[utoipa::path(get, path = "/api/v1/me/export", tag = "account", responses((status = 200, body = serde_json::Value)))]
pub async fn export(State(app): State<App>, caller: Caller) -> ApiResult<Response> {
    let me = proved(&app, &caller).await?;
    Ok(once(StatusCode::OK, Json(app.export(&me).await?)))
}

/// Erases the caller for ever, and says how many sealed values of the log became unreadable by it.
#[utoipa::path(delete, path = "/api/v1/me", tag = "account", params(Leave), responses((status = 200, body = Erased)))]
pub async fn leave(State(app): State<App>, caller: Caller, Query(confirm): Query<Leave>) -> ApiResult<Json<Erased>> {
    let me = proved(&app, &caller).await?;
    if confirm.confirm.as_deref() != Some(me.username.as_str()) {
        return Err(Problem::invalid("confirm", "must be your user name: this cannot be undone"));
    }
    Ok(Json(app.leave(&me, caller.meta(None)).await?))
}
