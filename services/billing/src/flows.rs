//! What events and timers start.

pub mod ingest;
pub mod projections;
pub mod issue;
