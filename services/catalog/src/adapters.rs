//! The outside world: the scheduler.

pub mod scheduler;
