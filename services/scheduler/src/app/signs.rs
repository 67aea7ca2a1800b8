//! Signs of an intrusion in an application's instances, also in those that have ended.

use gantry_auth::SpaceRef;
use gantry_kernel::{AppId, InstanceId, OffsetDateTime, Problem};
use serde::Serialize;

use super::change::find;
use super::context::Scheduler;
use super::deploy::database;
use crate::store;

/// More of them say nothing new.
const MOST: u32 = 1_000;

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SignBody {
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    #[schema(value_type = String, format = Uuid)]
    pub instance: InstanceId,
    pub node: String,
    /// `main`, or a further container's name.
    pub container: String,
    /// program | privilege | connection
    pub sign: String,
    pub detail: String,
    /// What followed: report | restart | stop | quarantine
    pub action: String,
}

/// The newest first.
///
/// # Errors
/// No such application, or the database refuses.
pub async fn list(s: &Scheduler, space: &SpaceRef, app: &str) -> Result<Vec<SignBody>, Problem> {
    let row = find(s, space, app).await?;
    let all = store::signs(s.orm(), space.org().id, AppId(row.id), MOST).await.map_err(database)?;
    let body = |sign: store::Sign| SignBody {
        at: sign.at,
        instance: sign.instance,
        node: sign.node,
        container: sign.container,
        sign: sign.sign,
        detail: sign.detail,
        action: sign.action,
    };
    Ok(all.into_iter().map(body).collect())
}
