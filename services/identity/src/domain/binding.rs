//! A role given to a subject at a scope. Granted once, revoked once; changing it means another binding.

use gantry_contract::identity::{BindingEvent, Condition, RoleRef};
use gantry_es::{Ctx, Decider};
use gantry_kernel::{BindingId, Scope, TeamId, UserId, Uuid};
use thiserror::Error;

pub struct Binding;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum State {
    #[default]
    Absent,
    Granted {
        binding: BindingId,
        subject: String,
        role: RoleRef,
        scope: Scope,
    },
    Revoked,
}

#[derive(Clone, Debug)]
pub enum Command {
    Grant { binding: BindingId, subject: Subject, role: RoleRef, scope: Scope, condition: Option<Condition> },
    Revoke,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("there is no such binding")]
    Unknown,
    #[error("this binding exists already")]
    Exists,
}

/// Who a binding is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    User(UserId),
    Robot(Uuid),
    Team(TeamId),
}

#[derive(Debug, Error)]
#[error("must be `user:<id>`, `team:<id>` or `robot:<id>`")]
pub struct SubjectError;

impl std::str::FromStr for Subject {
    type Err = SubjectError;
    fn from_str(text: &str) -> Result<Self, SubjectError> {
        match text.split_once(':') {
            Some(("user", id)) => Ok(Self::User(id.parse().map_err(|_| SubjectError)?)),
            Some(("robot", id)) => Ok(Self::Robot(Uuid::parse_str(id).map_err(|_| SubjectError)?)),
            Some(("team", id)) => Ok(Self::Team(id.parse().map_err(|_| SubjectError)?)),
            _ => Err(SubjectError),
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Robot(id) => write!(f, "robot:{id}"),
            Self::Team(id) => write!(f, "team:{id}"),
        }
    }
}

impl Decider for Binding {
    type State = State;
    type Command = Command;
    type Event = BindingEvent;
    type Refusal = Refusal;

    fn decide(state: &State, command: Command, _: &Ctx) -> Result<Vec<BindingEvent>, Refusal> {
        match (state, command) {
            (State::Absent, Command::Grant { binding, subject, role, scope, condition }) => {
                // An empty condition is none.
                let condition = condition.filter(|c| *c != Condition::default());
                Ok(vec![BindingEvent::Granted { binding, subject: subject.to_string(), role, scope, condition }])
            }
            (_, Command::Grant { .. }) => Err(Refusal::Exists),
            (State::Absent, Command::Revoke) => Err(Refusal::Unknown),
            (State::Granted { binding, subject, role, scope }, Command::Revoke) => {
                Ok(vec![BindingEvent::Revoked { binding: *binding, subject: subject.clone(), role: *role, scope: *scope }])
            }
            (State::Revoked, Command::Revoke) => Ok(vec![]),
        }
    }

    fn evolve(_: State, event: &BindingEvent) -> State {
        match event {
            BindingEvent::Granted { binding, subject, role, scope, .. } => {
                State::Granted { binding: *binding, subject: subject.clone(), role: *role, scope: *scope }
            }
            BindingEvent::Revoked { .. } => State::Revoked,
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_es::spec::given;
    use gantry_kernel::Role;

    use super::*;

    const ID: BindingId = BindingId(Uuid::from_u128(1));
    const USER: Subject = Subject::User(UserId(Uuid::from_u128(2)));

    fn grant() -> Command {
        Command::Grant { binding: ID, subject: USER, role: Role::Admin.into(), scope: Scope::Platform, condition: Some(Condition::default()) }
    }

    fn granted() -> BindingEvent {
        BindingEvent::Granted { binding: ID, subject: USER.to_string(), role: Role::Admin.into(), scope: Scope::Platform, condition: None }
    }

    fn revoked() -> BindingEvent {
        BindingEvent::Revoked { binding: ID, subject: USER.to_string(), role: Role::Admin.into(), scope: Scope::Platform }
    }

    #[test]
    fn a_binding_is_granted_once_and_revoked_once() {
        given::<Binding>([]).when(grant()).then([granted()]);
        given::<Binding>([granted()]).when(grant()).then_refused(|r| *r == Refusal::Exists);
        given::<Binding>([granted()]).when(Command::Revoke).then([revoked()]);
        given::<Binding>([granted(), revoked()]).when(Command::Revoke).then([]);
        given::<Binding>([granted(), revoked()]).when(grant()).then_refused(|r| *r == Refusal::Exists);
        given::<Binding>([]).when(Command::Revoke).then_refused(|r| *r == Refusal::Unknown);
    }

    #[test]
    fn a_subject_has_a_known_type_and_an_id() {
        let id = Uuid::from_u128(7);
        for good in [format!("user:{id}"), format!("robot:{id}"), format!("team:{id}")] {
            assert_eq!(good.parse::<Subject>().unwrap().to_string(), good);
        }
        for bad in ["user:ada", "group:1", "user", ""] {
            assert!(bad.parse::<Subject>().is_err(), "{bad}");
        }
    }
}
