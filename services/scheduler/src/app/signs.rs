//! Signs of an intrusion in the instances of an application or a space, also in those that have ended.

use gantry_auth::SpaceRef;
use gantry_kernel::{AppId, InstanceId, OffsetDateTime, Problem};
use serde::Serialize;

use super::change::find;
use super::context::Scheduler;
use super::deploy::database;
use crate::store;

pub use crate::store::SignFilter;

/// More of them say nothing new.
const MOST: u32 = 1_000;

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SignBody {
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The application's name.
    pub app: String,
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
    Ok(all.into_iter().map(|sign| body(row.name.clone(), sign)).collect())
}

/// Of all applications of the space, the newest first.
///
/// # Errors
/// When the database refuses.
pub async fn of_space(s: &Scheduler, space: &SpaceRef, wanted: &SignFilter) -> Result<Vec<SignBody>, Problem> {
    let all = store::space_signs(s.orm(), space.id, wanted, MOST).await.map_err(database)?;
    Ok(all.into_iter().map(|(app, sign)| body(app, sign)).collect())
}

fn body(app: String, sign: store::Sign) -> SignBody {
    SignBody {
        at: sign.at,
        app,
        instance: sign.instance,
        node: sign.node,
        container: sign.container,
        sign: sign.sign,
        detail: sign.detail,
        action: sign.action,
    }
}
