//! One subject in one team: in or out.

use gantry_contract::identity::MembershipEvent;
use gantry_es::{Ctx, Decider};
use gantry_kernel::{OrgId, TeamId};
use thiserror::Error;

pub struct Membership;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub is_in: bool,
}

#[derive(Clone, Debug)]
pub struct Put {
    pub org: OrgId,
    pub team: TeamId,
    pub subject: String,
    pub is_in: bool,
}

/// Nothing is refused: who is in already stays in.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {}

/// The stream of a pair.
pub fn key(team: TeamId, subject: &str) -> String {
    format!("{team}.{subject}")
}

impl Decider for Membership {
    type State = State;
    type Command = Put;
    type Event = MembershipEvent;
    type Refusal = Refusal;

    fn decide(state: &State, Put { org, team, subject, is_in }: Put, _: &Ctx) -> Result<Vec<MembershipEvent>, Refusal> {
        Ok(match (state.is_in, is_in) {
            (false, true) => vec![MembershipEvent::Added { org, team, subject }],
            (true, false) => vec![MembershipEvent::Removed { org, team, subject }],
            (true, true) | (false, false) => vec![],
        })
    }

    fn evolve(_: State, event: &MembershipEvent) -> State {
        State { is_in: matches!(event, MembershipEvent::Added { .. }) }
    }
}

#[cfg(test)]
mod tests {
    use gantry_es::spec::given;
    use gantry_kernel::Uuid;

    use super::*;

    #[test]
    fn somebody_comes_in_once_and_goes_once() {
        let (org, team, subject) = (OrgId(Uuid::from_u128(1)), TeamId(Uuid::from_u128(2)), "user:a".to_owned());
        let put = |is_in| Put { org, team, subject: subject.clone(), is_in };
        let added = MembershipEvent::Added { org, team, subject: subject.clone() };
        let removed = MembershipEvent::Removed { org, team, subject: subject.clone() };
        given::<Membership>([]).when(put(true)).then([added.clone()]);
        given::<Membership>([added.clone()]).when(put(true)).then([]);
        given::<Membership>([added.clone()]).when(put(false)).then([removed.clone()]);
        given::<Membership>([added, removed]).when(put(false)).then([]);
    }
}
