//! A custom role: a named set of published permissions, of one organisation or of the platform.

use gantry_contract::identity::RoleEvent;
use gantry_es::{Ctx, Decider};
use gantry_kernel::{Name, OrgId, RoleId};
use thiserror::Error;

/// More than the published list has, with room for what older versions wrote.
const MOST_PERMISSIONS: usize = 200;

pub struct CustomRole;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum State {
    #[default]
    Absent,
    Present(Present),
    Deleted,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Present {
    pub role: RoleId,
    pub org: Option<OrgId>,
    pub name: Name,
    pub description: String,
    pub permissions: Vec<String>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Define(Present),
    Change { description: Option<String>, permissions: Option<Vec<String>> },
    Delete,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("there is no such role")]
    Unknown,
    #[error("this role exists already")]
    Exists,
    #[error("a role has 1 to {MOST_PERMISSIONS} permissions")]
    Permissions,
}

/// In order and once each, so that equal roles are equal.
fn tidy(mut permissions: Vec<String>) -> Result<Vec<String>, Refusal> {
    permissions.sort();
    permissions.dedup();
    if (1..=MOST_PERMISSIONS).contains(&permissions.len()) { Ok(permissions) } else { Err(Refusal::Permissions) }
}

impl Decider for CustomRole {
    type State = State;
    type Command = Command;
    type Event = RoleEvent;
    type Refusal = Refusal;

    fn decide(state: &State, command: Command, _: &Ctx) -> Result<Vec<RoleEvent>, Refusal> {
        let it = match (state, command) {
            (State::Absent, Command::Define(Present { role, org, name, description, permissions })) => {
                return Ok(vec![RoleEvent::Defined { role, org, name, description, permissions: tidy(permissions)? }]);
            }
            (State::Present(_) | State::Deleted, Command::Define(_)) => return Err(Refusal::Exists),
            (State::Absent | State::Deleted, _) => return Err(Refusal::Unknown),
            (State::Present(it), command) => (it, command),
        };
        let (it, command) = it;
        Ok(match command {
            Command::Define(_) => return Err(Refusal::Exists),
            Command::Change { description, permissions } => {
                let description = description.unwrap_or_else(|| it.description.clone());
                let permissions = permissions.map_or_else(|| Ok(it.permissions.clone()), tidy)?;
                if description == it.description && permissions == it.permissions {
                    vec![]
                } else {
                    vec![RoleEvent::Changed { role: it.role, description, permissions }]
                }
            }
            Command::Delete => vec![RoleEvent::Deleted { role: it.role }],
        })
    }

    fn evolve(state: State, event: &RoleEvent) -> State {
        match (state, event) {
            (_, RoleEvent::Defined { role, org, name, description, permissions }) => {
                State::Present(Present { role: *role, org: *org, name: name.clone(), description: description.clone(), permissions: permissions.clone() })
            }
            (State::Present(it), RoleEvent::Changed { description, permissions, .. }) => {
                State::Present(Present { description: description.clone(), permissions: permissions.clone(), ..it })
            }
            (_, RoleEvent::Deleted { .. }) => State::Deleted,
            (state, RoleEvent::Changed { .. }) => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_es::spec::given;
    use gantry_kernel::Uuid;

    use super::*;

    const ID: RoleId = RoleId(Uuid::from_u128(1));

    fn define(permissions: &[&str]) -> Command {
        let permissions = permissions.iter().map(|p| (*p).to_owned()).collect();
        Command::Define(Present { role: ID, org: None, name: Name::parse("ops").unwrap(), description: String::new(), permissions })
    }

    fn defined() -> RoleEvent {
        let permissions = vec!["apps.read".into(), "images.pull".into()];
        RoleEvent::Defined { role: ID, org: None, name: Name::parse("ops").unwrap(), description: String::new(), permissions }
    }

    #[test]
    fn a_role_is_defined_once_with_its_permissions_in_order() {
        given::<CustomRole>([]).when(define(&["images.pull", "apps.read", "images.pull"])).then([defined()]);
        given::<CustomRole>([defined()]).when(define(&["apps.read"])).then_refused(|r| *r == Refusal::Exists);
        given::<CustomRole>([]).when(define(&[])).then_refused(|r| *r == Refusal::Permissions);
    }

    #[test]
    fn a_change_that_changes_nothing_is_no_event_and_a_deleted_role_is_gone() {
        let same = Command::Change { description: None, permissions: Some(vec!["images.pull".into(), "apps.read".into()]) };
        given::<CustomRole>([defined()]).when(same).then([]);
        let change = || Command::Change { description: None, permissions: Some(vec!["apps.read".into()]) };
        let changed = RoleEvent::Changed { role: ID, description: String::new(), permissions: vec!["apps.read".into()] };
        given::<CustomRole>([defined()]).when(change()).then([changed]);
        given::<CustomRole>([defined(), RoleEvent::Deleted { role: ID }]).when(change()).then_refused(|r| *r == Refusal::Unknown);
        given::<CustomRole>([defined()]).when(Command::Delete).then([RoleEvent::Deleted { role: ID }]);
    }
}
