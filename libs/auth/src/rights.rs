//! Role bindings and the tree of places, in memory; decisions are pure look-ups.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use gantry_kernel::{BindingId, Name, OrgId, Problem, ProjectId, Role, Scope, SpaceId};

use crate::caller::Caller;
use crate::places::{OrgRef, ProjectRef, SpaceRef};
use crate::token::Verifier;

/// Who may do what where. Kept up to date by the host from [`crate::RightsProjection`].
#[derive(Default)]
pub struct Rights {
    bindings: HashMap<BindingId, (String, Role, Scope)>,
    by_subject: HashMap<String, HashSet<BindingId>>,
    orgs: HashMap<OrgId, OrgRef>,
    org_names: HashMap<Name, OrgId>,
    projects: HashMap<ProjectId, ProjectRef>,
    project_names: HashMap<(OrgId, Name), ProjectId>,
    spaces: HashMap<SpaceId, SpaceRef>,
    space_names: HashMap<(ProjectId, Name), SpaceId>,
    /// Suspended and deleted people: bindings of theirs count for nothing.
    out: HashSet<String>,
}

impl Rights {
    pub fn grant(&mut self, binding: BindingId, subject: String, role: Role, scope: Scope) {
        self.by_subject.entry(subject.clone()).or_default().insert(binding);
        self.bindings.insert(binding, (subject, role, scope));
    }

    pub fn revoke(&mut self, binding: BindingId) {
        if let Some((subject, _, _)) = self.bindings.remove(&binding)
            && let Some(of_subject) = self.by_subject.get_mut(&subject)
        {
            of_subject.remove(&binding);
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
                if let Some(org) = self.orgs.remove(&id) {
                    self.org_names.remove(&org.name);
                }
            }
            Scope::Project(id) => {
                if let Some(project) = self.projects.remove(&id) {
                    self.project_names.remove(&(project.org.id, project.name));
                }
            }
            Scope::Space(id) => {
                if let Some(space) = self.spaces.remove(&id) {
                    self.space_names.remove(&(space.project.id, space.name));
                }
            }
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

    pub fn space_ref(&self, id: SpaceId) -> Option<&SpaceRef> {
        self.spaces.get(&id)
    }

    /// The highest role of `subject` at `scope`, by a binding there or above.
    pub fn role(&self, subject: &str, scope: Scope) -> Option<Role> {
        // Only identity can mint such a subject, for the platform's own services.
        if subject.starts_with("service:") {
            return Some(Role::Admin);
        }
        if self.out.contains(subject) {
            return None;
        }
        let above = self.lineage(scope);
        let bound = self.by_subject.get(subject)?;
        bound.iter().filter_map(|id| self.bindings.get(id)).filter(|(_, _, at)| above.contains(at)).map(|(_, role, _)| *role).max()
    }

    /// The scope itself and all that contain it. An unknown scope is contained in nothing but the platform.
    fn lineage(&self, scope: Scope) -> Vec<Scope> {
        let mut all = vec![Scope::Platform, scope];
        match scope {
            Scope::Platform | Scope::Org(_) => {}
            Scope::Project(id) => {
                if let Some(project) = self.projects.get(&id) {
                    all.push(project.org.scope());
                }
            }
            Scope::Space(id) => {
                if let Some(space) = self.spaces.get(&id) {
                    all.extend([space.project.scope(), space.project.org.scope()]);
                }
            }
        }
        all
    }

    /// Whether `subject` has any role at `scope`, above it or below it (then it may know that the place exists).
    pub fn may_know(&self, subject: &str, scope: Scope) -> bool {
        if self.out.contains(subject) {
            return false;
        }
        if self.role(subject, scope).is_some() {
            return true;
        }
        let Some(bound) = self.by_subject.get(subject) else { return false };
        bound.iter().filter_map(|id| self.bindings.get(id)).any(|(_, _, at)| self.lineage(*at).contains(&scope) && scope != Scope::Platform)
    }

    /// Everything `subject` may read: places where it has a role or that are below one.
    pub fn visible_orgs(&self, subject: &str) -> Vec<OrgRef> {
        let mut orgs: Vec<_> = self.orgs.values().filter(|o| self.may_know(subject, o.scope())).cloned().collect();
        orgs.sort_by(|a, b| a.name.cmp(&b.name));
        orgs
    }

    pub fn visible_projects(&self, subject: &str, org: Option<OrgId>) -> Vec<ProjectRef> {
        let mut projects: Vec<_> = self.projects.values().filter(|p| org.is_none_or(|o| o == p.org.id) && self.may_know(subject, p.scope())).cloned().collect();
        projects.sort_by(|a, b| (&a.org.name, &a.name).cmp(&(&b.org.name, &b.name)));
        projects
    }

    pub fn visible_spaces(&self, subject: &str, project: Option<ProjectId>) -> Vec<SpaceRef> {
        let mut spaces: Vec<_> =
            self.spaces.values().filter(|s| project.is_none_or(|p| p == s.project.id) && self.may_know(subject, s.scope())).cloned().collect();
        spaces.sort_by_key(SpaceRef::path);
        spaces
    }
}

/// Verification and rights of one service. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    pub verifier: Verifier,
    rights: Arc<RwLock<Rights>>,
}

impl Auth {
    pub fn new(verifier: Verifier) -> Self {
        Self { verifier, rights: Arc::default() }
    }

    /// Looks something up. Do not hold on to the result across an await.
    pub fn read<T>(&self, look: impl FnOnce(&Rights) -> T) -> T {
        look(&self.rights.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn write(&self, change: impl FnOnce(&mut Rights)) {
        change(&mut self.rights.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Refuses unless `caller` has `role` (or a higher one) at `scope`. Who may not even read is told that it is not there.
    ///
    /// # Errors
    /// Not found, or forbidden with the missing right.
    pub fn require(&self, caller: &Caller, role: Role, scope: Scope) -> Result<(), Problem> {
        self.require_subject(&caller.subject, role, scope)
    }

    /// The same for a subject that another service speaks for.
    ///
    /// # Errors
    /// As [`Auth::require`].
    pub fn require_subject(&self, subject: &str, role: Role, scope: Scope) -> Result<(), Problem> {
        let (has, known) = self.read(|r| (r.role(subject, scope), r.may_know(subject, scope)));
        match has {
            Some(has) if has >= role => Ok(()),
            Some(_) => Err(Problem::forbidden(format_args!("{} on {}", role.as_str(), self.describe(scope)))),
            None if known || scope == Scope::Platform => Err(Problem::forbidden(format_args!("{} on {}", role.as_str(), self.describe(scope)))),
            None => Err(Problem::not_found("such place", scope)),
        }
    }

    fn describe(&self, scope: Scope) -> String {
        self.read(|r| match scope {
            Scope::Platform => "the platform".to_owned(),
            Scope::Org(id) => r.org_ref(id).map_or_else(|| scope.to_string(), |o| format!("organisation {}", o.name)),
            Scope::Project(id) => r.project_ref(id).map_or_else(|| scope.to_string(), |p| format!("project {}", p.path())),
            Scope::Space(id) => r.space_ref(id).map_or_else(|| scope.to_string(), |s| format!("space {}", s.path())),
        })
    }

    /// # Errors
    /// Not found.
    pub fn org(&self, org: &str) -> Result<OrgRef, Problem> {
        let found = Name::parse(org).ok().and_then(|name| self.read(|r| r.org_names.get(&name).and_then(|id| r.orgs.get(id)).cloned()));
        found.ok_or_else(|| Problem::not_found("organisation", org))
    }

    /// # Errors
    /// Not found.
    pub fn project(&self, org: &str, project: &str) -> Result<ProjectRef, Problem> {
        let missing = || Problem::not_found("project", format_args!("{org}/{project}"));
        let org_id = self.org(org).map_err(|_| missing())?.id;
        let name = Name::parse(project).map_err(|_| missing())?;
        self.read(|r| r.project_names.get(&(org_id, name)).and_then(|id| r.projects.get(id)).cloned()).ok_or_else(missing)
    }

    /// # Errors
    /// Not found.
    pub fn space(&self, org: &str, project: &str, space: &str) -> Result<SpaceRef, Problem> {
        let missing = || Problem::not_found("space", format_args!("{org}/{project}/{space}"));
        let project_id = self.project(org, project).map_err(|_| missing())?.id;
        let name = Name::parse(space).map_err(|_| missing())?;
        self.read(|r| r.space_names.get(&(project_id, name)).and_then(|id| r.spaces.get(id)).cloned()).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_kernel::Uuid;

    fn rights() -> (Rights, OrgRef, ProjectRef, SpaceRef) {
        let name = |n| Name::parse(n).unwrap();
        let org = OrgRef { id: OrgId(Uuid::from_u128(1)), name: name("acme") };
        let project = ProjectRef { org: org.clone(), id: ProjectId(Uuid::from_u128(2)), name: name("shop"), public: false };
        let space = SpaceRef { project: project.clone(), id: SpaceId(Uuid::from_u128(3)), name: name("test") };
        let mut rights = Rights::default();
        rights.put_org(org.clone());
        rights.put_project(project.clone());
        rights.put_space(space.clone());
        (rights, org, project, space)
    }

    #[test]
    fn a_role_holds_below_its_scope_but_not_above_or_beside() {
        let (mut rights, org, project, space) = rights();
        rights.grant(BindingId(Uuid::from_u128(9)), "user:a".into(), Role::Editor, project.scope());
        assert_eq!(rights.role("user:a", space.scope()), Some(Role::Editor));
        assert_eq!(rights.role("user:a", org.scope()), None);
        assert_eq!(rights.role("user:a", Scope::Project(ProjectId(Uuid::from_u128(7)))), None);
        assert_eq!(rights.role("user:b", space.scope()), None);
        assert!(rights.may_know("user:a", org.scope()), "the way down to one's project may be seen");
        assert!(!rights.may_know("user:b", org.scope()));
    }

    #[test]
    fn a_suspended_subject_has_no_rights_until_it_is_back() {
        let (mut rights, org, _, space) = rights();
        rights.grant(BindingId(Uuid::from_u128(9)), "user:a".into(), Role::Admin, org.scope());
        rights.set_out("user:a".into(), true);
        assert_eq!(rights.role("user:a", space.scope()), None);
        assert!(!rights.may_know("user:a", org.scope()));
        rights.set_out("user:a".into(), false);
        assert_eq!(rights.role("user:a", space.scope()), Some(Role::Admin));
    }

    #[test]
    fn the_highest_of_several_roles_counts_and_a_revoked_one_does_not() {
        let (mut rights, org, _, space) = rights();
        let (low, high) = (BindingId(Uuid::from_u128(8)), BindingId(Uuid::from_u128(9)));
        rights.grant(low, "user:a".into(), Role::Viewer, space.scope());
        rights.grant(high, "user:a".into(), Role::Admin, org.scope());
        assert_eq!(rights.role("user:a", space.scope()), Some(Role::Admin));
        rights.revoke(high);
        assert_eq!(rights.role("user:a", space.scope()), Some(Role::Viewer));
    }
}
