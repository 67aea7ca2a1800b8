//! Decisions: pure look-ups in [`Rights`]. Deny by default. Roles of teams hold for their members and for those of the
//! teams below them; custom roles give what their permissions say; a condition must hold for the request at hand.

use std::collections::{BTreeMap, BTreeSet};

use gantry_contract::identity::RoleRef;
use gantry_kernel::{BindingId, OrgId, ProjectId, Role, Scope, TeamId};

use crate::conditions::{Context, why_not};
use crate::permissions::{ALL, Permission};
use crate::places::{OrgRef, ProjectRef, SpaceRef};
use crate::rights::{ByScope, Grant, Rights};

/// Teams in teams in teams: deeper ones count for nothing. The organisation's aggregate refuses them.
pub const DEEPEST_TEAM: usize = 16;
/// What the name of a team as a subject begins with.
const TEAM: &str = "team:";

/// Why somebody may do something: one binding, and how it reaches the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub binding: BindingId,
    pub role: RoleRef,
    pub scope: Scope,
    /// From the subject's own team up to the team that is bound; empty: bound directly.
    pub teams: Vec<TeamId>,
    /// Set when the binding would give the right, but its condition does not hold.
    pub unmet: Option<String>,
}

/// The answer to "can I?".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    /// The bindings that give it; if none does: those that would if their condition held.
    pub reasons: Vec<Reason>,
    /// The subject is suspended or gone.
    pub out: bool,
}

impl Rights {
    /// The highest role of `subject` at `scope`, by unconditional bindings there or above. For custom roles: what they
    /// come up to in this service's area.
    pub fn role(&self, subject: &str, scope: Scope) -> Option<Role> {
        self.role_with(subject, scope, self.area, None)
    }

    /// The same in any area, with the bindings whose condition `context` fulfils.
    pub fn role_with(&self, subject: &str, scope: Scope, area: &str, context: Option<&Context>) -> Option<Role> {
        // Only identity can mint such a subject, for the platform's own services.
        if subject.starts_with("service:") {
            return Some(Role::Admin);
        }
        if self.out.contains(subject) {
            return None;
        }
        let mut highest = None;
        self.held(subject, scope, &mut |_, grant, _| {
            if holds(grant, context) {
                highest = highest.max(self.amounts_to(grant.role, area));
            }
            highest != Some(Role::Admin)
        });
        highest
    }

    /// Whether `subject` has `permission` at `scope`.
    pub fn allows(&self, subject: &str, permission: &Permission, scope: Scope, context: Option<&Context>) -> bool {
        if subject.starts_with("service:") {
            return true;
        }
        if self.out.contains(subject) {
            return false;
        }
        let mut allowed = false;
        self.held(subject, scope, &mut |_, grant, _| {
            allowed = allowed || (self.gives(grant.role, permission) && holds(grant, context));
            !allowed
        });
        allowed
    }

    /// The same with the reasons. Without a `context`, conditions are taken as not held and named.
    pub fn explain(&self, subject: &str, permission: &Permission, scope: Scope, context: Option<&Context>) -> Decision {
        if subject.starts_with("service:") {
            return Decision { allowed: true, ..Decision::default() };
        }
        let out = self.out.contains(subject);
        let mut reasons = Vec::new();
        self.held(subject, scope, &mut |binding, grant, teams| {
            if self.gives(grant.role, permission) {
                reasons.push(Reason { binding, role: grant.role, scope: grant.scope, teams: teams.to_vec(), unmet: unmet(grant, context) });
            }
            true
        });
        let allowed = !out && reasons.iter().any(|r| r.unmet.is_none());
        if allowed {
            reasons.retain(|r| r.unmet.is_none());
        }
        reasons.sort_by_key(|r| (r.teams.len(), r.binding));
        Decision { allowed, reasons, out }
    }

    /// Everybody who has `permission` at `scope` (conditions are named, not judged), in the order of subjects.
    pub fn who_can(&self, permission: &Permission, scope: Scope) -> BTreeMap<String, Vec<Reason>> {
        let mut found: BTreeMap<String, Vec<Reason>> = BTreeMap::new();
        for (id, grant) in self.bound_at(scope) {
            if !self.gives(grant.role, permission) {
                continue;
            }
            let reason = |teams| Reason { binding: id, role: grant.role, scope: grant.scope, teams, unmet: unmet(grant, None) };
            match grant.subject.strip_prefix("team:").map(str::parse::<TeamId>) {
                Some(Ok(team)) => {
                    for (subject, teams) in self.members_below(team) {
                        found.entry(subject).or_default().push(reason(teams));
                    }
                }
                _ => found.entry(grant.subject.clone()).or_default().push(reason(Vec::new())),
            }
        }
        found.retain(|subject, _| !self.out.contains(subject));
        found
    }

    /// Everybody with any role at `scope` or above, by themselves or by a team.
    pub fn subjects_at(&self, scope: Scope) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (_, grant) in self.bound_at(scope) {
            match grant.subject.strip_prefix("team:").map(str::parse::<TeamId>) {
                Some(Ok(team)) => found.extend(self.members_below(team).into_iter().map(|(subject, _)| subject)),
                _ => {
                    found.insert(grant.subject.clone());
                }
            }
        }
        found.retain(|subject| !self.out.contains(subject));
        found
    }

    /// Whether somebody who has `subject`'s rights at `scope` may pass `role` on: nobody gives more than they have.
    pub fn covers(&self, subject: &str, role: RoleRef, scope: Scope, context: Option<&Context>) -> Result<(), &'static Permission> {
        let missing = ALL.iter().find(|p| self.gives(role, p) && !self.allows(subject, p, scope, context));
        missing.map_or(Ok(()), Err)
    }

    /// Every role that reaches a subject, wherever it is bound.
    pub fn grants_reaching(&self, subject: &str) -> Vec<(RoleRef, Scope)> {
        let mut found = self.grants_to(subject);
        for team in self.team_paths(subject).into_iter().flatten() {
            found.extend(self.grants_to(&format!("team:{team}")));
        }
        found
    }

    /// Every role of a team and of those above it.
    pub fn grants_of_team(&self, team: TeamId) -> Vec<(RoleRef, Scope)> {
        self.upward(team).into_iter().flat_map(|t| self.grants_to(&format!("team:{t}"))).collect()
    }

    fn grants_to(&self, subject: &str) -> Vec<(RoleRef, Scope)> {
        let by_scope = self.by_subject.get(subject).into_iter().flat_map(|b| b.values().flatten());
        by_scope.filter_map(|id| self.bindings.get(id)).map(|g| (g.role, g.scope)).collect()
    }

    /// The permissions of a role.
    pub fn gives(&self, role: RoleRef, permission: &Permission) -> bool {
        match role {
            RoleRef::BuiltIn(role) => role >= permission.role,
            RoleRef::Custom(id) => self.roles.get(&id).is_some_and(|r| r.permissions.has(permission)),
        }
    }

    fn amounts_to(&self, role: RoleRef, area: &str) -> Option<Role> {
        match role {
            RoleRef::BuiltIn(role) => Some(role),
            RoleRef::Custom(id) => self.roles.get(&id)?.permissions.role_in(area),
        }
    }

    /// The direct teams of a subject, each with those above it: `[own, parent, grandparent, ...]`.
    pub fn team_paths(&self, subject: &str) -> Vec<Vec<TeamId>> {
        let Some(direct) = self.member_of.get(subject) else { return Vec::new() };
        direct.iter().filter(|t| self.teams.contains_key(t)).map(|team| self.upward(*team)).collect()
    }

    fn upward(&self, team: TeamId) -> Vec<TeamId> {
        let mut path = vec![team];
        let mut at = team;
        while let Some(parent) = self.teams.get(&at).and_then(|t| t.parent)
            && path.len() < DEEPEST_TEAM
            && self.teams.contains_key(&parent)
        {
            path.push(parent);
            at = parent;
        }
        path
    }

    /// Everybody in `team` and in the teams below it, each with the way up to `team`.
    pub fn members_below(&self, team: TeamId) -> Vec<(String, Vec<TeamId>)> {
        let mut found = Vec::new();
        let mut open = vec![vec![team]];
        while let Some(path) = open.pop() {
            let here = path[0];
            if !self.teams.contains_key(&here) || path.len() > DEEPEST_TEAM {
                continue;
            }
            found.extend(self.members.get(&here).into_iter().flatten().map(|subject| (subject.clone(), path.clone())));
            for child in self.children.get(&here).into_iter().flatten() {
                open.push([&[*child], path.as_slice()].concat());
            }
        }
        found
    }

    /// Calls `visit` for every binding that reaches `subject` at `scope`, until it says `false`.
    fn held(&self, subject: &str, scope: Scope, visit: &mut dyn FnMut(BindingId, &Grant, &[TeamId]) -> bool) {
        let above = self.lineage(scope);
        if let Some(by_scope) = self.by_subject.get(subject)
            && !self.visit(by_scope, &above, &[], visit)
        {
            return;
        }
        if !self.member_of.contains_key(subject) {
            return;
        }
        let mut seen = BTreeSet::new();
        for path in self.team_paths(subject) {
            for (depth, team) in path.iter().enumerate() {
                if !seen.insert(*team) {
                    break;
                }
                if let Some(by_scope) = self.of_team(*team)
                    && !self.visit(by_scope, &above, &path[..=depth], visit)
                {
                    return;
                }
            }
        }
    }

    /// The bindings of a team. Its name as a subject is written where it costs no allocation: every decision asks for several.
    fn of_team(&self, team: TeamId) -> Option<&ByScope> {
        let mut subject = *b"team:00000000-0000-0000-0000-000000000000";
        team.0.hyphenated().encode_lower(&mut subject[TEAM.len()..]);
        self.by_subject.get(std::str::from_utf8(&subject).ok()?)
    }

    fn visit(&self, by_scope: &ByScope, above: &[Scope], teams: &[TeamId], visit: &mut dyn FnMut(BindingId, &Grant, &[TeamId]) -> bool) -> bool {
        for id in above.iter().filter_map(|s| by_scope.get(s)).flatten() {
            if let Some(grant) = self.bindings.get(id)
                && !visit(*id, grant, teams)
            {
                return false;
            }
        }
        true
    }

    fn bound_at(&self, scope: Scope) -> impl Iterator<Item = (BindingId, &Grant)> {
        let above = self.lineage(scope);
        above.into_iter().filter_map(|s| self.by_scope.get(&s)).flatten().filter_map(|id| Some((*id, self.bindings.get(id)?)))
    }

    /// The scope itself and all that contain it. An unknown scope is contained in nothing but the platform.
    pub fn lineage(&self, scope: Scope) -> Vec<Scope> {
        let mut all = Vec::with_capacity(4);
        all.push(Scope::Platform);
        if scope != Scope::Platform {
            all.push(scope);
        }
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

    /// The organisation a scope belongs to.
    pub fn org_of(&self, scope: Scope) -> Option<OrgId> {
        match scope {
            Scope::Platform => None,
            Scope::Org(id) => Some(id),
            Scope::Project(id) => self.projects.get(&id).map(|p| p.org.id),
            Scope::Space(id) => self.spaces.get(&id).map(|s| s.org().id),
        }
    }

    /// Where `subject` is bound, by itself or by a team. Conditions do not matter: they limit what may be done, not
    /// whether one may know that a place exists.
    fn bound_scopes(&self, subject: &str) -> BTreeSet<Scope> {
        let mut scopes: BTreeSet<Scope> = self.by_subject.get(subject).into_iter().flat_map(|b| b.keys().copied()).collect();
        for team in self.team_paths(subject).into_iter().flatten() {
            scopes.extend(self.of_team(team).into_iter().flat_map(|b| b.keys().copied()));
        }
        scopes
    }

    /// Whether `subject` has any role at `scope`, above it or below it (then it may know that the place exists).
    pub fn may_know(&self, subject: &str, scope: Scope) -> bool {
        if subject.starts_with("service:") {
            return true;
        }
        if self.out.contains(subject) {
            return false;
        }
        let above = self.lineage(scope);
        let has_below = matches!(scope, Scope::Org(_) | Scope::Project(_));
        // Asked for every refusal: no set of all the subject's places is made for one question.
        let known = |bound: &ByScope| above.iter().any(|at| bound.contains_key(at)) || (has_below && bound.keys().any(|at| self.is_below(*at, scope)));
        self.by_subject.get(subject).is_some_and(&known) || self.team_paths(subject).into_iter().flatten().any(|team| self.of_team(team).is_some_and(&known))
    }

    /// Whether `at` lies in `place` and is not the place itself.
    fn is_below(&self, at: Scope, place: Scope) -> bool {
        match (at, place) {
            (Scope::Project(id), Scope::Org(org)) => self.projects.get(&id).is_some_and(|project| project.org.id == org),
            (Scope::Space(id), Scope::Org(org)) => self.spaces.get(&id).is_some_and(|space| space.org().id == org),
            (Scope::Space(id), Scope::Project(project)) => self.spaces.get(&id).is_some_and(|space| space.project.id == project),
            _ => false,
        }
    }

    /// Everything `subject` may read: places where it has a role or that are below one.
    pub fn visible_orgs(&self, subject: &str) -> Vec<OrgRef> {
        let scopes = self.bound_scopes(subject);
        let mut orgs: Vec<OrgRef> = if self.out.contains(subject) {
            Vec::new()
        } else if scopes.contains(&Scope::Platform) || subject.starts_with("service:") {
            self.orgs.values().cloned().collect()
        } else {
            let ids: BTreeSet<OrgId> = scopes.into_iter().filter_map(|s| self.org_of(s)).collect();
            ids.into_iter().filter_map(|id| self.orgs.get(&id)).cloned().collect()
        };
        orgs.sort_by(|a, b| a.name.cmp(&b.name));
        orgs
    }

    pub fn visible_projects(&self, subject: &str, org: Option<OrgId>) -> Vec<ProjectRef> {
        let sight = self.sight(subject);
        let mut projects: Vec<_> = self.projects.values().filter(|p| org.is_none_or(|o| o == p.org.id) && sight.project(p)).cloned().collect();
        projects.sort_by(|a, b| (&a.org.name, &a.name).cmp(&(&b.org.name, &b.name)));
        projects
    }

    pub fn visible_spaces(&self, subject: &str, project: Option<ProjectId>) -> Vec<SpaceRef> {
        let sight = self.sight(subject);
        let mut spaces: Vec<_> = self.spaces.values().filter(|s| project.is_none_or(|p| p == s.project.id) && sight.space(s)).cloned().collect();
        spaces.sort_by_key(SpaceRef::path);
        spaces
    }

    fn sight(&self, subject: &str) -> Sight {
        let service = subject.starts_with("service:");
        if self.out.contains(subject) {
            return Sight::default();
        }
        let bound = self.bound_scopes(subject);
        let everything = service || bound.contains(&Scope::Platform);
        let above_spaces = bound.iter().filter_map(|s| if let Scope::Space(id) = s { self.spaces.get(id) } else { None });
        let on_the_way = above_spaces.map(|s| s.project.scope()).collect();
        Sight { everything, bound, on_the_way }
    }
}

/// What somebody may know of, made once for a whole list.
#[derive(Default)]
struct Sight {
    everything: bool,
    bound: BTreeSet<Scope>,
    /// Projects of spaces that are bound.
    on_the_way: BTreeSet<Scope>,
}

impl Sight {
    fn project(&self, project: &ProjectRef) -> bool {
        let here = project.scope();
        self.everything || self.bound.contains(&here) || self.bound.contains(&project.org.scope()) || self.on_the_way.contains(&here)
    }

    fn space(&self, space: &SpaceRef) -> bool {
        self.everything || [space.scope(), space.project.scope(), space.org().scope()].iter().any(|s| self.bound.contains(s))
    }
}

fn holds(grant: &Grant, context: Option<&Context>) -> bool {
    match (&grant.condition, context) {
        (None, _) => true,
        (Some(condition), Some(context)) => why_not(condition, context).is_none(),
        (Some(_), None) => false,
    }
}

fn unmet(grant: &Grant, context: Option<&Context>) -> Option<String> {
    match (&grant.condition, context) {
        (None, _) => None,
        (Some(condition), Some(context)) => why_not(condition, context),
        (Some(_), None) => Some("depends on time, network or factors".to_owned()),
    }
}

#[cfg(test)]
mod tests;
