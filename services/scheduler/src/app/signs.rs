//! Signs of an intrusion in the instances of an application or a space, also in those that have ended; and who has looked into them.

use gantry_auth::{Caller, SpaceRef};
use gantry_contract::scheduler::InstanceEvent;
use gantry_es::{EventData, StreamId};
use gantry_es_pg::Append;
use gantry_kernel::{AppId, InstanceId, OffsetDateTime, Problem, Role};
use serde::Serialize;

use super::change::find;
use super::context::Scheduler;
use super::deploy::database;
use crate::store;

pub use crate::store::SignFilter;

/// More of them say nothing new.
const MOST: u32 = 1_000;
const LONGEST_REASON: usize = 500;

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SignBody {
    /// By which it is acknowledged.
    pub number: u64,
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
    /// Who has looked into it; nothing: it is open.
    pub acknowledged: Option<AcknowledgedBody>,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct AcknowledgedBody {
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// `user:<id>` or `robot:<id>`.
    pub by: String,
    pub reason: String,
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

/// It does not count as open any more; it stays in the list, with who, when and why.
///
/// # Errors
/// A missing right, no reason, no such sign, one that is acknowledged, or the log is away.
pub async fn acknowledge(s: &Scheduler, caller: &Caller, space: &SpaceRef, number: u64, reason: &str) -> Result<SignBody, Problem> {
    s.host.auth.require(caller, Role::Editor, space.scope())?;
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > LONGEST_REASON {
        return Err(Problem::invalid("reason", format!("say what it was, in 1 to {LONGEST_REASON} characters")));
    }
    let (_, found) = one(s, space, number).await?;
    if let Some(before) = found.acknowledged {
        return Err(Problem::conflict("scheduler.sign_acknowledged", format!("{} has acknowledged it already: {}", before.actor, before.reason)));
    }
    let event = InstanceEvent::SignAcknowledged {
        instance: found.instance,
        app: found.app,
        container: found.container,
        sign: found.sign,
        detail: found.detail,
        reason: reason.to_owned(),
    };
    let meta = caller.meta(Some(space.org().id));
    // The instance's other events say nothing about it: whatever has come meanwhile, this holds.
    let append = Append::one(StreamId::of::<InstanceEvent>(found.instance), None, vec![event.encode()], meta);
    let appended = s.host.log().append(append).await.map_err(|error| Problem::unavailable("the event log").with_source(error))?;
    s.host.settled(appended.position).await;
    let (app, sign) = one(s, space, number).await?;
    Ok(body(app, sign))
}

async fn one(s: &Scheduler, space: &SpaceRef, number: u64) -> Result<(String, store::Sign), Problem> {
    let missing = || Problem::not_found("sign", number);
    let key = i64::try_from(number).map_err(|_| missing())?;
    store::space_sign(s.orm(), space.id, key).await.map_err(database)?.ok_or_else(missing)
}

fn body(app: String, sign: store::Sign) -> SignBody {
    SignBody {
        number: u64::try_from(sign.number).unwrap_or_default(),
        at: sign.at,
        app,
        instance: sign.instance,
        node: sign.node,
        container: sign.container,
        sign: sign.sign,
        detail: sign.detail,
        action: sign.action,
        acknowledged: sign.acknowledged.map(|a| AcknowledgedBody { at: a.at, by: a.actor, reason: a.reason }),
    }
}
