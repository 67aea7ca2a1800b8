//! The pure core of an aggregate.

use gantry_kernel::OffsetDateTime;

use crate::{EventData, Snapshots};

/// What a decision may know besides the state: when it is made and for whom. No I/O can hide here.
#[derive(Clone, Debug)]
pub struct Ctx {
    pub now: OffsetDateTime,
    /// "user:<uuid>", "service:<name>", "system".
    pub actor: String,
}

/// An aggregate as two pure, total functions. Neither may block, log, panic, or ask for time or randomness:
/// facts they need arrive in the command or in [`Ctx`].
pub trait Decider {
    type State: Default + Clone + Send + Sync + 'static;
    type Command: Send;
    type Event: EventData;
    type Refusal: std::error::Error + Send + Sync + 'static;

    /// What happens if `command` meets `state`. No events: it is already as asked.
    ///
    /// # Errors
    /// The refusal says which rule forbids it.
    fn decide(state: &Self::State, command: Self::Command, ctx: &Ctx) -> Result<Vec<Self::Event>, Self::Refusal>;

    /// The state after `event`. Never fails: history cannot be refused.
    fn evolve(state: Self::State, event: &Self::Event) -> Self::State;

    /// For aggregates whose streams grow long: `Some(Snapshots::json(1))`.
    fn snapshots() -> Option<Snapshots<Self::State>> {
        None
    }
}

/// The state after all of `events`.
pub fn fold<'a, D: Decider>(state: D::State, events: impl IntoIterator<Item = &'a D::Event>) -> D::State
where
    D::Event: 'a,
{
    events.into_iter().fold(state, D::evolve)
}
