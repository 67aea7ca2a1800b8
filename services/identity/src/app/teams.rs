//! Teams of an organisation and who is in them.

use gantry_contract::identity::MembershipEvent;
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::{Append, Executed, Expect, Options, StreamWrite};
use gantry_kernel::{Name, OrgId, Problem, TeamId, UserId};

use crate::app::App;
use crate::app::orgs::{display_name, name_of};
use crate::app::people::subject;
use crate::domain::binding::Subject;
use crate::domain::membership::{self, Put};
use crate::domain::teams::{Command, State, Team};
use crate::error::{fault, refused};
use crate::store::{directory, groups};

/// One append takes in so many memberships.
const AT_ONCE: usize = 500;

impl App {
    /// A team by name or id.
    ///
    /// # Errors
    /// When there is none in this organisation.
    pub async fn find_team(&self, org: OrgId, text: &str) -> Result<groups::TeamRow, Problem> {
        let found = match text.strip_prefix("team:").unwrap_or(text).parse::<TeamId>() {
            Ok(id) => groups::team_by_id(self.pool(), org, id).await,
            Err(_) => groups::team(self.pool(), org, text.strip_prefix("team:").unwrap_or(text)).await,
        };
        found.map_err(fault)?.ok_or_else(|| Problem::not_found("team", text))
    }

    /// # Errors
    /// A taken name, an unknown parent, or teams nested too deep.
    pub async fn create_team(&self, org: OrgId, name: &str, shown: Option<&str>, parent: Option<TeamId>, meta: Meta) -> Result<(TeamId, i64), Problem> {
        let name = name_of("name", name)?;
        let display_name = display_name(shown.unwrap_or(name.as_str()))?;
        let team = TeamId(self.host.env.uuid());
        let command = Command::Create { org, team, name: name.clone(), display_name, parent };
        let executed = self.change_teams(org, command, Expect::Any, meta).await?;
        // A repeated command answers with the team it made the first time.
        let made = executed.state.by_name(name.as_str()).map_or(team, |(id, _)| id);
        Ok((made, executed.version))
    }

    /// Renames, or hangs below another team. `parent: Some(None)` makes it a team of its own.
    ///
    /// # Errors
    /// A circle, a stale version.
    pub async fn change_team(
        &self,
        org: OrgId,
        team: TeamId,
        shown: Option<&str>,
        parent: Option<Option<TeamId>>,
        expect: Expect,
        meta: Meta,
    ) -> Result<Team, Problem> {
        let mut expect = expect;
        let mut state = self.teams.load(org).await.map_err(refused)?.state;
        if let Some(shown) = shown {
            let command = Command::Rename { org, team, display_name: display_name(shown)? };
            state = self.change_teams(org, command, std::mem::take(&mut expect), Meta { command_id: None, ..meta.clone() }).await?.state;
        }
        if let Some(parent) = parent {
            state = self.change_teams(org, Command::Move { org, team, parent }, expect, Meta { command_id: None, ..meta }).await?.state;
        }
        state.0.remove(&team).ok_or_else(|| Problem::not_found("team", team))
    }

    /// Deletes a team with all that it was given.
    ///
    /// # Errors
    /// While other teams are below it.
    pub async fn delete_team(&self, org: OrgId, team: TeamId, meta: Meta) -> Result<(), Problem> {
        // The check first: bindings must not go when the team stays.
        let state = self.teams.load(org).await.map_err(refused)?.state;
        if !state.0.values().any(|t| t.parent == Some(team)) {
            self.revoke_all(&Subject::Team(team).to_string(), &meta).await?;
        }
        self.change_teams(org, Command::Delete { org, team }, Expect::Any, Meta { command_id: None, ..meta }).await.map(|_| ())
    }

    async fn change_teams(&self, org: OrgId, command: Command, expect: Expect, meta: Meta) -> Result<Executed<State>, Problem> {
        let executed = self.teams.execute(org, command, Options { meta: meta.tenant(org), expect, ..Options::default() }).await.map_err(refused)?;
        self.settled(executed.position).await;
        Ok(executed)
    }

    /// Puts one subject in or out.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_in_team(&self, org: OrgId, team: TeamId, subject: &str, is_in: bool, meta: Meta) -> Result<(), Problem> {
        let put = Put { org, team, subject: subject.to_owned(), is_in };
        let meta = Meta { command_id: None, ..meta.tenant(org) };
        let executed = self.memberships.execute(membership::key(team, subject), put, Options::from(meta)).await.map_err(refused)?;
        self.settled(executed.position).await;
        Ok(())
    }

    /// Puts many people in or out at once: what `changes` says of those who are not so yet.
    ///
    /// # Errors
    /// When somebody else changes the same memberships at the same moment, or the database refuses.
    pub async fn put_many_in_team(&self, org: OrgId, team: TeamId, changes: Vec<(String, bool)>, meta: &Meta) -> Result<(), Problem> {
        let mut last = 0;
        for part in changes.chunks(AT_ONCE) {
            let mut writes = Vec::with_capacity(part.len());
            for (subject, is_in) in part {
                let loaded = self.memberships.load(membership::key(team, subject)).await.map_err(refused)?;
                if loaded.state.is_in == *is_in {
                    continue;
                }
                let event = if *is_in {
                    MembershipEvent::Added { org, team, subject: subject.clone() }
                } else {
                    MembershipEvent::Removed { org, team, subject: subject.clone() }
                };
                let stream = StreamId::of::<MembershipEvent>(membership::key(team, subject));
                writes.push(StreamWrite { stream, expected: Some(loaded.version), events: vec![event.encode()] });
            }
            if writes.is_empty() {
                continue;
            }
            let append = Append { writes, claims: Vec::new(), meta: Meta { command_id: None, ..meta.clone().tenant(org) } };
            last = self.host.log().append(append).await.map_err(|e| Problem::unavailable("the log").with_source(e))?.position;
        }
        self.settled(last).await;
        Ok(())
    }

    /// A member of a team as paths name it: a member of the organisation, or one of its service accounts (`robot:<name>`).
    ///
    /// # Errors
    /// When there is none.
    pub async fn team_subject(&self, org: OrgId, text: &str) -> Result<String, Problem> {
        let missing = || Problem::not_found("member of the organisation", text);
        match self.find_subject(text, Some(org)).await.map_err(|_| missing())? {
            Subject::User(user) if directory::is_member(self.orm(), org, user.0).await.map_err(fault)? => Ok(subject(user)),
            Subject::Robot(robot) => {
                let found = groups::robot_by_id(self.pool(), robot).await.map_err(fault)?.filter(|r| r.org == org.0);
                found.map(|r| format!("robot:{}", r.id)).ok_or_else(missing)
            }
            Subject::Team(_) => Err(Problem::invalid("subject", "a team is put below another one by its `parent`")),
            Subject::User(_) => Err(missing()),
        }
    }

    /// The names of subjects: user names, `team:<name>`, `robot:<name>`. Who is erased has none.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn subject_name(&self, text: &str) -> Result<Option<String>, Problem> {
        Ok(match text.parse::<Subject>() {
            Ok(Subject::User(UserId(id))) => self.person(UserId(id)).await?.map(|p| p.username),
            Ok(Subject::Team(team)) => self.host.auth.read(|r| r.team(team).map(|t| format!("team:{}", t.name))),
            Ok(Subject::Robot(robot)) => groups::robot_by_id(self.pool(), robot).await.map_err(fault)?.map(|r| format!("robot:{}", r.name)),
            Err(_) => text.strip_prefix("service:").map(str::to_owned),
        })
    }

    pub fn team_name(&self, team: TeamId) -> Option<Name> {
        self.host.auth.read(|r| r.team(team).map(|t| t.name.clone()))
    }
}
