//! SCIM groups: teams of the organisation. A group among the members of a group is a team below it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gantry_es_pg::Expect;
use gantry_kernel::{Name, TeamId, UserId, Uuid};
use serde_json::{Value, json};

use super::{ListQuery, Listed, Provisioner, ScimError, narrow, text, with_meta};
use crate::app::App;
use crate::app::people::subject;
use crate::domain::scim::filter::attribute;
use crate::error::{fault, refused};
use crate::store::directory;
use crate::store::groups::{self, TeamRow};
use crate::store::scim::{self, Key, Link};

pub const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const KIND: &str = "Group";
const MOST_TEAMS: u64 = 5_000;

impl App {
    /// # Errors
    /// When the directory cannot be read.
    pub async fn scim_groups(&self, of: &Provisioner, query: &ListQuery) -> Result<Listed, ScimError> {
        if let Some(outside) = query.filter.as_ref().and_then(|f| f.must_equal("externalId")) {
            let found = scim::link_by_key(self.pool(), of.org, KIND, Key::External, &self.lookup.exact(outside)).await.map_err(fault)?;
            let row = match found {
                Some(link) => groups::team_by_id(self.pool(), of.org, link.id.into()).await.map_err(fault)?,
                None => None,
            };
            return narrow(query, self.render_groups(of, row.into_iter().collect()).await?);
        }
        let rows = groups::teams(self.pool(), of.org, None, MOST_TEAMS).await.map_err(fault)?;
        narrow(query, self.render_groups(of, rows).await?)
    }

    async fn render_groups(&self, of: &Provisioner, rows: Vec<TeamRow>) -> Result<Vec<Value>, ScimError> {
        let links: HashMap<Uuid, Link> = scim::links(self.pool(), of.org, KIND).await.map_err(fault)?.into_iter().map(|l| (l.id, l)).collect();
        let all = groups::teams(self.pool(), of.org, None, MOST_TEAMS).await.map_err(fault)?;
        let mut members: BTreeMap<Uuid, Vec<Value>> = BTreeMap::new();
        for (team, subject) in scim::team_members(self.pool(), of.org).await.map_err(fault)? {
            // Service accounts are no business of a directory of people.
            if let Some(id) = subject.strip_prefix("user:") {
                let address = format!("{}/scim/v2/orgs/{}/Users/{id}", self.issuer, of.org_name);
                members.entry(team).or_default().push(json!({ "value": id, "type": "User", "$ref": address }));
            }
        }
        for below in &all {
            if let Some(parent) = below.parent {
                let address = format!("{}/scim/v2/orgs/{}/Groups/{}", self.issuer, of.org_name, below.id);
                members.entry(parent).or_default().push(json!({ "value": below.id, "type": "Group", "display": below.display_name, "$ref": address }));
            }
        }
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let link = links.get(&row.id);
            let mut resource = json!({
                "schemas": [SCHEMA], "id": row.id, "displayName": row.display_name, "members": members.remove(&row.id).unwrap_or_default(),
            });
            if let Some(outside) = self.open_outside(link.and_then(|l| l.external_id.as_deref())).await? {
                resource["externalId"] = json!(outside);
            }
            let address = format!("{}/scim/v2/orgs/{}/Groups/{}", self.issuer, of.org_name, row.id);
            found.push(with_meta(resource, KIND, &address, row.created_at, link.map_or(row.created_at, |l| l.changed_at)));
        }
        Ok(found)
    }

    async fn scim_team(&self, of: &Provisioner, id: &str) -> Result<TeamRow, ScimError> {
        let missing = || ScimError::missing("group", id);
        let id: TeamId = id.parse().map_err(|_| missing())?;
        groups::team_by_id(self.pool(), of.org, id).await.map_err(fault)?.ok_or_else(missing)
    }

    /// # Errors
    /// 404 also for groups of other organisations.
    pub async fn scim_group(&self, of: &Provisioner, id: &str) -> Result<Value, ScimError> {
        let row = self.scim_team(of, id).await?;
        self.render_groups(of, vec![row]).await?.pop().ok_or_else(|| ScimError::missing("group", id))
    }

    /// # Errors
    /// A group of this display name, or members that are not of the organisation.
    pub async fn scim_create_group(&self, of: &Provisioner, resource: &Value) -> Result<Value, ScimError> {
        let shown = text(resource, "displayName")?.ok_or_else(|| ScimError::invalid("displayName: is needed"))?;
        let members = self.scim_members(of, resource).await?;
        let state = self.teams.load(of.org).await.map_err(refused)?.state;
        if state.0.values().any(|t| t.display_name.eq_ignore_ascii_case(&shown)) {
            return Err(ScimError::new(409, "uniqueness", "there is a group of this displayName"));
        }
        let outside = text(resource, "externalId")?;
        // Before the team is made: what is refused leaves nothing behind.
        self.refuse_taken_outside(of, KIND, outside.as_deref(), None).await?;
        if let Some(id) = members.1.iter().find(|id| state.0.get(&TeamId(**id)).is_some_and(|below| below.parent.is_some())) {
            return Err(in_another(*id));
        }
        let name = free_name(&shown, |name| state.by_name(name).is_some());
        let (team, _) = self.create_team(of.org, &name, Some(&shown), None, of.meta()).await?;
        self.put_group_link(of, team, outside.as_deref()).await?;
        self.set_members(of, team, members).await?;
        self.scim_group(of, &team.to_string()).await
    }

    async fn put_group_link(&self, of: &Provisioner, team: TeamId, outside: Option<&str>) -> Result<(), ScimError> {
        let (external_key, external_id) = self.seal_outside(outside).await?;
        let now = self.now();
        let (user_name_key, user_name) = (None, None);
        let link = Link {
            org: of.org.0,
            kind: KIND.into(),
            id: team.0,
            external_key,
            external_id,
            user_name_key,
            user_name,
            managed: true,
            created_at: now,
            changed_at: now,
            attributes: None,
        };
        if scim::put_link(self.pool(), &link).await.map_err(fault)? { Ok(()) } else { Err(ScimError::new(409, "uniqueness", "externalId is in use")) }
    }

    /// People and teams that a group shall have.
    async fn scim_members(&self, of: &Provisioner, resource: &Value) -> Result<(BTreeSet<Uuid>, BTreeSet<Uuid>), ScimError> {
        let members = match attribute(resource, "members") {
            None => return Ok(Default::default()),
            Some(Value::Array(members)) => members,
            Some(_) => return Err(ScimError::invalid("members: must be a list")),
        };
        let (mut people, mut teams) = (BTreeSet::new(), BTreeSet::new());
        for member in members {
            let text = attribute(member, "value").and_then(Value::as_str).unwrap_or_default();
            let unknown = || ScimError::invalid(format!("members: `{text}` is no user or group of this organisation"));
            let id = Uuid::parse_str(text).map_err(|_| unknown())?;
            if directory::is_member(self.orm(), of.org, id).await.map_err(fault)? {
                people.insert(id);
            } else if groups::team_by_id(self.pool(), of.org, id.into()).await.map_err(fault)?.is_some() {
                teams.insert(id);
            } else {
                return Err(unknown());
            }
        }
        Ok((people, teams))
    }

    async fn set_members(&self, of: &Provisioner, team: TeamId, (people, below): (BTreeSet<Uuid>, BTreeSet<Uuid>)) -> Result<(), ScimError> {
        let now: BTreeSet<Uuid> = scim::team_members(self.pool(), of.org)
            .await
            .map_err(fault)?
            .into_iter()
            .filter(|(t, _)| *t == team.0)
            .filter_map(|(_, s)| s.strip_prefix("user:").and_then(|id| Uuid::parse_str(id).ok()))
            .collect();
        let state = self.teams.load(of.org).await.map_err(refused)?.state;
        let mut moves = Vec::new();
        for (id, other) in &state.0 {
            let parent = match (other.parent == Some(team), below.contains(&id.0)) {
                (true, false) => None,
                (false, true) => Some(team),
                _ => continue,
            };
            if parent.is_some() && other.parent.is_some() {
                return Err(in_another(id.0));
            }
            moves.push((*id, parent));
        }
        // What is refused is refused whole. Taking out gives nobody anything.
        if people.difference(&now).next().is_some() || moves.iter().any(|(_, parent)| parent.is_some()) {
            self.refuse_team_beyond_org(team)?;
        }
        let change = |id: &Uuid, is_in| (subject(UserId(*id)), is_in);
        let changes = people.difference(&now).map(|id| change(id, true)).chain(now.difference(&people).map(|id| change(id, false))).collect();
        self.put_many_in_team(of.org, team, changes, &of.meta()).await?;
        for (id, parent) in moves {
            self.change_team(of.org, id, None, Some(parent), Expect::Any, of.meta()).await?;
        }
        Ok(())
    }

    /// # Errors
    /// Members that are not of the organisation, or a circle of groups.
    pub async fn scim_replace_group(&self, of: &Provisioner, id: &str, resource: &Value) -> Result<Value, ScimError> {
        let row = self.scim_team(of, id).await?;
        let team = TeamId(row.id);
        let shown = text(resource, "displayName")?.ok_or_else(|| ScimError::invalid("displayName: is needed"))?;
        let outside = text(resource, "externalId")?;
        let members = self.scim_members(of, resource).await?;
        if !shown.eq_ignore_ascii_case(&row.display_name) {
            let state = self.teams.load(of.org).await.map_err(refused)?.state;
            if state.0.iter().any(|(id, other)| *id != team && other.display_name.eq_ignore_ascii_case(&shown)) {
                return Err(ScimError::new(409, "uniqueness", "there is a group of this displayName"));
            }
        }
        self.refuse_taken_outside(of, KIND, outside.as_deref(), Some(row.id)).await?;
        self.set_members(of, team, members).await?;
        self.change_team(of.org, team, Some(&shown), None, Expect::Any, of.meta()).await?;
        self.put_group_link(of, team, outside.as_deref()).await?;
        self.scim_group(of, id).await
    }

    /// # Errors
    /// While groups are below it.
    pub async fn scim_delete_group(&self, of: &Provisioner, id: &str) -> Result<(), ScimError> {
        let row = self.scim_team(of, id).await?;
        self.delete_team(of.org, row.id.into(), of.meta()).await?;
        scim::delete_link(self.pool(), of.org, KIND, row.id).await.map_err(fault)?;
        Ok(())
    }
}

fn in_another(group: Uuid) -> ScimError {
    ScimError::new(409, "mutability", format!("members: the group {group} is in another group already; a group is in one at most"))
}

/// A team's name made of what a directory shows: `Back End (EU)` → `back-end-eu`.
fn free_name(shown: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut name = String::new();
    for letter in shown.to_lowercase().chars() {
        match letter {
            'a'..='z' | '0'..='9' => name.push(letter),
            _ if !name.is_empty() && !name.ends_with('-') => name.push('-'),
            _ => {}
        }
    }
    let name: String = name.trim_matches('-').chars().take(50).collect();
    let name = name.trim_end_matches('-');
    let base = if Name::parse(name).is_ok() { name.to_owned() } else { format!("team-{name}").trim_end_matches('-').to_owned() };
    let mut candidates = std::iter::once(base.clone()).chain((2..).map(|n| format!("{base}-{n}")));
    candidates.find(|c| !taken(c)).unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_what_is_shown_and_is_free() {
        let free = |shown: &str, taken: &[&str]| free_name(shown, |n| taken.contains(&n));
        assert_eq!(free("Back End (EU)", &[]), "back-end-eu");
        assert_eq!(free("Back End", &["back-end", "back-end-2"]), "back-end-3");
        assert_eq!(free("2nd line", &[]), "team-2nd-line");
        assert_eq!(free("研发", &["team"]), "team-2");
        assert!(Name::parse(&free(&"x".repeat(200), &[])).is_ok());
    }
}
