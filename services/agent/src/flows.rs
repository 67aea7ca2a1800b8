//! What a timer or the scheduler starts.

pub mod control;
pub mod renewal;
mod saving;
