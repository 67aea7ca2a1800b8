//! What an upstream's groups mean here: roles at places, teams, and the organisations that come with them. Places are
//! named in the settings and looked up when they are needed; one that is gone is reported and gives nothing.

use std::collections::{BTreeMap, BTreeSet};

use gantry_contract::upstream::Connection;
use gantry_kernel::{OrgId, Problem, Role, Scope, TeamId};

use super::Upstream;
use crate::app::App;
use crate::domain::upstream::groups::is_called;

/// What somebody is to have by an upstream's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub grants: BTreeSet<(Scope, Role)>,
    pub orgs: BTreeSet<OrgId>,
    pub teams: BTreeSet<(OrgId, TeamId)>,
}

/// The mappings of an upstream with their places looked up.
pub struct Meaning {
    /// Of a mapping's group: the roles, and the organisation each is in.
    by_group: Vec<(String, Scope, Role, Option<OrgId>)>,
    teams: Vec<(String, OrgId, TeamId)>,
    default: Option<(Scope, Role, OrgId)>,
    directory: bool,
    /// Places that are not there.
    pub missing: BTreeMap<String, String>,
}

impl Meaning {
    /// The groups that mean anything.
    pub fn groups(&self) -> Vec<String> {
        self.by_group.iter().map(|(group, ..)| group).chain(self.teams.iter().map(|(group, ..)| group)).cloned().collect()
    }

    pub fn wanted(&self, groups: &[String]) -> Wanted {
        let mut wanted = Wanted::default();
        if let Some((scope, role, org)) = self.default {
            wanted.grants.insert((scope, role));
            wanted.orgs.insert(org);
        }
        // Directories compare names without case; claims are compared as they are.
        let in_group = |group: &String| groups.iter().any(|held| if self.directory { is_called(group, held, held) } else { group == held });
        for (group, org, team) in &self.teams {
            if in_group(group) {
                wanted.teams.insert((*org, *team));
                wanted.orgs.insert(*org);
            }
        }
        for (group, scope, role, org) in &self.by_group {
            if in_group(group) {
                wanted.grants.insert((*scope, *role));
                wanted.orgs.extend(*org);
            }
        }
        wanted
    }
}

impl App {
    pub async fn meaning(&self, of: &Upstream) -> Meaning {
        let mut missing = BTreeMap::new();
        let (mut by_group, mut teams) = (Vec::new(), Vec::new());
        for mapping in &of.settings.mappings {
            if let Some(text) = mapping.team.as_deref() {
                match self.team_of(of, text).await {
                    Ok((org, team)) => teams.push((mapping.group.clone(), org, team)),
                    Err(problem) => {
                        missing.insert(text.to_owned(), problem.detail);
                    }
                }
            }
            let (Some(role), Some(at)) = (mapping.role, mapping.at.as_deref()) else { continue };
            match self.place(of, at) {
                Ok((scope, org)) => by_group.push((mapping.group.clone(), scope, role, org)),
                Err(problem) => {
                    missing.insert(at.to_owned(), problem.detail);
                }
            }
        }
        let home = of.org.and_then(|org| self.host.auth.read(|rights| rights.org_ref(org).map(|o| o.name.to_string())));
        let default = of.settings.rules.default_org.clone().or(home).and_then(|name| match self.place(of, &name) {
            Ok((scope, Some(org))) => Some((scope, of.settings.rules.default_role, org)),
            Ok((_, None)) => None,
            Err(problem) => {
                missing.insert(name, problem.detail);
                None
            }
        });
        Meaning { by_group, teams, default, directory: matches!(of.settings.connection, Connection::Ldap(_)), missing }
    }

    async fn team_of(&self, of: &Upstream, text: &str) -> Result<(OrgId, TeamId), Problem> {
        let (org, team) = text.split_once('/').ok_or_else(|| Problem::invalid("team", "must be org/team"))?;
        let org = self.host.auth.org(org)?.id;
        if of.org.is_some_and(|own| own != org) {
            return Err(Problem::forbidden(format_args!("administrator of `{text}`")));
        }
        let team = TeamId(self.find_team(org, team).await?.id);
        if of.org.is_some() {
            // Looked at each time: a team may be given a role at the platform after the mapping was made.
            self.refuse_team_beyond_org(team)?;
        }
        Ok((org, team))
    }

    /// The scope of a place's name, and its organisation. An organisation's upstream reaches its own places only,
    /// whatever is called by their names today.
    fn place(&self, of: &Upstream, at: &str) -> Result<(Scope, Option<OrgId>), Problem> {
        let auth = &self.host.auth;
        let parts: Vec<&str> = at.split('/').collect();
        let (scope, org) = match parts.as_slice() {
            ["platform"] => (Scope::Platform, None),
            [org] => auth.org(org).map(|o| (Scope::Org(o.id), Some(o.id)))?,
            [org, project] => auth.project(org, project).map(|p| (Scope::Project(p.id), Some(p.org.id)))?,
            [org, project, space] => auth.space(org, project, space).map(|s| (Scope::Space(s.id), Some(s.org().id)))?,
            _ => return Err(Problem::invalid("at", "must be platform, org, org/project or org/project/space")),
        };
        if of.org.is_some() && org != of.org {
            return Err(Problem::forbidden(format_args!("administrator of `{at}`")));
        }
        Ok((scope, org))
    }
}
