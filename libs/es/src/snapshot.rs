//! Whether and how the state of an aggregate is kept beside its events, so that a long stream need not be read whole.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A snapshot is only ever a shortcut: one that is missing, of another shape or damaged is passed over, and the events speak.
#[derive(Clone, Copy, Debug)]
pub struct Snapshots<S> {
    /// Version of the state *and* of `evolve`: raise it whenever the same events would give another state.
    pub shape: i32,
    /// Events after the last snapshot before another is made.
    pub every: usize,
    pub write: fn(&S) -> Result<String, serde_json::Error>,
    pub read: fn(&str) -> Result<S, serde_json::Error>,
}

impl<S: Serialize + DeserializeOwned> Snapshots<S> {
    /// As JSON, every hundred events. The state must hold nothing personal in clear: erasing a subject's key does not reach it.
    pub fn json(shape: i32) -> Self {
        Self { shape, every: 100, write: |state| serde_json::to_string(state), read: |text| serde_json::from_str(text) }
    }

    #[must_use]
    pub fn every(mut self, events: usize) -> Self {
        self.every = events.max(1);
        self
    }
}
