//! A service account: a program's name in an organisation. Roles are bound to it as to a person; for the registry it may
//! also be given repositories directly. Its keys are no events: they are kept as hashes in a table.

use gantry_contract::identity::{RepositoryGrant, RobotEvent};
use gantry_es::{Ctx, Decider};
use gantry_kernel::{Name, OrgId, Uuid};
use thiserror::Error;

pub struct Robot;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum State {
    #[default]
    Absent,
    Present(Present),
    Deleted,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Present {
    pub robot: Uuid,
    pub org: OrgId,
    pub name: Name,
    pub description: String,
    pub repositories: Vec<RepositoryGrant>,
    pub suspended: bool,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create { robot: Uuid, org: OrgId, name: Name, description: String, repositories: Vec<RepositoryGrant> },
    Change { description: Option<String>, repositories: Option<Vec<RepositoryGrant>> },
    Suspend { reason: String },
    Resume,
    Delete,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("there is no such service account")]
    Unknown,
    #[error("this service account exists already")]
    Exists,
}

impl Decider for Robot {
    type State = State;
    type Command = Command;
    type Event = RobotEvent;
    type Refusal = Refusal;

    fn decide(state: &State, command: Command, _: &Ctx) -> Result<Vec<RobotEvent>, Refusal> {
        let it = match (state, &command) {
            (State::Absent, Command::Create { .. }) => None,
            (State::Present(_) | State::Deleted, Command::Create { .. }) => return Err(Refusal::Exists),
            (State::Absent | State::Deleted, _) => return Err(Refusal::Unknown),
            (State::Present(it), _) => Some(it),
        };
        let Some(it) = it else {
            let Command::Create { robot, org, name, description, repositories } = command else { return Err(Refusal::Unknown) };
            return Ok(vec![RobotEvent::Created { robot, org, name, description, repositories }]);
        };
        let (robot, org) = (it.robot, it.org);
        Ok(match command {
            Command::Create { .. } => return Err(Refusal::Exists),
            Command::Change { description, repositories } => {
                let description = description.unwrap_or_else(|| it.description.clone());
                let repositories = repositories.unwrap_or_else(|| it.repositories.clone());
                let same = description == it.description && repositories == it.repositories;
                if same { vec![] } else { vec![RobotEvent::Changed { robot, org, description, repositories }] }
            }
            Command::Suspend { .. } if it.suspended => vec![],
            Command::Suspend { reason } => vec![RobotEvent::Suspended { robot, org, reason }],
            Command::Resume if !it.suspended => vec![],
            Command::Resume => vec![RobotEvent::Resumed { robot, org }],
            Command::Delete => vec![RobotEvent::Deleted { robot, org, name: it.name.clone() }],
        })
    }

    fn evolve(state: State, event: &RobotEvent) -> State {
        match (state, event) {
            (_, RobotEvent::Created { robot, org, name, description, repositories }) => State::Present(Present {
                robot: *robot,
                org: *org,
                name: name.clone(),
                description: description.clone(),
                repositories: repositories.clone(),
                suspended: false,
            }),
            (State::Present(it), RobotEvent::Changed { description, repositories, .. }) => {
                State::Present(Present { description: description.clone(), repositories: repositories.clone(), ..it })
            }
            (State::Present(it), RobotEvent::Suspended { .. }) => State::Present(Present { suspended: true, ..it }),
            (State::Present(it), RobotEvent::Resumed { .. }) => State::Present(Present { suspended: false, ..it }),
            (_, RobotEvent::Deleted { .. }) => State::Deleted,
            (state, _) => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_es::spec::given;

    use super::*;

    const ROBOT: Uuid = Uuid::from_u128(1);
    const ORG: OrgId = OrgId(Uuid::from_u128(2));

    fn name() -> Name {
        Name::parse("deployer").unwrap()
    }

    fn created() -> RobotEvent {
        RobotEvent::Created { robot: ROBOT, org: ORG, name: name(), description: String::new(), repositories: vec![] }
    }

    #[test]
    fn a_service_account_is_created_once_and_gone_for_good() {
        let create = || Command::Create { robot: ROBOT, org: ORG, name: name(), description: String::new(), repositories: vec![] };
        let deleted = RobotEvent::Deleted { robot: ROBOT, org: ORG, name: name() };
        given::<Robot>([]).when(create()).then([created()]);
        given::<Robot>([created()]).when(create()).then_refused(|r| *r == Refusal::Exists);
        given::<Robot>([created()]).when(Command::Delete).then([deleted.clone()]);
        given::<Robot>([created(), deleted]).when(Command::Resume).then_refused(|r| *r == Refusal::Unknown);
        given::<Robot>([]).when(Command::Delete).then_refused(|r| *r == Refusal::Unknown);
    }

    #[test]
    fn it_is_suspended_and_resumed_and_changes_only_when_something_differs() {
        let suspended = RobotEvent::Suspended { robot: ROBOT, org: ORG, reason: "leaked".into() };
        given::<Robot>([created()]).when(Command::Suspend { reason: "leaked".into() }).then([suspended.clone()]);
        given::<Robot>([created(), suspended.clone()]).when(Command::Suspend { reason: "again".into() }).then([]);
        given::<Robot>([created(), suspended]).when(Command::Resume).then([RobotEvent::Resumed { robot: ROBOT, org: ORG }]);
        given::<Robot>([created()]).when(Command::Change { description: Some(String::new()), repositories: None }).then([]);
    }
}
