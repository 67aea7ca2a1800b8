//! Bindings, teams, custom roles and the tree of places, in memory. What follows from them is decided in `decide`.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use gantry_contract::identity::{Condition, RoleRef};
use gantry_kernel::{BindingId, Name, OrgId, ProjectId, Role, RoleId, Scope, SpaceId, TeamId};

use crate::permissions::PermissionSet;
use crate::places::{OrgRef, ProjectRef, SpaceRef};

/// A role given to somebody somewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// "user:<uuid>", "robot:<uuid>" or "team:<uuid>".
    pub subject: String,
    pub role: RoleRef,
    pub scope: Scope,
    pub condition: Option<Arc<Condition>>,
}

/// A team as decisions need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamRef {
    pub id: TeamId,
    pub org: OrgId,
    pub name: Name,
    pub parent: Option<TeamId>,
}

/// A custom role as decisions need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomRole {
    pub id: RoleId,
    /// Whose it is; none: the platform's.
    pub org: Option<OrgId>,
    pub name: Name,
    pub permissions: PermissionSet,
}

pub(crate) type ByScope = HashMap<Scope, Vec<BindingId>>;

/// Who may do what where. Kept up to date by the host from [`crate::RightsProjection`].
#[derive(Default)]
pub struct Rights {
    /// Whose checks by built-in role these are: see [`crate::permissions::area_of`].
    pub(crate) area: &'static str,
    pub(crate) bindings: HashMap<BindingId, Grant>,
    pub(crate) by_subject: HashMap<String, ByScope>,
    pub(crate) by_scope: HashMap<Scope, BTreeSet<BindingId>>,
    pub(crate) teams: HashMap<TeamId, TeamRef>,
    pub(crate) children: HashMap<TeamId, BTreeSet<TeamId>>,
    pub(crate) members: HashMap<TeamId, BTreeSet<String>>,
    pub(crate) member_of: HashMap<String, BTreeSet<TeamId>>,
    pub(crate) roles: HashMap<RoleId, CustomRole>,
    pub(crate) orgs: HashMap<OrgId, OrgRef>,
    pub(crate) org_names: HashMap<Name, OrgId>,
    pub(crate) projects: HashMap<ProjectId, ProjectRef>,
    pub(crate) project_names: HashMap<(OrgId, Name), ProjectId>,
    pub(crate) spaces: HashMap<SpaceId, SpaceRef>,
    pub(crate) space_names: HashMap<(ProjectId, Name), SpaceId>,
    /// Suspended and deleted people and programs: bindings of theirs count for nothing.
    pub(crate) out: HashSet<String>,
}

impl Rights {
    pub fn of_area(area: &'static str) -> Self {
        Self { area, ..Self::default() }
    }

    /// An unconditional binding of a built-in role.
    pub fn grant(&mut self, binding: BindingId, subject: String, role: Role, scope: Scope) {
        self.put_binding(binding, Grant { subject, role: role.into(), scope, condition: None });
    }

    pub fn put_binding(&mut self, binding: BindingId, grant: Grant) {
        self.revoke(binding);
        self.by_subject.entry(grant.subject.clone()).or_default().entry(grant.scope).or_default().push(binding);
        self.by_scope.entry(grant.scope).or_default().insert(binding);
        self.bindings.insert(binding, grant);
    }

    pub fn revoke(&mut self, binding: BindingId) {
        let Some(grant) = self.bindings.remove(&binding) else { return };
        if let Some(by_scope) = self.by_subject.get_mut(&grant.subject) {
            if let Some(here) = by_scope.get_mut(&grant.scope) {
                here.retain(|id| *id != binding);
                if here.is_empty() {
                    by_scope.remove(&grant.scope);
                }
            }
            if by_scope.is_empty() {
                self.by_subject.remove(&grant.subject);
            }
        }
        if let Some(here) = self.by_scope.get_mut(&grant.scope) {
            here.remove(&binding);
            if here.is_empty() {
                self.by_scope.remove(&grant.scope);
            }
        }
    }

    /// Suspends a subject's rights, or gives them back.
    pub fn set_out(&mut self, subject: String, out: bool) {
        if out {
            self.out.insert(subject);
        } else {
            self.out.remove(&subject);
        }
    }

    pub fn put_team(&mut self, team: TeamRef) {
        self.unlink_team(team.id);
        if let Some(parent) = team.parent {
            self.children.entry(parent).or_default().insert(team.id);
        }
        self.teams.insert(team.id, team);
    }

    pub fn remove_team(&mut self, team: TeamId) {
        self.unlink_team(team);
        self.teams.remove(&team);
        for subject in self.members.remove(&team).unwrap_or_default() {
            if let Some(of) = self.member_of.get_mut(&subject) {
                of.remove(&team);
            }
        }
    }

    fn unlink_team(&mut self, team: TeamId) {
        if let Some(parent) = self.teams.get(&team).and_then(|t| t.parent)
            && let Some(siblings) = self.children.get_mut(&parent)
        {
            siblings.remove(&team);
        }
    }

    pub fn set_member(&mut self, team: TeamId, subject: String, is_in: bool) {
        if is_in {
            self.members.entry(team).or_default().insert(subject.clone());
            self.member_of.entry(subject).or_default().insert(team);
        } else {
            if let Some(members) = self.members.get_mut(&team) {
                members.remove(&subject);
            }
            if let Some(of) = self.member_of.get_mut(&subject) {
                of.remove(&team);
            }
        }
    }

    pub fn put_role(&mut self, role: CustomRole) {
        self.roles.insert(role.id, role);
    }

    pub fn remove_role(&mut self, role: RoleId) {
        self.roles.remove(&role);
    }

    pub fn put_org(&mut self, org: OrgRef) {
        self.org_names.insert(org.name.clone(), org.id);
        self.orgs.insert(org.id, org);
    }

    pub fn put_project(&mut self, project: ProjectRef) {
        self.project_names.insert((project.org.id, project.name.clone()), project.id);
        self.projects.insert(project.id, project);
    }

    pub fn put_space(&mut self, space: SpaceRef) {
        self.space_names.insert((space.project.id, space.name.clone()), space.id);
        self.spaces.insert(space.id, space);
    }

    pub fn remove(&mut self, scope: Scope) {
        match scope {
            Scope::Platform => {}
            Scope::Org(id) => {
                if let Some(org) = self.orgs.remove(&id)
                    && self.org_names.get(&org.name) == Some(&id)
                {
                    self.org_names.remove(&org.name);
                }
            }
            Scope::Project(id) => {
                if let Some(project) = self.projects.remove(&id) {
                    let name = (project.org.id, project.name);
                    if self.project_names.get(&name) == Some(&id) {
                        self.project_names.remove(&name);
                    }
                }
            }
            Scope::Space(id) => {
                if let Some(space) = self.spaces.remove(&id) {
                    let name = (space.project.id, space.name);
                    if self.space_names.get(&name) == Some(&id) {
                        self.space_names.remove(&name);
                    }
                }
            }
        }
    }

    pub fn binding(&self, id: BindingId) -> Option<&Grant> {
        self.bindings.get(&id)
    }

    pub fn team(&self, id: TeamId) -> Option<&TeamRef> {
        self.teams.get(&id)
    }

    /// The name of a role as people know it.
    pub fn role_name(&self, role: RoleRef) -> String {
        match role {
            RoleRef::BuiltIn(role) => role.as_str().to_owned(),
            RoleRef::Custom(id) => self.roles.get(&id).map_or_else(|| role.to_string(), |r| r.name.to_string()),
        }
    }

    pub fn org_ref(&self, id: OrgId) -> Option<&OrgRef> {
        self.orgs.get(&id)
    }

    pub fn project_ref(&self, id: ProjectId) -> Option<&ProjectRef> {
        self.projects.get(&id)
    }

    pub fn projects(&self) -> impl Iterator<Item = &ProjectRef> {
        self.projects.values()
    }

    /// The spaces of a project.
    pub fn spaces_of(&self, project: ProjectId) -> Vec<Scope> {
        self.spaces.values().filter(|s| s.project.id == project).map(SpaceRef::scope).collect()
    }

    pub fn space_ref(&self, id: SpaceId) -> Option<&SpaceRef> {
        self.spaces.get(&id)
    }
}
