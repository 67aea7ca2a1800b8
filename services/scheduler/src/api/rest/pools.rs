//! Pools of public addresses, for operators.

use axum::extract::State;
use axum::http::StatusCode;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, Path};
use gantry_kernel::{Name, Problem};
use serde_json::{Map, Value};

use super::placement::object;
use crate::app::Scheduler;
use crate::app::pools::{self, PoolBody, PoolSettings};

/// The pools that the caller may use; operators see all.
#[utoipa::path(get, path = "/api/v1/address-pools", tag = "nodes", responses((status = 200, body = Page<PoolBody>)))]
pub async fn list(State(s): State<Scheduler>, caller: Caller) -> ApiResult<Json<Page<PoolBody>>> {
    Ok(Json(Page::all(pools::list(&s, &caller).await?)))
}

/// Makes a pool, or sets it as a whole. Addresses that services have must stay in it.
#[utoipa::path(put, path = "/api/v1/address-pools/{pool}", tag = "nodes", params(("pool" = String, Path)), request_body = PoolSettings, responses((status = 200, body = PoolBody)))]
pub async fn set(State(s): State<Scheduler>, caller: Caller, Path(pool): Path<String>, Json(body): Json<Map<String, Value>>) -> ApiResult<Json<PoolBody>> {
    let settings: PoolSettings = object(body)?;
    let name = Name::parse(&pool).map_err(|e| Problem::invalid("pool", format!("a name {e}")))?;
    Ok(Json(pools::set(&s, &caller, &name, settings).await?))
}

/// Removes a pool of which no address is in use.
#[utoipa::path(delete, path = "/api/v1/address-pools/{pool}", tag = "nodes", params(("pool" = String, Path)), responses((status = 204)))]
pub async fn delete(State(s): State<Scheduler>, caller: Caller, Path(pool): Path<String>) -> ApiResult<StatusCode> {
    pools::delete(&s, &caller, &pool).await?;
    Ok(StatusCode::NO_CONTENT)
}
