//! What events and timers start.

pub mod projections;
