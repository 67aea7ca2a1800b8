//! Given / when / then for deciders: tests that run in microseconds.
//!
//! ```ignore
//! given::<App>([created()]).when(Command::Scale { .. }).then([scaled(3)]);
//! ```

use std::fmt::Debug;

use gantry_kernel::OffsetDateTime;

use crate::{Ctx, Decider, fold};

pub struct Given<D: Decider> {
    state: D::State,
    ctx: Ctx,
}

/// Starts from the state after `history`, at the Unix epoch, as actor "user:test".
pub fn given<D: Decider>(history: impl IntoIterator<Item = D::Event>) -> Given<D> {
    let history: Vec<_> = history.into_iter().collect();
    Given { state: fold::<D>(D::State::default(), &history), ctx: Ctx { now: OffsetDateTime::UNIX_EPOCH, actor: "user:test".into() } }
}

impl<D: Decider> Given<D> {
    #[must_use]
    pub fn at(mut self, now: OffsetDateTime) -> Self {
        self.ctx.now = now;
        self
    }

    pub fn when(self, command: D::Command) -> Outcome<D> {
        Outcome { result: D::decide(&self.state, command, &self.ctx), state: self.state }
    }
}

pub struct Outcome<D: Decider> {
    pub result: Result<Vec<D::Event>, D::Refusal>,
    state: D::State,
}

impl<D: Decider> Outcome<D>
where
    D::Event: Debug + PartialEq,
{
    /// Exactly these events.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = D::Event>) -> D::State {
        let events = self.result.unwrap_or_else(|refusal| panic!("refused: {refusal}"));
        assert_eq!(events, expected.into_iter().collect::<Vec<_>>());
        fold::<D>(self.state, &events)
    }

    /// Refused, and the refusal matches.
    #[track_caller]
    pub fn then_refused(self, matches: impl FnOnce(&D::Refusal) -> bool) {
        match self.result {
            Ok(events) => panic!("not refused, but decided: {events:?}"),
            Err(refusal) => assert!(matches(&refusal), "another refusal: {refusal:?}"),
        }
    }
}
