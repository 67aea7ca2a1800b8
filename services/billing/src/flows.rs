//! What events and timers start.

pub mod ingest;
pub mod issue;
pub mod projections;
