//! Fixed steps across services with something to undo (a saga), as a pure function.

use crate::Recorded;

/// Reacts to events with commands. The runner (`gantry_es_pg::TodoRunner`) saves the commands in the transaction that
/// moves the process's checkpoint, and carries each out until it succeeds, so that none is lost or forgotten.
pub trait Process: Send + Sync + 'static {
    type Command: serde::Serialize + serde::de::DeserializeOwned + Send;

    /// Stable; it names the checkpoint.
    const NAME: &'static str;

    /// What must be done because of `event`, each with a key that makes a repetition harmless.
    fn react(&self, event: &Recorded) -> Vec<(String, Self::Command)>;
}
