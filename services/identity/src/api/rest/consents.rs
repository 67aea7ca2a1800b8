//! What the caller agreed to: applications that may have something, and people who may act for them.

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, Path};
use gantry_kernel::{OffsetDateTime, Problem};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use time::Duration;
use utoipa::ToSchema;

use crate::api::rest::{doer, oneself, person};
use crate::app::App;
use crate::app::context::Fact;
use crate::app::people::subject;
use crate::error::fault;
use crate::store::{consents, impersonations};

#[derive(Serialize, ToSchema)]
pub struct Consent {
    client: String,
    client_name: String,
    scopes: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    granted_at: OffsetDateTime,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Lend {
    /// 1 to 1440; 60 if not given.
    minutes: Option<i64>,
}

/// Connected applications.
#[utoipa::path(get, path = "/api/v1/me/consents", tag = "sessions", responses((status = 200, body = Page<Consent>)))]
pub async fn list(State(app): State<App>, caller: Caller) -> ApiResult<Json<Page<Consent>>> {
    let mut all = Vec::new();
    for row in consents::of_user(app.pool(), person(&caller)?).await.map_err(fault)? {
        let client_name = app.clients.name(&row.client_id).await?;
        all.push(Consent { client_name, scopes: row.scope.split(' ').map(str::to_owned).collect(), client: row.client_id, granted_at: row.granted_at });
    }
    Ok(Json(Page::all(all)))
}

/// Takes a consent back; the application's tokens end with it.
#[utoipa::path(delete, path = "/api/v1/me/consents/{client}", tag = "sessions", params(("client" = String, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<App>, caller: Caller, Path(client): Path<String>) -> ApiResult<StatusCode> {
    if !consents::revoke(app.pool(), doer(&caller)?, &client, app.now()).await.map_err(fault)? {
        return Err(Problem::not_found("consent", client));
    }
    let (object, from) = (format!("client:{client}"), caller.from.clone().unwrap_or_default());
    app.record(Fact { actor: &caller.subject, action: "consent.revoked", object: &object, result: "ok", reason: "", from: &from }).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets somebody (support staff) act for the caller for a while. Whatever they do carries both names.
#[utoipa::path(put, path = "/api/v1/me/impersonators/{user}", tag = "sessions", params(("user" = String, Path)), request_body = Lend, responses((status = 204)))]
pub async fn lend(State(app): State<App>, caller: Caller, Path(user): Path<String>, Json(body): Json<Lend>) -> ApiResult<StatusCode> {
    let me = oneself(&caller)?;
    let minutes = body.minutes.unwrap_or(60);
    if !(1..=1_440).contains(&minutes) {
        return Err(Problem::invalid("minutes", "must be 1 to 1440"));
    }
    let by = app.find_user(&user).await?.filter(|row| row.id != me.0).ok_or_else(|| Problem::not_found("user", &user))?;
    impersonations::allow(app.pool(), me.0, by.id, app.now() + Duration::minutes(minutes)).await.map_err(fault)?;
    let (object, from, reason) = (subject(by.id.into()), caller.from.clone().unwrap_or_default(), format!("{minutes} minutes"));
    app.record(Fact { actor: &caller.subject, action: "impersonation.allowed", object: &object, result: "ok", reason: &reason, from: &from }).await;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(delete, path = "/api/v1/me/impersonators/{user}", tag = "sessions", params(("user" = String, Path)), responses((status = 204)))]
pub async fn withdraw(State(app): State<App>, caller: Caller, Path(user): Path<String>) -> ApiResult<StatusCode> {
    let me = doer(&caller)?;
    let by = app.find_user(&user).await?.ok_or_else(|| Problem::not_found("user", &user))?;
    if !impersonations::withdraw(app.pool(), me.0, by.id).await.map_err(fault)? {
        return Err(Problem::not_found("consent", user));
    }
    let (object, from) = (subject(by.id.into()), caller.from.clone().unwrap_or_default());
    app.record(Fact { actor: &caller.subject, action: "impersonation.withdrawn", object: &object, result: "ok", reason: "", from: &from }).await;
    Ok(StatusCode::NO_CONTENT)
}
