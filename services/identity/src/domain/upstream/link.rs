//! One link between an account at an upstream and a person here: made once, removed once.

use gantry_contract::upstream::LinkEvent;
use gantry_es::{Ctx, Decider, Sealed};
use gantry_kernel::{LinkId, UpstreamId, UserId};
use thiserror::Error;

pub struct Link;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum State {
    #[default]
    Absent,
    Made {
        link: LinkId,
        user: UserId,
        upstream: UpstreamId,
        key: String,
        provisioned: bool,
    },
    Removed,
}

#[derive(Clone, Debug)]
pub enum Command {
    Make { link: LinkId, user: UserId, upstream: UpstreamId, subject: Sealed, key: String, provisioned: bool },
    Remove { reason: String },
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("there is no such link")]
    Unknown,
    #[error("this link exists already")]
    Exists,
}

impl Decider for Link {
    type State = State;
    type Command = Command;
    type Event = LinkEvent;
    type Refusal = Refusal;

    fn decide(state: &State, command: Command, _: &Ctx) -> Result<Vec<LinkEvent>, Refusal> {
        match (state, command) {
            (State::Absent, Command::Make { link, user, upstream, subject, key, provisioned }) => {
                Ok(vec![LinkEvent::Made { link, user, upstream, subject, key, provisioned }])
            }
            (_, Command::Make { .. }) => Err(Refusal::Exists),
            (State::Made { link, user, upstream, .. }, Command::Remove { reason }) => {
                Ok(vec![LinkEvent::Removed { link: *link, user: *user, upstream: *upstream, reason }])
            }
            (State::Absent | State::Removed, Command::Remove { .. }) => Err(Refusal::Unknown),
        }
    }

    fn evolve(_: State, event: &LinkEvent) -> State {
        match event {
            LinkEvent::Made { link, user, upstream, key, provisioned, .. } => {
                State::Made { link: *link, user: *user, upstream: *upstream, key: key.clone(), provisioned: *provisioned }
            }
            LinkEvent::Removed { .. } => State::Removed,
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_es::spec::given;
    use gantry_kernel::Uuid;

    use super::*;

    #[test]
    fn a_link_is_made_once_and_removed_once() {
        let (link, user, upstream) = (LinkId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)), UpstreamId(Uuid::from_u128(3)));
        let make = || Command::Make { link, user, upstream, subject: Sealed("s".into()), key: "k".into(), provisioned: true };
        let made = LinkEvent::Made { link, user, upstream, subject: Sealed("s".into()), key: "k".into(), provisioned: true };
        let removed = LinkEvent::Removed { link, user, upstream, reason: "gone".into() };
        given::<Link>([]).when(make()).then([made.clone()]);
        given::<Link>([made.clone()]).when(make()).then_refused(|r| *r == Refusal::Exists);
        given::<Link>([made.clone()]).when(Command::Remove { reason: "gone".into() }).then([removed.clone()]);
        given::<Link>([made, removed]).when(Command::Remove { reason: "x".into() }).then_refused(|r| *r == Refusal::Unknown);
        given::<Link>([]).when(Command::Remove { reason: "x".into() }).then_refused(|r| *r == Refusal::Unknown);
    }
}
