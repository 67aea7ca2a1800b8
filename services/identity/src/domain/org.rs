//! An organisation with its members, projects and spaces: names are unique inside it, so one aggregate keeps them.

use std::collections::{BTreeMap, BTreeSet};

use gantry_contract::identity::OrgEvent;
use gantry_es::{Ctx, Decider};
use gantry_kernel::{Name, OrgId, ProjectId, SpaceId, UserId};
use thiserror::Error;

/// More of them in one organisation is a mistake or an attack.
const MAX_PROJECTS: usize = 2_000;
const MAX_SPACES: usize = 50;

pub struct Org;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum State {
    #[default]
    Absent,
    Present(Present),
    Deleted,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Present {
    pub org: OrgId,
    pub name: Name,
    pub display_name: String,
    pub owner: UserId,
    pub members: BTreeSet<UserId>,
    pub projects: BTreeMap<Name, Project>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    pub id: ProjectId,
    pub public: bool,
    pub spaces: BTreeMap<Name, SpaceId>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create {
        org: OrgId,
        name: Name,
        display_name: String,
        owner: UserId,
    },
    Rename {
        display_name: String,
    },
    AddMember {
        user: UserId,
    },
    /// Many at once: one event each, one decision.
    AddMembers {
        users: Vec<UserId>,
    },
    /// The new owner becomes a member, too.
    ChangeOwner {
        to: UserId,
    },
    RemoveMember {
        user: UserId,
    },
    CreateProject {
        project: ProjectId,
        name: Name,
        public: bool,
    },
    DeleteProject {
        name: Name,
    },
    CreateSpace {
        project: Name,
        space: SpaceId,
        name: Name,
    },
    DeleteSpace {
        project: Name,
        name: Name,
    },
    Delete,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("there is no such organisation")]
    Unknown,
    #[error("this organisation exists already")]
    Exists,
    #[error("there is no project `{0}`")]
    NoProject(Name),
    #[error("there is no space `{0}`")]
    NoSpace(Name),
    #[error("the project `{0}` exists already")]
    ProjectExists(Name),
    #[error("the space `{0}` exists already")]
    SpaceExists(Name),
    #[error("an organisation has at most {MAX_PROJECTS} projects and a project at most {MAX_SPACES} spaces")]
    TooMany,
    #[error("the owner cannot leave the organisation")]
    OwnerStays,
}

impl Decider for Org {
    type State = State;
    type Command = Command;
    type Event = OrgEvent;
    type Refusal = Refusal;

    fn decide(state: &State, command: Command, _: &Ctx) -> Result<Vec<OrgEvent>, Refusal> {
        match (state, command) {
            (State::Absent, Command::Create { org, name, display_name, owner }) => {
                Ok(vec![OrgEvent::Created { org, name, display_name, owner }, OrgEvent::MemberAdded { org, user: owner }])
            }
            (State::Absent | State::Deleted, _) => Err(Refusal::Unknown),
            (State::Present(it), command) => decide_present(it, command),
        }
    }

    fn evolve(state: State, event: &OrgEvent) -> State {
        let mut it = match (state, event) {
            (_, OrgEvent::Created { org, name, display_name, owner }) => Present {
                org: *org,
                name: name.clone(),
                display_name: display_name.clone(),
                owner: *owner,
                members: BTreeSet::new(),
                projects: BTreeMap::new(),
            },
            (State::Present(_), OrgEvent::Deleted { .. }) => return State::Deleted,
            (State::Present(it), _) => it,
            (state, _) => return state,
        };
        evolve_present(&mut it, event);
        State::Present(it)
    }
}

fn decide_present(it: &Present, command: Command) -> Result<Vec<OrgEvent>, Refusal> {
    let org = it.org;
    let project = |name: &Name| it.projects.get(name).ok_or_else(|| Refusal::NoProject(name.clone()));
    Ok(match command {
        Command::Create { .. } => return Err(Refusal::Exists),
        Command::Rename { display_name } if display_name == it.display_name => vec![],
        Command::Rename { display_name } => vec![OrgEvent::Renamed { org, display_name }],
        Command::ChangeOwner { to } if to == it.owner => vec![],
        Command::ChangeOwner { to } => {
            let member = (!it.members.contains(&to)).then_some(OrgEvent::MemberAdded { org, user: to });
            member.into_iter().chain([OrgEvent::OwnerChanged { org, owner: to }]).collect()
        }
        Command::AddMember { user } if it.members.contains(&user) => vec![],
        Command::AddMember { user } => vec![OrgEvent::MemberAdded { org, user }],
        Command::AddMembers { users } => {
            let fresh: BTreeSet<UserId> = users.into_iter().filter(|user| !it.members.contains(user)).collect();
            fresh.into_iter().map(|user| OrgEvent::MemberAdded { org, user }).collect()
        }
        Command::RemoveMember { user } if user == it.owner => return Err(Refusal::OwnerStays),
        Command::RemoveMember { user } if it.members.contains(&user) => vec![OrgEvent::MemberRemoved { org, user }],
        Command::RemoveMember { .. } => vec![],
        Command::CreateProject { name, .. } if it.projects.contains_key(&name) => return Err(Refusal::ProjectExists(name)),
        Command::CreateProject { .. } if it.projects.len() >= MAX_PROJECTS => return Err(Refusal::TooMany),
        Command::CreateProject { project, name, public } => {
            vec![OrgEvent::ProjectCreated { org, org_name: it.name.clone(), project, name, public }]
        }
        Command::DeleteProject { name } => {
            let found = project(&name)?;
            let spaces =
                found.spaces.iter().map(|(space_name, space)| OrgEvent::SpaceDeleted { org, project: found.id, space: *space, name: space_name.clone() });
            spaces.chain([OrgEvent::ProjectDeleted { org, project: found.id, name: name.clone() }]).collect()
        }
        Command::CreateSpace { project: of, space, name } => {
            let found = project(&of)?;
            if found.spaces.contains_key(&name) {
                return Err(Refusal::SpaceExists(name));
            }
            if found.spaces.len() >= MAX_SPACES {
                return Err(Refusal::TooMany);
            }
            vec![OrgEvent::SpaceCreated { org, project: found.id, space, name }]
        }
        Command::DeleteSpace { project: of, name } => {
            let found = project(&of)?;
            let space = *found.spaces.get(&name).ok_or_else(|| Refusal::NoSpace(name.clone()))?;
            vec![OrgEvent::SpaceDeleted { org, project: found.id, space, name }]
        }
        Command::Delete => delete_all(it),
    })
}

/// Everything goes with the organisation, innermost first, so that every service hears of each part it has to remove.
fn delete_all(it: &Present) -> Vec<OrgEvent> {
    let org = it.org;
    let mut events = Vec::new();
    for (name, project) in &it.projects {
        for (space_name, space) in &project.spaces {
            events.push(OrgEvent::SpaceDeleted { org, project: project.id, space: *space, name: space_name.clone() });
        }
        events.push(OrgEvent::ProjectDeleted { org, project: project.id, name: name.clone() });
    }
    events.push(OrgEvent::Deleted { org, name: it.name.clone() });
    events
}

fn evolve_present(it: &mut Present, event: &OrgEvent) {
    match event {
        OrgEvent::Created { .. } | OrgEvent::Deleted { .. } => {}
        OrgEvent::Renamed { display_name, .. } => it.display_name.clone_from(display_name),
        OrgEvent::OwnerChanged { owner, .. } => it.owner = *owner,
        OrgEvent::MemberAdded { user, .. } => {
            it.members.insert(*user);
        }
        OrgEvent::MemberRemoved { user, .. } => {
            it.members.remove(user);
        }
        OrgEvent::ProjectCreated { project, name, public, .. } => {
            it.projects.insert(name.clone(), Project { id: *project, public: *public, spaces: BTreeMap::new() });
        }
        OrgEvent::ProjectDeleted { name, .. } => {
            it.projects.remove(name);
        }
        OrgEvent::SpaceCreated { project, space, name, .. } => {
            if let Some(found) = it.projects.values_mut().find(|p| p.id == *project) {
                found.spaces.insert(name.clone(), *space);
            }
        }
        OrgEvent::SpaceDeleted { project, name, .. } => {
            if let Some(found) = it.projects.values_mut().find(|p| p.id == *project) {
                found.spaces.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
