//! The factors of one person beside the password: added, removed, and the recovery codes that stand in for them.

use std::collections::BTreeMap;

use gantry_contract::factor::{FactorEvent, FactorKind};
use gantry_es::{Ctx, Decider, Sealed};
use gantry_kernel::{UserId, Uuid};
use thiserror::Error;

const MAX_FACTORS: usize = 20;

pub struct Factors;

pub type State = BTreeMap<Uuid, FactorKind>;

#[derive(Clone, Debug)]
pub enum Command {
    Add { user: UserId, factor: Uuid, kind: FactorKind, secret: Sealed, label: Sealed },
    Remove { user: UserId, factor: Uuid },
    MakeRecoveryCodes { user: UserId, codes: Sealed },
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("there is no such factor")]
    Unknown,
    #[error("there are {MAX_FACTORS} factors already: remove some first")]
    TooMany,
    #[error("there is no factor that recovery codes could stand in for: add one first")]
    NothingToRecover,
}

impl Decider for Factors {
    type State = State;
    type Command = Command;
    type Event = FactorEvent;
    type Refusal = Refusal;

    fn decide(state: &State, command: Command, _: &Ctx) -> Result<Vec<FactorEvent>, Refusal> {
        Ok(match command {
            Command::Add { factor, .. } if state.contains_key(&factor) => vec![],
            Command::Add { .. } if state.len() >= MAX_FACTORS => return Err(Refusal::TooMany),
            Command::Add { user, factor, kind, secret, label } => vec![FactorEvent::Added { user, factor, factor_kind: kind, secret, label }],
            Command::Remove { factor, .. } if !state.contains_key(&factor) => return Err(Refusal::Unknown),
            Command::Remove { user, factor } => vec![FactorEvent::Removed { user, factor }],
            Command::MakeRecoveryCodes { .. } if state.is_empty() => return Err(Refusal::NothingToRecover),
            Command::MakeRecoveryCodes { user, codes } => vec![FactorEvent::RecoveryCodesMade { user, codes }],
        })
    }

    fn evolve(mut state: State, event: &FactorEvent) -> State {
        match event {
            FactorEvent::Added { factor, factor_kind, .. } => {
                state.insert(*factor, *factor_kind);
            }
            FactorEvent::Removed { factor, .. } => {
                state.remove(factor);
            }
            FactorEvent::RecoveryCodesMade { .. } => {}
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use gantry_es::spec::given;

    use super::*;

    const USER: UserId = UserId(Uuid::from_u128(1));
    const FACTOR: Uuid = Uuid::from_u128(2);

    fn sealed(text: &str) -> Sealed {
        Sealed(text.into())
    }

    fn add(factor: Uuid) -> Command {
        Command::Add { user: USER, factor, kind: FactorKind::Totp, secret: sealed("s"), label: sealed("l") }
    }

    fn added(factor: Uuid) -> FactorEvent {
        FactorEvent::Added { user: USER, factor, factor_kind: FactorKind::Totp, secret: sealed("s"), label: sealed("l") }
    }

    #[test]
    fn a_factor_is_added_once_and_removed_once() {
        given::<Factors>([]).when(add(FACTOR)).then([added(FACTOR)]);
        given::<Factors>([added(FACTOR)]).when(add(FACTOR)).then([]);
        let remove = || Command::Remove { user: USER, factor: FACTOR };
        let removed = || FactorEvent::Removed { user: USER, factor: FACTOR };
        given::<Factors>([added(FACTOR)]).when(remove()).then([removed()]);
        given::<Factors>([added(FACTOR), removed()]).when(remove()).then_refused(|r| *r == Refusal::Unknown);
    }

    #[test]
    fn recovery_codes_need_a_factor() {
        let make = || Command::MakeRecoveryCodes { user: USER, codes: sealed("c") };
        given::<Factors>([]).when(make()).then_refused(|r| *r == Refusal::NothingToRecover);
        given::<Factors>([added(FACTOR)]).when(make()).then([FactorEvent::RecoveryCodesMade { user: USER, codes: sealed("c") }]);
    }

    #[test]
    fn nobody_has_more_than_the_most() {
        let all: Vec<FactorEvent> = (0..MAX_FACTORS).map(|i| added(Uuid::from_u128(i as u128))).collect();
        given::<Factors>(all).when(add(Uuid::from_u128(999))).then_refused(|r| *r == Refusal::TooMany);
    }
}
