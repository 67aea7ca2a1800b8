//! The event log on Postgres, what is built from it, and the durable odds and ends that need the same transaction.
//!
//! One schema per service. `events` is the truth and insert-only by grant; everything else can be made anew from it,
//! except subject keys (which must be erasable) and pending work.

mod append;
mod at_hand;
mod batch;
mod chain;
mod db;
mod endless;
mod held;
mod keyring;
mod lease;
mod loader;
mod log;
mod migrate;
mod operate;
mod progress;
mod projection;
mod read;
mod rebuild;
mod recent;
mod runner;
mod snapshot;
mod store;
mod todo;
mod together;
mod trace;
mod verify;

pub use append::{Append, AppendError, Appended, Claim, StreamWrite};
pub use db::{Db, DbError, Settings};
pub use endless::{Panicked, caught, endless};
pub use keyring::{Keyring, KeyringError};
pub use lease::Lease;
pub use loader::{LoadError, Loader};
pub use log::Log;
pub use migrate::BESIDE_OTHERS;
pub use operate::{request_rebuild, skip};
pub use progress::{NotSettled, Progress};
pub use projection::{Batch, Checkpoint, Projection, Source, apply, checkpoints, one_after_another, prepare};
pub use rebuild::rebuild;
pub use runner::{ProjectionRunner, run_batch};
pub use store::{Considered, ExecuteError, Executed, Expect, Loaded, Options, Performed, Store};
pub use todo::{Todo, TodoHandler, TodoItem, TodoNew, TodoRunner};
pub use trace::{NoTrace, Trace};
pub use verify::{Fault, Verdict, verify};
