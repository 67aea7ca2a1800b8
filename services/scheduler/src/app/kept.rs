//! Configs and secrets of a space: read, set, shown in clear, given to applications.

pub mod bodies;
pub mod filling;
pub mod reading;
pub mod rollout;
pub mod setting;
pub mod tying;
pub mod using;
