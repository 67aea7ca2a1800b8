//! The aggregate.

use gantry_es::{Ctx, Decider, EventData, Snapshots};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data")]
pub enum AccountEvent {
    #[serde(rename = "account.entered")]
    Entered { amount: i64, note: String },
}

impl EventData for AccountEvent {
    const AGGREGATE: &'static str = "account";
}

pub fn entered(amount: i64, note: impl Into<String>) -> AccountEvent {
    AccountEvent::Entered { amount, note: note.into() }
}

pub struct Account;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub balance: i64,
    /// Kept whole, as a repository keeps its tags: loading must not be cheap by knowing nothing.
    pub last_notes: Vec<String>,
}

/// How many notes an account remembers.
const REMEMBERED: usize = 20;

#[derive(Debug, thiserror::Error)]
#[error("an entry of nothing is no entry")]
pub struct Nothing;

impl Decider for Account {
    type State = State;
    type Command = AccountEvent;
    type Event = AccountEvent;
    type Refusal = Nothing;

    fn decide(_: &State, command: AccountEvent, _: &Ctx) -> Result<Vec<AccountEvent>, Nothing> {
        let AccountEvent::Entered { amount, .. } = &command;
        if *amount == 0 { Err(Nothing) } else { Ok(vec![command]) }
    }

    fn evolve(mut state: State, event: &AccountEvent) -> State {
        let AccountEvent::Entered { amount, note } = event;
        state.balance += amount;
        if state.last_notes.len() == REMEMBERED {
            state.last_notes.remove(0);
        }
        state.last_notes.push(note.clone());
        state
    }

    fn snapshots() -> Option<Snapshots<State>> {
        Some(Snapshots::json(1))
    }
}
