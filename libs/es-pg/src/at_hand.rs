//! Aggregates as they were after their last command here, so that the next one need not read their history. A guess, never the truth: the
//! append says which version was meant, and whoever guessed wrong reads after all.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use gantry_es::StreamId;

use crate::store::Loaded;

/// Versions that all kept states may have together: a state is about as large as its history is long.
const MOST: i64 = 200_000;
const MOST_STATES: usize = 1_000;

/// States by their streams. Taken out while somebody works with one: then there is nothing to copy.
pub(crate) struct AtHand<S>(Mutex<Kept<S>>);

struct Kept<S> {
    states: HashMap<StreamId, (u64, Loaded<S>)>,
    versions: i64,
    turn: u64,
}

impl<S> Default for AtHand<S> {
    fn default() -> Self {
        Self(Mutex::new(Kept { states: HashMap::new(), versions: 0, turn: 0 }))
    }
}

impl<S> AtHand<S> {
    pub fn take(&self, stream: &StreamId) -> Option<Loaded<S>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, state) = kept.states.remove(stream)?;
        kept.versions -= state.version;
        Some(state)
    }

    /// Keeps it unless a newer one is there; what was not asked for the longest makes room.
    pub fn put(&self, stream: StreamId, state: Loaded<S>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.version > MOST || kept.states.get(&stream).is_some_and(|(_, there)| there.version >= state.version) {
            return;
        }
        kept.turn += 1;
        let turn = kept.turn;
        kept.versions += state.version;
        if let Some((_, before)) = kept.states.insert(stream, (turn, state)) {
            kept.versions -= before.version;
        }
        while kept.versions > MOST || kept.states.len() > MOST_STATES {
            let oldest = kept.states.iter().min_by_key(|(_, (turn, _))| *turn).map(|(stream, _)| stream.clone());
            let Some((_, gone)) = oldest.and_then(|stream| kept.states.remove(&stream)) else { return };
            kept.versions -= gone.version;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(n: i64) -> StreamId {
        StreamId::from_stored(format!("thing-{n}"))
    }

    #[test]
    fn a_newer_state_stays_and_the_oldest_make_room() {
        let at_hand = AtHand::default();
        at_hand.put(stream(1), Loaded { state: "new", version: 7 });
        at_hand.put(stream(1), Loaded { state: "old", version: 6 });
        let taken = at_hand.take(&stream(1)).expect("kept");
        assert_eq!((taken.state, taken.version), ("new", 7));
        assert!(at_hand.take(&stream(1)).is_none(), "one at a time has it");
        for n in 0..5 {
            at_hand.put(stream(n), Loaded { state: "large", version: MOST / 4 });
        }
        assert!(at_hand.take(&stream(0)).is_none());
        assert!((1..5).all(|n| at_hand.take(&stream(n)).is_some()));
        at_hand.put(stream(9), Loaded { state: "too large", version: MOST + 1 });
        assert!(at_hand.take(&stream(9)).is_none());
    }
}
