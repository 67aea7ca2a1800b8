//! Custom roles: put together from the published permissions, by somebody who has all of them.

use gantry_auth::{Caller, permissions};
use gantry_es::Meta;
use gantry_es_pg::{Claim, Expect, Options};
use gantry_kernel::{FieldFault, Kind, Name, OrgId, Problem, RoleId, Scope};

use crate::app::App;
use crate::app::orgs::name_of;
use crate::domain::role::{Command, Present, State};
use crate::error::{fault, refused};
use crate::store::directory;

/// # Errors
/// Each name that is not published.
pub fn check_permissions(names: &[String]) -> Result<(), Problem> {
    let unknown = |(index, name): (usize, &String)| {
        let detail = format!("`{name}` is no permission: GET /api/v1/permissions lists them");
        permissions::find(name).is_none().then(|| FieldFault { field: format!("permissions[{index}]"), detail })
    };
    let faults: Vec<_> = names.iter().enumerate().filter_map(unknown).collect();
    if faults.is_empty() { Ok(()) } else { Err(Problem::invalid_fields(faults)) }
}

pub(crate) fn check_description(text: &str) -> Result<(), Problem> {
    let fits = text.chars().count() <= 500 && !text.chars().any(|c| c.is_control() && c != '\n');
    if fits { Ok(()) } else { Err(Problem::invalid("description", "must have at most 500 characters and no control characters")) }
}

fn claim(org: Option<OrgId>, name: &Name) -> String {
    format!("{} {name}", org.map_or_else(|| "platform".to_owned(), |o| o.to_string()))
}

impl App {
    /// The scope whose administrators keep a role.
    pub fn role_scope(org: Option<OrgId>) -> Scope {
        org.map_or(Scope::Platform, Scope::Org)
    }

    /// Refuses permissions that the caller does not have there: else a role would be a way to more rights.
    ///
    /// # Errors
    /// Forbidden.
    pub fn refuse_permissions_beyond(&self, caller: &Caller, org: Option<OrgId>, names: &[String]) -> Result<(), Problem> {
        let (scope, context) = (Self::role_scope(org), caller.context());
        for permission in permissions::PermissionSet::new(names.iter().map(String::as_str)).all() {
            if !self.host.auth.read(|rights| rights.allows(&caller.subject, permission, scope, Some(&context))) {
                let place = self.host.auth.describe(scope);
                return Err(Problem::forbidden(format_args!("{} on {place}: nobody gives more than they have", permission.name)));
            }
        }
        Ok(())
    }

    /// # Errors
    /// A taken name or an unknown permission.
    pub async fn define_role(
        &self,
        org: Option<OrgId>,
        name: &str,
        description: &str,
        permissions: Vec<String>,
        meta: Meta,
    ) -> Result<(Present, i64), Problem> {
        let name = name_of("name", name)?;
        if matches!(name.as_str(), "viewer" | "editor" | "admin") {
            return Err(Problem::invalid("name", "viewer, editor and admin are built in"));
        }
        check_description(description)?;
        check_permissions(&permissions)?;
        let role = RoleId(self.host.env.uuid());
        let claims = vec![Claim::take("role", claim(org, &name))];
        let options = Options { meta: Meta { tenant: org, ..meta }, claims, ..Options::default() };
        let command = Command::Define(Present { role, org, name, description: description.to_owned(), permissions });
        let executed = self.roles.execute(role, command, options).await.map_err(refused)?;
        self.settled(executed.position).await;
        present(executed.state).map(|p| (p, executed.version))
    }

    /// # Errors
    /// An unknown permission or a stale version.
    pub async fn change_role(
        &self,
        org: Option<OrgId>,
        role: RoleId,
        description: Option<String>,
        permissions: Option<Vec<String>>,
        expect: Expect,
        meta: Meta,
    ) -> Result<(Present, i64), Problem> {
        description.as_deref().map_or(Ok(()), check_description)?;
        permissions.as_deref().map_or(Ok(()), check_permissions)?;
        let options = Options { meta: Meta { tenant: org, ..meta }, expect, ..Options::default() };
        let executed = self.roles.execute(role, Command::Change { description, permissions }, options).await.map_err(refused)?;
        self.settled(executed.position).await;
        present(executed.state).map(|p| (p, executed.version))
    }

    /// # Errors
    /// While somebody has the role.
    pub async fn delete_role(&self, org: Option<OrgId>, role: RoleId, name: &Name, meta: Meta) -> Result<(), Problem> {
        let used = directory::bindings_with(self.orm(), &format!("role:{role}"), 1).await.map_err(fault)?;
        if !used.is_empty() {
            return Err(Problem::new(Kind::Conflict, "identity.role_in_use", "somebody has this role: take it away first"));
        }
        let options = Options { meta: Meta { tenant: org, ..meta }, claims: vec![Claim::release("role", claim(org, name))], ..Options::default() };
        let executed = self.roles.execute(role, Command::Delete, options).await.map_err(refused)?;
        self.settled(executed.position).await;
        Ok(())
    }
}

fn present(state: State) -> Result<Present, Problem> {
    match state {
        State::Present(present) => Ok(present),
        State::Absent | State::Deleted => Err(Problem::not_found("role", "")),
    }
}
