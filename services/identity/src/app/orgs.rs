//! Organisations with their members, projects and spaces.

use gantry_es::Meta;
use gantry_es_pg::{Claim, Executed, Expect, Options};
use gantry_kernel::{FieldFault, Name, OrgId, Problem, ProjectId, Role, Scope, SpaceId, UserId};

use crate::app::App;
use crate::app::people::subject;
use crate::domain::binding::Subject;
use crate::domain::org::{Command, Present, State};
use crate::error::{fault, refused};
use crate::store::{directory, groups, person_certificates};

/// # Errors
/// When the text is no name; `field` says where it stood.
pub fn name_of(field: &str, text: &str) -> Result<Name, Problem> {
    Name::parse(text).map_err(|error| Problem::invalid_fields(vec![FieldFault { field: field.into(), detail: error.to_string() }]))
}

pub(crate) fn display_name(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > 200 || text.chars().any(char::is_control) {
        return Err(Problem::invalid("display_name", "must have 1 to 200 characters and no control characters"));
    }
    Ok(text.to_owned())
}

impl App {
    /// Creates an organisation; its owner becomes its administrator in the same transaction.
    ///
    /// # Errors
    /// A taken or malformed name.
    pub async fn create_org(&self, name: &str, shown: Option<&str>, owner: UserId, meta: Meta) -> Result<(Present, i64), Problem> {
        let name = name_of("name", name)?;
        let display_name = display_name(shown.unwrap_or(name.as_str()))?;
        let org = OrgId(self.host.env.uuid());
        let (write, claim) = self.binding_write(Subject::User(owner), Role::Admin, Scope::Org(org));
        let options = Options { meta: meta.tenant(org), claims: vec![Claim::take("org", name.as_str()), claim], also: vec![write], ..Options::default() };
        let executed = self.orgs.execute(org, Command::Create { org, name, display_name, owner }, options).await.map_err(refused)?;
        self.answered(executed).await
    }

    /// # Errors
    /// A stale version.
    pub async fn rename_org(&self, org: OrgId, shown: &str, expect: Expect, meta: Meta) -> Result<(Present, i64), Problem> {
        let display_name = display_name(shown)?;
        self.change_org(org, Command::Rename { display_name }, expect, meta).await
    }

    /// Deletes an organisation with all that is in it; `confirm` repeats its name.
    ///
    /// # Errors
    /// When the name does not fit, or a stale version.
    pub async fn delete_org(&self, org: OrgId, name: &Name, confirm: Option<&str>, expect: Expect, meta: Meta) -> Result<(), Problem> {
        if confirm != Some(name.as_str()) {
            let projects = directory::projects(self.orm(), org, None, 500).await.map_err(fault)?.len();
            return Err(Problem::invalid(
                "confirm",
                format!("deleting `{name}` takes {projects} projects with all they hold along: repeat its name as ?confirm={name}"),
            ));
        }
        // The names of the authorities it trusted go with it.
        let trusted = person_certificates::authorities(self.pool(), org.0).await.map_err(fault)?;
        let mut claims = vec![Claim::release("org", name.as_str())];
        claims.extend(trusted.iter().map(|a| Claim::release("authority", format!("{org}/{}", a.name))));
        let options = Options { meta: meta.tenant(org), expect, claims, ..Options::default() };
        let executed = self.orgs.execute(org, Command::Delete, options).await.map_err(refused)?;
        self.settled(executed.position).await;
        if let Err(problem) = self.remove_upstreams_of(org).await {
            // The organisation is gone; the timer of the upstreams does it.
            tracing::warn!(error = problem.chain(), org.id = %org, "the upstreams of a deleted organisation are still there");
        }
        Ok(())
    }

    /// Makes somebody a member with a role of their own at the organisation, replacing an earlier one.
    ///
    /// # Errors
    /// When the owner would lose the administrator's role.
    pub async fn put_member(&self, org: OrgId, user: UserId, role: Role, meta: Meta) -> Result<(), Problem> {
        let (state, _) = self.change_org(org, Command::AddMember { user }, Expect::Any, meta.clone()).await?;
        if state.owner == user && role != Role::Admin {
            return Err(Problem::conflict("identity.owner_stays", "the owner of an organisation is its administrator"));
        }
        let scope = Scope::Org(org);
        let mine = directory::bindings_of(self.orm(), &subject(user)).await.map_err(fault)?;
        let here: Vec<_> = mine.into_iter().filter(|b| b.scope == scope.to_string()).collect();
        let meta = Meta { command_id: None, ..meta };
        if !here.iter().any(|b| b.role == role.as_str()) {
            self.grant(Subject::User(user), role, scope, meta.clone()).await?;
        }
        for other in here.into_iter().filter(|b| b.role != role.as_str()) {
            self.revoke(other.id.into(), meta.clone()).await?;
        }
        Ok(())
    }

    /// A member without a role of their own.
    ///
    /// # Errors
    /// When there is no such organisation.
    pub async fn add_member(&self, org: OrgId, user: UserId, meta: Meta) -> Result<(), Problem> {
        self.change_org(org, Command::AddMember { user }, Expect::Any, meta).await.map(|_| ())
    }

    /// Another owner, who gets the administrator's role. The old one keeps what they have.
    ///
    /// # Errors
    /// When there is no such organisation.
    pub async fn change_owner(&self, org: OrgId, to: UserId, meta: Meta) -> Result<(), Problem> {
        match self.grant(Subject::User(to), Role::Admin, Scope::Org(org), Meta { command_id: None, ..meta.clone() }).await {
            Ok(_) => {}
            Err(problem) if problem.kind == gantry_kernel::Kind::Conflict => {}
            Err(problem) => return Err(problem),
        }
        self.change_org(org, Command::ChangeOwner { to }, Expect::Any, meta).await.map(|_| ())
    }

    /// Takes a member out, with every role in the organisation.
    ///
    /// # Errors
    /// When it is the owner.
    pub async fn remove_member(&self, org: OrgId, user: UserId, meta: Meta) -> Result<(), Problem> {
        self.change_org(org, Command::RemoveMember { user }, Expect::Any, meta.clone()).await?;
        let meta = Meta { command_id: None, ..meta };
        for (of, team) in groups::memberships_of(self.pool(), &subject(user)).await.map_err(fault)? {
            if of == org.0 {
                self.put_in_team(org, team.into(), &subject(user), false, meta.clone()).await?;
            }
        }
        for binding in directory::bindings_of(self.orm(), &subject(user)).await.map_err(fault)? {
            let scope: Option<Scope> = binding.scope.parse().ok();
            if scope.is_some_and(|s| self.tenant(s) == Some(org)) {
                self.revoke(binding.id.into(), meta.clone()).await?;
            }
        }
        Ok(())
    }

    /// # Errors
    /// A taken or malformed name.
    pub async fn create_project(&self, org: OrgId, name: &str, public: bool, meta: Meta) -> Result<(Present, Name, i64), Problem> {
        let name = name_of("name", name)?;
        let project = ProjectId(self.host.env.uuid());
        let (state, version) = self.change_org(org, Command::CreateProject { project, name: name.clone(), public }, Expect::Any, meta).await?;
        Ok((state, name, version))
    }

    /// # Errors
    /// When there is no such project.
    pub async fn delete_project(&self, org: OrgId, name: Name, meta: Meta) -> Result<(), Problem> {
        self.change_org(org, Command::DeleteProject { name }, Expect::Any, meta).await.map(|_| ())
    }

    /// # Errors
    /// A taken or malformed name.
    pub async fn create_space(&self, org: OrgId, project: Name, name: &str, meta: Meta) -> Result<(Present, Name, i64), Problem> {
        let name = name_of("name", name)?;
        let space = SpaceId(self.host.env.uuid());
        let (state, version) = self.change_org(org, Command::CreateSpace { project, space, name: name.clone() }, Expect::Any, meta).await?;
        Ok((state, name, version))
    }

    /// # Errors
    /// When there is no such space.
    pub async fn delete_space(&self, org: OrgId, project: Name, name: Name, meta: Meta) -> Result<(), Problem> {
        self.change_org(org, Command::DeleteSpace { project, name }, Expect::Any, meta).await.map(|_| ())
    }

    async fn change_org(&self, org: OrgId, command: Command, expect: Expect, meta: Meta) -> Result<(Present, i64), Problem> {
        let options = Options { meta: meta.tenant(org), expect, ..Options::default() };
        let executed = self.orgs.execute(org, command, options).await.map_err(refused)?;
        self.answered(executed).await
    }

    async fn answered(&self, executed: Executed<State>) -> Result<(Present, i64), Problem> {
        self.settled(executed.position).await;
        match executed.state {
            State::Present(present) => Ok((present, executed.version)),
            State::Absent | State::Deleted => Err(Problem::not_found("organisation", "")),
        }
    }
}
