//! Lists, and contents in clear.

use gantry_auth::{Caller, SpaceRef};
use gantry_kernel::{Problem, Role};

use super::bodies::{ConfigBody, ConfigRevealedBody, ConfigVersionBody};
use super::{filling, using};
use crate::app::Scheduler;
use crate::app::deploy::database;
use crate::store::{self, Kept};

/// Who may read secrets in clear.
pub const REVEAL: &str = "apps.secrets-reveal";
/// Who may set configs and secrets; and read configs, which often hold more than their authors meant to show.
pub const WRITE: &str = "apps.configs-write";

/// # Errors
/// When the database refuses.
pub async fn list(s: &Scheduler, space: &SpaceRef, secret: Option<bool>) -> Result<Vec<ConfigBody>, Problem> {
    let newest = store::newest_versions(s.orm(), space.id).await.map_err(database)?;
    let mut uses = using::all(s, space).await?;
    let rows = store::all_kept(s.orm(), space.id).await.map_err(database)?;
    let body = |row: Kept| {
        let version = newest.iter().find(|v| v.config == row.id)?;
        Some(ConfigBody::of(&row, version, uses.remove(&row.id).unwrap_or_default()))
    };
    Ok(rows.into_iter().filter(|row| secret.is_none_or(|s| s == row.secret)).filter_map(body).collect())
}

/// # Errors
/// Not found, or the database refuses.
pub async fn get(s: &Scheduler, space: &SpaceRef, named: Named<'_>) -> Result<ConfigBody, Problem> {
    let row = find(s, space, named).await?;
    let version = store::kept_version(s.orm(), row.id, row.latest).await.map_err(database)?.ok_or_else(|| missing(named.0))?;
    let uses = using::all(s, space).await?.remove(&row.id).unwrap_or_default();
    Ok(ConfigBody::of(&row, &version, uses))
}

/// # Errors
/// Not found, or the database refuses.
pub async fn versions(s: &Scheduler, space: &SpaceRef, named: Named<'_>) -> Result<Vec<ConfigVersionBody>, Problem> {
    let row = find(s, space, named).await?;
    Ok(store::kept_versions(s.orm(), row.id).await.map_err(database)?.into_iter().map(ConfigVersionBody::from).collect())
}

/// Which version is to be shown, and why.
pub struct Reveal {
    pub name: String,
    pub secret: Option<bool>,
    /// The newest if none.
    pub version: Option<u32>,
    /// Needed for secrets.
    pub reason: String,
}

/// A version in clear, for those who may; written into the audit trail before anything is shown.
///
/// # Errors
/// A missing right, no reason, no such version, or keys that cannot be reached.
pub async fn reveal(s: &Scheduler, caller: &Caller, space: &SpaceRef, asked: Reveal) -> Result<ConfigRevealedBody, Problem> {
    // Who may do neither learns nothing of what there is.
    s.host.auth.require(caller, Role::Viewer, space.scope())?;
    let may_reveal = s.host.auth.permit(caller, REVEAL, space.scope());
    let may_write = s.host.auth.permit(caller, WRITE, space.scope());
    if let (Err(problem), Err(_)) = (&may_reveal, &may_write) {
        return Err(Problem::new(problem.kind, problem.code, problem.detail.clone()));
    }
    let row = find(s, space, (asked.name.as_str(), asked.secret)).await?;
    let reason = asked.reason.trim();
    if row.secret {
        may_reveal?;
        if reason.is_empty() {
            return Err(Problem::invalid("reason", "say why this secret is read: it stays in the audit trail"));
        }
    } else {
        may_write?;
    }
    if reason.chars().count() > 500 {
        return Err(Problem::invalid("reason", "a reason has at most 500 characters"));
    }
    let number = asked.version.unwrap_or(row.latest);
    let version = store::kept_version(s.orm(), row.id, number).await.map_err(database)?;
    let version = version.ok_or_else(|| Problem::not_found("version", format_args!("{number} of {}", asked.name)))?;
    let content = filling::open(s, &version).await.map_err(Problem::internal)?;
    let mut fact = s.host.fact(caller.subject.clone(), if row.secret { "secret.revealed" } else { "config.read" }, format!("config:{}", row.id), "ok");
    fact.org = Some(space.org().id);
    fact.reason = format!("version {number} of {} in {}: {reason}", row.name, space.path());
    fact.from = caller.from.clone().unwrap_or_default();
    s.host.audit(fact).await;
    Ok(ConfigRevealedBody { name: row.name, secret: row.secret, version: number, entries: content.entries.clone(), binary: content.binary.clone() })
}

/// A name, and whether the secret or the config is meant; that need not be said where one alone has the name.
pub type Named<'a> = (&'a str, Option<bool>);

/// # Errors
/// Not found, one of each kind, or the database refuses.
pub async fn find(s: &Scheduler, space: &SpaceRef, (name, secret): Named<'_>) -> Result<Kept, Problem> {
    let mut all = store::kept_named(s.orm(), space.id, name).await.map_err(database)?;
    all.retain(|row| secret.is_none_or(|secret| row.secret == secret));
    if all.len() > 1 {
        return Err(Problem::invalid(
            "secret",
            format!("the space has a config and a secret `{name}`: say which is meant, with `secret=true` or `secret=false`"),
        ));
    }
    all.pop().ok_or_else(|| missing(format!("{}/{name}", space.path())))
}

fn missing(name: impl std::fmt::Display) -> Problem {
    Problem::not_found("config or secret", name)
}
