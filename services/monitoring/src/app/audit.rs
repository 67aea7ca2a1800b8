//! Who sees which part of the audit trail and of the live events.

use gantry_auth::{Caller, Rights};
use gantry_kernel::{Problem, Result, Role, Scope, Uuid};

use crate::App;
use crate::store::audit::{self, Filter, Record, Sight};

/// Pages of an export.
const EXPORT_PAGE: i64 = 1_000;

impl App {
    /// The trail is for administrators: of the platform all of it, of an organisation its own.
    ///
    /// # Errors
    /// The caller administers nothing.
    pub fn audit_sight(&self, caller: &Caller) -> Result<Sight> {
        let sight = self.host.auth.read(|rights| sight(rights, &caller.subject, Role::Admin, false));
        if sight.nothing() { Err(Problem::forbidden("admin on an organisation or the platform")) } else { Ok(sight) }
    }

    /// Events are for everybody who may read the place they happened in.
    pub fn event_sight(&self, caller: &Caller) -> Sight {
        self.host.auth.read(|rights| sight(rights, &caller.subject, Role::Viewer, true))
    }

    /// # Errors
    /// When the database refuses.
    pub async fn audit(&self, sight: &Sight, filter: &Filter, before: Option<i64>, limit: i64) -> Result<Vec<Record>> {
        audit::search(&self.host.db().pool, sight, filter, before, limit).await.map_err(Problem::internal)
    }

    /// The next page of an export, and where the one after it begins.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn export(&self, sight: &Sight, filter: &Filter, before: Option<i64>) -> Result<(Vec<Record>, Option<i64>)> {
        let page = self.audit(sight, filter, before, EXPORT_PAGE).await?;
        let next = if page.len() as i64 == EXPORT_PAGE { page.last().map(|r| r.seq) } else { None };
        Ok((page, next))
    }
}

fn sight(rights: &Rights, subject: &str, role: Role, below: bool) -> Sight {
    let has = |scope: Scope| rights.role(subject, scope).is_some_and(|r| r >= role);
    if has(Scope::Platform) {
        return Sight { everything: true, ..Sight::default() };
    }
    let orgs: Vec<Uuid> = rights.visible_orgs(subject).into_iter().filter(|o| has(o.scope())).map(|o| o.id.0).collect();
    if !below {
        return Sight { orgs, ..Sight::default() };
    }
    Sight {
        everything: false,
        projects: rights.visible_projects(subject, None).into_iter().filter(|p| has(p.scope())).map(|p| p.id.0).collect(),
        spaces: rights.visible_spaces(subject, None).into_iter().filter(|s| has(s.scope())).map(|s| s.id.0).collect(),
        orgs,
    }
}
