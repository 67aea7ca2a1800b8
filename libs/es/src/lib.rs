//! Event sourcing without a database: deciders, recorded events, processes, an in-memory log, and given/when/then.

mod decider;
mod event;
mod json;
mod memory;
mod process;
mod projection;
mod sealed;
mod snapshot;
pub mod spec;

pub use decider::{Ctx, Decider, fold};
pub use event::{DecodeError, EventData, Meta, NewEvent, Recorded, StreamId};
pub use json::Json;
pub use memory::MemoryLog;
pub use process::Process;
pub use projection::ProjectionEvent;
pub use sealed::Sealed;
pub use snapshot::Snapshots;
