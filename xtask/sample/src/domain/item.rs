//! An item: what may be written, and what has been.

use gantry_es::{Ctx, Decider, EventData};
use serde::{Deserialize, Serialize};
use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data")]
pub enum ItemEvent {
    #[serde(rename = "sample-item.written")]
    Written { name: String, text: String },
}

impl EventData for ItemEvent {
    const AGGREGATE: &'static str = "sample-item";
}

pub struct Item;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub text: String,
}

#[derive(Clone, Debug)]
pub enum Command {
    Write { name: String, text: String, longest: usize },
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("must not be empty")]
    Empty,
    #[error("has {length} characters; at most {longest} are allowed")]
    TooLong { length: usize, longest: usize },
}

impl Decider for Item {
    type State = State;
    type Command = Command;
    type Event = ItemEvent;
    type Refusal = Refusal;

    fn decide(state: &State, command: Command, _: &Ctx) -> Result<Vec<ItemEvent>, Refusal> {
        let Command::Write { name, text, longest } = command;
        let length = text.chars().count();
        if length == 0 {
            return Err(Refusal::Empty);
        }
        if length > longest {
            return Err(Refusal::TooLong { length, longest });
        }
        // Written as it is already: nothing happens.
        if state.text == text { Ok(Vec::new()) } else { Ok(vec![ItemEvent::Written { name, text }]) }
    }

    fn evolve(_: State, event: &ItemEvent) -> State {
        let ItemEvent::Written { text, .. } = event;
        State { text: text.clone() }
    }
}

#[cfg(test)]
mod tests {
    use gantry_es::fold;
    use gantry_kernel::OffsetDateTime;

    use super::*;

    fn write(before: &str, text: &str) -> Result<Vec<ItemEvent>, Refusal> {
        let ctx = Ctx { now: OffsetDateTime::UNIX_EPOCH, actor: "user:1".into() };
        Item::decide(&State { text: before.into() }, Command::Write { name: "a".into(), text: text.into(), longest: 5 }, &ctx)
    }

    #[test]
    fn a_text_is_written_once_and_refused_when_empty_or_too_long() {
        let written = write("", "hello").unwrap();
        assert_eq!(fold::<Item>(State::default(), &written).text, "hello");
        assert_eq!(write("hello", "hello"), Ok(Vec::new()));
        assert_eq!(write("", ""), Err(Refusal::Empty));
        assert_eq!(write("", "longer"), Err(Refusal::TooLong { length: 6, longest: 5 }));
    }
}
