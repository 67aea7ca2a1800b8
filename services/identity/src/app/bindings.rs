//! Role bindings. Each (subject, role, scope) exists once: claimed in the log. Nobody gives more than they have.

use gantry_auth::{Caller, conditions};
use gantry_contract::identity::{BindingEvent, Condition, RepositoryGrant, RoleRef};
use gantry_es::{EventData, Meta};
use gantry_es_pg::{Claim, Options, StreamWrite};
use gantry_kernel::{BindingId, FieldFault, OrgId, Problem, Role, RoleId, Scope, TeamId, UserId};

use crate::app::App;
use crate::app::registry_token::pattern_of;
use crate::domain::binding::{Command, State, Subject};
use crate::error::{fault, refused};
use crate::store::{directory, groups};

fn claim_name(subject: &str, role: RoleRef, scope: Scope) -> String {
    format!("{subject} {role} {scope}")
}

/// # Errors
/// Every part that cannot be kept.
pub fn check_condition(condition: &Condition) -> Result<(), Problem> {
    let faults: Vec<_> = conditions::faults(condition).into_iter().map(|(field, detail)| FieldFault { field, detail }).collect();
    if faults.is_empty() { Ok(()) } else { Err(Problem::invalid_fields(faults)) }
}

impl App {
    /// # Errors
    /// When the subject has the role already at the scope, or the person is not there.
    pub async fn grant(&self, subject: Subject, role: Role, scope: Scope, meta: Meta) -> Result<BindingId, Problem> {
        self.grant_when(subject, role.into(), scope, None, meta).await
    }

    /// The same for any role, and perhaps only under a condition.
    ///
    /// # Errors
    /// As [`App::grant`], and when the condition cannot be kept.
    pub async fn grant_when(&self, subject: Subject, role: RoleRef, scope: Scope, condition: Option<Condition>, meta: Meta) -> Result<BindingId, Problem> {
        if let Some(condition) = &condition {
            check_condition(condition)?;
        }
        self.check_subject(subject, scope).await?;
        let binding = BindingId(self.host.env.uuid());
        let claims = vec![Claim::take("binding", claim_name(&subject.to_string(), role, scope))];
        let meta = Meta { tenant: self.tenant(scope), ..meta };
        let command = Command::Grant { binding, subject, role, scope, condition };
        let executed = self.bindings.execute(binding, command, Options { meta, claims, ..Options::default() }).await.map_err(refused)?;
        self.settled(executed.position).await;
        // A repeated command answers with the binding it made the first time.
        Ok(if let State::Granted { binding, .. } = executed.state { binding } else { binding })
    }

    /// The subject is there, and may have rights at the scope: a team or service account only in its own organisation.
    async fn check_subject(&self, subject: Subject, scope: Scope) -> Result<(), Problem> {
        let missing = |what: &str| Problem::invalid("subject", format!("there is no such {what}"));
        let (owner, what) = match subject {
            Subject::User(user) => {
                let found = directory::user(self.orm(), user.0).await.map_err(fault)?;
                return found.map(|_| ()).ok_or_else(|| missing("user"));
            }
            Subject::Team(team) => {
                let found = self.host.auth.read(|rights| rights.team(team).map(|t| t.org));
                (Some(found.ok_or_else(|| missing("team"))?), "team")
            }
            // Robots of configured clients are no service accounts: they belong to the platform.
            Subject::Robot(robot) => (groups::robot_by_id(self.pool(), robot).await.map_err(fault)?.map(|r| OrgId(r.org)), "service account"),
        };
        match (owner, self.tenant(scope)) {
            (Some(owner), Some(tenant)) if owner != tenant => Err(missing(what)),
            _ => Ok(()),
        }
    }

    /// Refuses to pass on what the caller does not have.
    ///
    /// # Errors
    /// Forbidden, with the permission that is missing.
    pub fn refuse_more_than_own(&self, caller: &Caller, role: RoleRef, scope: Scope) -> Result<(), Problem> {
        let context = caller.context();
        self.host
            .auth
            .read(|rights| rights.covers(&caller.subject, role, scope, Some(&context)))
            .map_err(|missing| Problem::forbidden(format_args!("{} on {}: nobody gives more than they have", missing.name, self.host.auth.describe(scope))))
    }

    /// Whoever lets somebody act as `subject` (a key, a seat in a team) passes on all that it has.
    ///
    /// # Errors
    /// Forbidden, with the first permission that is missing.
    pub fn refuse_subject_beyond(&self, caller: &Caller, subject: &str) -> Result<(), Problem> {
        let grants = self.host.auth.read(|rights| rights.grants_reaching(subject));
        grants.into_iter().try_for_each(|(role, scope)| self.refuse_more_than_own(caller, role, scope))
    }

    /// The same for the roles of a team and of those above it.
    ///
    /// # Errors
    /// Forbidden, with the first permission that is missing.
    pub fn refuse_team_beyond(&self, caller: &Caller, team: TeamId) -> Result<(), Problem> {
        let grants = self.host.auth.read(|rights| rights.grants_of_team(team));
        grants.into_iter().try_for_each(|(role, scope)| self.refuse_more_than_own(caller, role, scope))
    }

    /// Whoever speaks for an organisation alone (its provisioning, its upstream) puts nobody into a team that has rights beyond it:
    /// no administrator of an organisation could. Teams have roles in their own organisation and at the platform only.
    ///
    /// # Errors
    /// Forbidden when the team, or one above it, has a role at the platform.
    pub fn refuse_team_beyond_org(&self, team: TeamId) -> Result<(), Problem> {
        let grants = self.host.auth.read(|rights| rights.grants_of_team(team));
        if grants.iter().any(|(_, scope)| matches!(scope, Scope::Platform)) {
            return Err(Problem::forbidden("administrator of the platform: the team, or one above it, has a role there, so people are put into it by hand"));
        }
        Ok(())
    }

    /// The same for repositories of the registry.
    ///
    /// # Errors
    /// Forbidden, with the first permission that is missing.
    pub fn refuse_repositories_beyond(&self, caller: &Caller, grants: &[RepositoryGrant]) -> Result<(), Problem> {
        for grant in grants {
            let mut parts = grant.pattern.splitn(3, '/');
            // What is no repository of a project is refused with a better text later.
            let (Some(org), Some(project)) = (parts.next(), parts.next()) else { continue };
            let Ok(place) = self.host.auth.project(org, project) else { continue };
            for action in pattern_of(&grant.pattern, &grant.actions)?.actions {
                self.host.auth.permit(caller, action.permission(), place.scope())?;
            }
        }
        Ok(())
    }

    /// A role as bodies name it: `viewer`, the name of a custom role, or `role:<id>`.
    ///
    /// # Errors
    /// When there is none, or it is another organisation's.
    pub async fn find_role(&self, text: &str, scope: Scope) -> Result<RoleRef, Problem> {
        let org = self.tenant(scope);
        let row = match text.parse::<RoleRef>() {
            Ok(RoleRef::BuiltIn(role)) => return Ok(role.into()),
            Ok(RoleRef::Custom(id)) => groups::role(self.pool(), id).await.map_err(fault)?,
            Err(_) => groups::role_named(self.pool(), org, text).await.map_err(fault)?,
        };
        let row = row.filter(|r| r.org.is_none_or(|owner| Some(OrgId(owner)) == org));
        let missing =
            || Problem::invalid("role", format!("`{text}` is no role here: viewer, editor, admin, or a custom role of the organisation or the platform"));
        row.map(|r| RoleRef::Custom(RoleId(r.id))).ok_or_else(missing)
    }

    /// A subject as bodies name it: `ada`, `user:<id or name>`, `team:<id or name>`, `robot:<id or name>`.
    ///
    /// # Errors
    /// When there is none.
    pub async fn find_subject(&self, text: &str, org: Option<OrgId>) -> Result<Subject, Problem> {
        if let Ok(subject) = text.parse::<Subject>() {
            return Ok(subject);
        }
        let (kind, name) = text.split_once(':').unwrap_or(("user", text));
        let found = match (kind, org) {
            ("user", _) => self.find_user(name).await?.map(|row| Subject::User(UserId(row.id))),
            ("team", Some(org)) => groups::team(self.pool(), org, name).await.map_err(fault)?.map(|row| Subject::Team(TeamId(row.id))),
            ("robot", Some(org)) => groups::robot(self.pool(), org, name).await.map_err(fault)?.map(|row| Subject::Robot(row.id)),
            ("team" | "robot", None) => return Err(Problem::invalid("subject", "teams and service accounts are of an organisation: name it, or use the id")),
            _ => return Err(Problem::invalid("subject", "must be a user name, `user:<id>`, `team:<name or id>` or `robot:<name or id>`")),
        };
        found.ok_or_else(|| Problem::invalid("subject", format!("there is no such {kind}")))
    }

    /// # Errors
    /// When there is no such binding.
    pub async fn revoke(&self, binding: BindingId, meta: Meta) -> Result<(), Problem> {
        let loaded = self.bindings.load(binding).await.map_err(refused)?;
        let State::Granted { subject, role, scope, .. } = loaded.state else { return Err(Problem::not_found("binding", binding)) };
        let claims = vec![Claim::release("binding", claim_name(&subject, role, scope))];
        let meta = Meta { tenant: self.tenant(scope), command_id: None, ..meta };
        let executed = self.bindings.execute(binding, Command::Revoke, Options { meta, claims, ..Options::default() }).await.map_err(refused)?;
        self.settled(executed.position).await;
        Ok(())
    }

    /// Takes every role of a subject away.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn revoke_all(&self, subject: &str, meta: &Meta) -> Result<(), Problem> {
        for binding in directory::bindings_of(self.orm(), subject).await.map_err(fault)? {
            self.revoke(binding.id.into(), meta.clone()).await?;
        }
        Ok(())
    }

    /// A binding that is granted in the same transaction as something else.
    pub(crate) fn binding_write(&self, subject: Subject, role: Role, scope: Scope) -> (StreamWrite, Claim) {
        let binding = BindingId(self.host.env.uuid());
        let subject = subject.to_string();
        let claim = Claim::take("binding", claim_name(&subject, role.into(), scope));
        let event = BindingEvent::Granted { binding, subject, role: role.into(), scope, condition: None };
        let stream = gantry_es::StreamId::of::<BindingEvent>(binding);
        (StreamWrite { stream, expected: Some(0), events: vec![event.encode()] }, claim)
    }

    /// The organisation a scope belongs to.
    pub fn tenant(&self, scope: Scope) -> Option<OrgId> {
        self.host.auth.read(|rights| match scope {
            Scope::Platform => None,
            Scope::Org(id) => Some(id),
            Scope::Project(id) => rights.project_ref(id).map(|p| p.org.id),
            Scope::Space(id) => rights.space_ref(id).map(|s| s.org().id),
        })
    }
}

impl App {
    /// # Errors
    /// When `user` is the only administrator of the platform: nobody could let anybody in again.
    pub async fn refuse_last_admin(&self, user: gantry_kernel::UserId) -> Result<(), Problem> {
        let all = directory::bindings_at(self.orm(), vec![Scope::Platform.to_string()], None, 1_000).await.map_err(fault)?;
        let admins: std::collections::BTreeSet<_> = all.into_iter().filter(|b| b.role == Role::Admin.as_str()).map(|b| b.subject).collect();
        let subject = crate::app::people::subject(user);
        if admins.len() == 1 && admins.contains(&subject) {
            return Err(Problem::conflict("identity.last_admin", "this is the only administrator of the platform: appoint another one first"));
        }
        Ok(())
    }
}
