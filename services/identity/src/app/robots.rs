//! Service accounts and their keys. A key stands wherever a password does (`docker login`, git), and `/oauth2/token`
//! exchanges it for a short access token.

use gantry_contract::identity::RepositoryGrant;
use gantry_es::Meta;
use gantry_es_pg::{Claim, Expect, Options};
use gantry_kernel::{FieldFault, Name, OrgId, Problem, Uuid};
use time::Duration;

use crate::app::App;
use crate::app::context::Fact;
use crate::app::orgs::name_of;
use crate::app::registry_token::pattern_of;
use crate::app::roles::check_description;
use crate::app::secrets::{fresh, kept};
use crate::app::signin::Origin;
use crate::domain::registry_scope::Pattern;
use crate::domain::robot::{Command, Present, State};
use crate::error::{fault, refused};
use crate::store::groups::{self, RobotRow};
use crate::store::robot_keys::{self, RobotKey};

/// What a key starts with.
pub const KEY_PREFIX: &str = "gsk_";
const MOST_KEYS: i64 = 2;
const MOST_DAYS: u32 = 366;
const MOST_GRANTS: usize = 100;

fn claim(org: OrgId, name: &Name) -> String {
    format!("{org} {name}")
}

impl App {
    /// Repositories of the organisation's own projects only.
    fn check_grants(&self, org: OrgId, grants: &[RepositoryGrant]) -> Result<(), Problem> {
        let mut faults = Vec::new();
        let mut fault = |index: usize, detail: String| faults.push(FieldFault { field: format!("repositories[{index}]"), detail });
        if grants.len() > MOST_GRANTS {
            fault(MOST_GRANTS, format!("at most {MOST_GRANTS}"));
        }
        for (index, grant) in grants.iter().enumerate().take(MOST_GRANTS) {
            let mut parts = grant.pattern.splitn(3, '/');
            let place = match (parts.next(), parts.next(), parts.next()) {
                (Some(of), Some(project), Some(rest)) if !rest.is_empty() && !rest.trim_end_matches('*').contains('*') => {
                    self.host.auth.project(of, project).ok()
                }
                _ => None,
            };
            if place.is_none_or(|p| p.org.id != org) {
                fault(index, format!("`{}`: must be <org>/<project>/<repository> of this organisation, or end with /*", grant.pattern));
            }
            if let Err(problem) = pattern_of(&grant.pattern, &grant.actions) {
                fault(index, problem.detail);
            }
            if grant.actions.is_empty() {
                fault(index, "actions: at least one of pull, push, delete".to_owned());
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(Problem::invalid_fields(faults)) }
    }

    /// # Errors
    /// When there is none in this organisation.
    pub async fn find_robot(&self, org: OrgId, name: &str) -> Result<RobotRow, Problem> {
        groups::robot(self.pool(), org, name).await.map_err(fault)?.ok_or_else(|| Problem::not_found("service account", name))
    }

    /// # Errors
    /// A taken name, or repositories of others.
    pub async fn create_robot(
        &self,
        org: OrgId,
        name: &str,
        description: &str,
        repositories: Vec<RepositoryGrant>,
        meta: Meta,
    ) -> Result<(Present, i64), Problem> {
        let name = name_of("name", name)?;
        check_description(description)?;
        self.check_grants(org, &repositories)?;
        let robot = self.host.env.uuid();
        let claims = vec![Claim::take("robot", claim(org, &name))];
        let command = Command::Create { robot, org, name, description: description.to_owned(), repositories };
        let executed = self.robots.execute(robot, command, Options { meta: meta.tenant(org), claims, ..Options::default() }).await.map_err(refused)?;
        self.settled(executed.position).await;
        present(executed.state).map(|p| (p, executed.version))
    }

    /// # Errors
    /// Repositories of others, or a stale version.
    pub async fn change_robot(
        &self,
        row: &RobotRow,
        description: Option<String>,
        repositories: Option<Vec<RepositoryGrant>>,
        expect: Expect,
        meta: Meta,
    ) -> Result<(Present, i64), Problem> {
        description.as_deref().map_or(Ok(()), check_description)?;
        repositories.as_deref().map_or(Ok(()), |g| self.check_grants(OrgId(row.org), g))?;
        self.command_robot(row, Command::Change { description, repositories }, expect, meta).await
    }

    /// # Errors
    /// A stale version.
    pub async fn suspend_robot(&self, row: &RobotRow, suspended: bool, reason: &str, expect: Expect, meta: Meta) -> Result<(Present, i64), Problem> {
        check_description(reason).map_err(|_| Problem::invalid("reason", "must have at most 500 characters"))?;
        let command = if suspended { Command::Suspend { reason: reason.to_owned() } } else { Command::Resume };
        self.command_robot(row, command, expect, meta).await
    }

    async fn command_robot(&self, row: &RobotRow, command: Command, expect: Expect, meta: Meta) -> Result<(Present, i64), Problem> {
        let options = Options { meta: meta.tenant(OrgId(row.org)), expect, ..Options::default() };
        let executed = self.robots.execute(row.id, command, options).await.map_err(refused)?;
        self.settled(executed.position).await;
        present(executed.state).map(|p| (p, executed.version))
    }

    /// Takes its rights and keys away for good.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn delete_robot(&self, row: &RobotRow, meta: Meta) -> Result<(), Problem> {
        self.revoke_all(&format!("robot:{}", row.id), &meta).await?;
        let name = name_of("name", &row.name)?;
        let claims = vec![Claim::release("robot", claim(OrgId(row.org), &name))];
        let options = Options { meta: Meta { command_id: None, ..meta.tenant(OrgId(row.org)) }, claims, ..Options::default() };
        let executed = self.robots.execute(row.id, Command::Delete, options).await.map_err(refused)?;
        self.settled(executed.position).await;
        for key in robot_keys::of_robot(self.pool(), row.id).await.map_err(fault)? {
            robot_keys::revoke(self.pool(), row.id, key.id, self.now()).await.map_err(fault)?;
        }
        Ok(())
    }

    /// The key's row and its text, which is never seen again.
    ///
    /// # Errors
    /// A life out of range, or two live keys already.
    pub async fn make_robot_key(&self, row: &RobotRow, name: &str, days: Option<u32>, actor: &str, origin: &Origin) -> Result<(RobotKey, String), Problem> {
        if days.is_some_and(|d| d == 0 || d > MOST_DAYS) {
            return Err(Problem::invalid("expires_in_days", format!("must be 1 to {MOST_DAYS}")));
        }
        if name.chars().count() > 100 || name.chars().any(char::is_control) {
            return Err(Problem::invalid("name", "must have at most 100 characters and no control characters"));
        }
        let text = fresh(&self.host.env, KEY_PREFIX);
        let now = self.now();
        let key = RobotKey {
            id: self.host.env.uuid(),
            robot: row.id,
            name: name.trim().to_owned(),
            hint: text.chars().take(KEY_PREFIX.len() + 4).collect(),
            created_by: actor.to_owned(),
            created_at: now,
            expires_at: now + Duration::days(days.unwrap_or(90).into()),
            last_used_at: None,
        };
        if !robot_keys::insert(self.pool(), &key, &kept(&text), MOST_KEYS).await.map_err(fault)? {
            return Err(Problem::conflict("identity.too_many_keys", "there are two live keys already: revoke the old one first"));
        }
        self.record_key(actor, "robot-key.created", row, key.id, origin).await;
        Ok((key, text))
    }

    /// # Errors
    /// When there is no such key of this account.
    pub async fn revoke_robot_key(&self, row: &RobotRow, id: Uuid, actor: &str, origin: &Origin) -> Result<(), Problem> {
        if !robot_keys::revoke(self.pool(), row.id, id, self.now()).await.map_err(fault)? {
            return Err(Problem::not_found("key", id));
        }
        self.record_key(actor, "robot-key.revoked", row, id, origin).await;
        Ok(())
    }

    async fn record_key(&self, actor: &str, action: &str, row: &RobotRow, key: Uuid, origin: &Origin) {
        let object = format!("robot:{}", row.id);
        let reason = format!("key {key}");
        self.record(Fact { actor, action, object: &object, result: "ok", reason: &reason, from: &origin.address }).await;
    }

    /// The living service account behind a key.
    ///
    /// # Errors
    /// Unauthenticated for an unknown, expired or revoked key, and for a suspended account.
    pub async fn verify_robot_key(&self, text: &str, origin: &Origin) -> Result<(RobotRow, Uuid), Problem> {
        let refused = || Problem::unauthenticated("this key is not known, has expired, or was revoked");
        let key = robot_keys::find(self.pool(), &kept(text), self.now()).await.map_err(fault)?;
        let row = match &key {
            Some(key) => groups::robot_by_id(self.pool(), key.robot).await.map_err(fault)?,
            None => None,
        };
        match (row, key) {
            (Some(row), Some(key)) if row.suspended_reason.is_none() => Ok((row, key.id)),
            (row, _) => {
                let object = row.as_ref().map_or_else(|| "robot-key".to_owned(), |r| format!("robot:{}", r.id));
                let reason = if row.is_some() { "suspended" } else { "unknown key" };
                let fact = Fact { actor: "anonymous", action: "token.refused", object: &object, result: "denied", reason, from: &origin.address };
                self.record(fact).await;
                Err(refused())
            }
        }
    }

    /// What the registry may be asked for without a role.
    pub fn robot_patterns(row: &RobotRow) -> Vec<Pattern> {
        row.grants().iter().filter_map(|g| pattern_of(&g.pattern, &g.actions).ok()).collect()
    }
}

fn present(state: State) -> Result<Present, Problem> {
    match state {
        State::Present(present) => Ok(present),
        State::Absent | State::Deleted => Err(Problem::not_found("service account", "")),
    }
}
