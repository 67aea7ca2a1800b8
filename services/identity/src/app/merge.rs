//! Two accounts of one person become one: roles, organisations and teams move, then the other account is erased. Every
//! step may be repeated, so a merge that was cut short is finished by asking for it again.

use gantry_es::Meta;
use gantry_es_pg::Options;
use gantry_kernel::{Kind, OrgId, Problem, Scope};

use crate::app::App;
use crate::app::people::{Person, subject};
use crate::domain::binding::Subject;
use crate::domain::user::Command;
use crate::error::{fault, refused};
use crate::store::{directory, groups, user_search};

impl App {
    /// # Errors
    /// When both are the same, or `into` is not active.
    pub async fn merge_users(&self, into: &Person, from: &Person, meta: Meta) -> Result<(), Problem> {
        if into.id == from.id {
            return Err(Problem::invalid("from", "a user cannot be merged with itself"));
        }
        if into.suspended.is_some() {
            return Err(Problem::conflict("identity.user_suspended", "the account that stays is suspended: resume it first"));
        }
        let meta = Meta { command_id: None, ..meta };
        for (org, owned) in user_search::orgs_of(self.pool(), from.id.0).await.map_err(fault)? {
            let org = OrgId(org);
            if owned {
                self.change_owner(org, into.id, meta.clone()).await?;
            } else {
                self.add_member(org, into.id, meta.clone()).await?;
            }
        }
        for binding in directory::bindings_of(self.orm(), &subject(from.id)).await.map_err(fault)? {
            let scope: Scope = binding.scope.parse().map_err(fault)?;
            let role = binding.role.parse().map_err(|e: String| fault(e))?;
            let condition = binding.condition.as_deref().map(serde_json::from_str).transpose().map_err(fault)?;
            match self.grant_when(Subject::User(into.id), role, scope, condition, meta.clone()).await {
                Ok(_) => {}
                Err(problem) if problem.kind == Kind::Conflict => {}
                Err(problem) => return Err(problem),
            }
        }
        for (org, team) in groups::memberships_of(self.pool(), &subject(from.id)).await.map_err(fault)? {
            self.put_in_team(org.into(), team.into(), &subject(into.id), true, meta.clone()).await?;
        }
        self.move_links(from.id, into.id, &meta).await?;
        self.users.execute(into.id, Command::Absorb { from: from.id }, Options::from(meta.clone())).await.map_err(refused)?;
        self.erase_user(from, meta).await
    }

    /// The person has to choose a new password at the next sign-in, and every session ends.
    ///
    /// # Errors
    /// A reason that is too long.
    pub async fn require_password_reset(&self, person: &Person, reason: &str, meta: Meta) -> Result<(), Problem> {
        if reason.chars().count() > 500 {
            return Err(Problem::invalid("reason", "must have at most 500 characters"));
        }
        let command = Command::RequirePasswordReset { reason: reason.to_owned() };
        let executed = self.users.execute(person.id, command, Options::from(meta)).await.map_err(refused)?;
        self.end_sign_ins_by(person.id, None, "password reset required", executed.position).await
    }
}
