//! Whether the record of security facts is as it was written.

use axum::extract::State;
use gantry_auth::Caller;
use gantry_es_pg::Lease;
use gantry_host::{ApiResult, Json};
use gantry_kernel::{Problem, Role, Scope};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::fault;
use crate::store::facts;

#[derive(Serialize, ToSchema)]
pub struct RecordProof {
    records: i64,
    whole: bool,
    /// The first record that was changed, or whose predecessor is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_bad: Option<i64>,
}

/// Recomputes the hash chain over the record of security facts (sign-ins, tokens, refusals). Administrators of the platform only.
#[utoipa::path(get, path = "/api/v1/security-record/verify", tag = "audit", responses((status = 200, body = RecordProof)))]
pub async fn verify(State(app): State<App>, caller: Caller) -> ApiResult<Json<RecordProof>> {
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    // It reads all there is: one at a time.
    let lease = Lease::try_acquire(app.pool(), "security-record-proof").await.map_err(fault)?;
    let lease = lease.ok_or_else(|| Problem::conflict("identity.proof_running", "the record is being checked right now: try again in a moment"))?;
    let proved = facts::verify(app.pool()).await;
    lease.release().await;
    let (records, first_bad) = proved.map_err(fault)?;
    Ok(Json(RecordProof { records, whole: first_bad.is_none(), first_bad }))
}
