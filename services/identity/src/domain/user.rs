//! One person: registered, changed, suspended, deleted. Personal values come in sealed and are never looked into here.

use gantry_contract::identity::UserEvent;
use gantry_es::{Ctx, Decider, Sealed};
use gantry_kernel::UserId;
use thiserror::Error;

pub struct User;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum State {
    #[default]
    Absent,
    Active {
        id: UserId,
    },
    Suspended {
        id: UserId,
    },
    Deleted,
}

#[derive(Clone, Debug)]
pub enum Command {
    Register(Registration),
    ChangeProfile {
        email: Option<Sealed>,
        display_name: Option<Sealed>,
    },
    ChangePassword {
        password_hash: Sealed,
        must_change_password: bool,
    },
    Suspend {
        reason: String,
    },
    RequirePasswordReset {
        reason: String,
    },
    /// All that `from` had is this one's now.
    Absorb {
        from: UserId,
    },
    Resume,
    Delete,
}

#[derive(Clone, Debug)]
pub struct Registration {
    pub user: UserId,
    pub username: Sealed,
    pub email: Sealed,
    pub display_name: Sealed,
    pub password_hash: Option<Sealed>,
    pub by_admin: bool,
    pub must_change_password: bool,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("there is no such user")]
    Unknown,
    #[error("this user exists already")]
    Exists,
    #[error("this user is suspended")]
    Suspended,
    #[error("a user cannot be merged with itself")]
    Same,
}

impl Decider for User {
    type State = State;
    type Command = Command;
    type Event = UserEvent;
    type Refusal = Refusal;

    fn decide(state: &State, command: Command, _: &Ctx) -> Result<Vec<UserEvent>, Refusal> {
        let (user, suspended) = match state {
            State::Absent | State::Deleted => {
                return match (state, command) {
                    (State::Absent, Command::Register(new)) => Ok(vec![registered(new)]),
                    _ => Err(Refusal::Unknown),
                };
            }
            State::Active { id } => (*id, false),
            State::Suspended { id } => (*id, true),
        };
        Ok(match command {
            Command::Register(_) => return Err(Refusal::Exists),
            // Names and addresses change also of people who are away for a while.
            Command::ChangePassword { .. } if suspended => return Err(Refusal::Suspended),
            Command::ChangeProfile { email: None, display_name: None } => vec![],
            Command::ChangeProfile { email, display_name } => vec![UserEvent::ProfileChanged { user, email, display_name }],
            Command::ChangePassword { password_hash, must_change_password } => {
                vec![UserEvent::PasswordChanged { user, password_hash, must_change_password }]
            }
            Command::RequirePasswordReset { reason } => vec![UserEvent::PasswordResetRequired { user, reason }],
            Command::Absorb { from } if from == user => return Err(Refusal::Same),
            Command::Absorb { from } => vec![UserEvent::Merged { user, from }],
            Command::Suspend { .. } if suspended => vec![],
            Command::Suspend { reason } => vec![UserEvent::Suspended { user, reason }],
            Command::Resume if !suspended => vec![],
            Command::Resume => vec![UserEvent::Resumed { user }],
            Command::Delete => vec![UserEvent::Deleted { user }],
        })
    }

    fn evolve(state: State, event: &UserEvent) -> State {
        match event {
            UserEvent::Registered { user, .. } | UserEvent::Resumed { user } => State::Active { id: *user },
            UserEvent::Suspended { user, .. } => State::Suspended { id: *user },
            UserEvent::Deleted { .. } => State::Deleted,
            UserEvent::ProfileChanged { .. } | UserEvent::PasswordChanged { .. } | UserEvent::PasswordResetRequired { .. } | UserEvent::Merged { .. } => state,
        }
    }
}

fn registered(new: Registration) -> UserEvent {
    let Registration { user, username, email, display_name, password_hash, by_admin, must_change_password } = new;
    UserEvent::Registered { user, username, email, display_name, password_hash, by_admin, must_change_password }
}

#[cfg(test)]
mod tests {
    use gantry_es::spec::given;
    use gantry_kernel::Uuid;

    use super::*;

    const ID: UserId = UserId(Uuid::from_u128(1));

    fn sealed(text: &str) -> Sealed {
        Sealed(text.into())
    }

    fn registration() -> Registration {
        Registration {
            user: ID,
            username: sealed("ada"),
            email: sealed("ada@example.org"),
            display_name: sealed("Ada"),
            password_hash: Some(sealed("hash")),
            by_admin: false,
            must_change_password: false,
        }
    }

    fn known() -> UserEvent {
        registered(registration())
    }

    fn suspended() -> UserEvent {
        UserEvent::Suspended { user: ID, reason: "left".into() }
    }

    #[test]
    fn a_new_user_is_registered_once() {
        given::<User>([]).when(Command::Register(registration())).then([known()]);
        given::<User>([known()]).when(Command::Register(registration())).then_refused(|r| *r == Refusal::Exists);
    }

    #[test]
    fn a_suspended_user_gets_no_password_until_resumed_but_may_be_renamed() {
        let rename = Command::ChangeProfile { email: None, display_name: Some(sealed("Ada K")) };
        let renamed = UserEvent::ProfileChanged { user: ID, email: None, display_name: Some(sealed("Ada K")) };
        given::<User>([known(), suspended()]).when(rename).then([renamed.clone()]);
        given::<User>([known(), suspended(), renamed]).when(Command::Resume).then([UserEvent::Resumed { user: ID }]);
        let change = || Command::ChangePassword { password_hash: sealed("new"), must_change_password: false };
        given::<User>([known()]).when(Command::Suspend { reason: "left".into() }).then([suspended()]);
        given::<User>([known(), suspended()]).when(change()).then_refused(|r| *r == Refusal::Suspended);
        given::<User>([known(), suspended()]).when(Command::Resume).then([UserEvent::Resumed { user: ID }]);
        given::<User>([known(), suspended(), UserEvent::Resumed { user: ID }]).when(change()).then([UserEvent::PasswordChanged {
            user: ID,
            password_hash: sealed("new"),
            must_change_password: false,
        }]);
    }

    #[test]
    fn repeating_a_suspension_or_an_empty_change_decides_nothing() {
        given::<User>([known(), suspended()]).when(Command::Suspend { reason: "again".into() }).then([]);
        given::<User>([known()]).when(Command::Resume).then([]);
        given::<User>([known()]).when(Command::ChangeProfile { email: None, display_name: None }).then([]);
    }

    #[test]
    fn a_user_absorbs_another_but_not_itself_and_can_be_made_to_reset() {
        let from = UserId(Uuid::from_u128(2));
        given::<User>([known()]).when(Command::Absorb { from }).then([UserEvent::Merged { user: ID, from }]);
        given::<User>([known()]).when(Command::Absorb { from: ID }).then_refused(|r| *r == Refusal::Same);
        let required = UserEvent::PasswordResetRequired { user: ID, reason: "leak".into() };
        given::<User>([known()]).when(Command::RequirePasswordReset { reason: "leak".into() }).then([required]);
    }

    #[test]
    fn a_deleted_user_is_gone_for_good() {
        given::<User>([known()]).when(Command::Delete).then([UserEvent::Deleted { user: ID }]);
        given::<User>([known(), UserEvent::Deleted { user: ID }]).when(Command::Resume).then_refused(|r| *r == Refusal::Unknown);
        given::<User>([]).when(Command::Delete).then_refused(|r| *r == Refusal::Unknown);
    }
}
