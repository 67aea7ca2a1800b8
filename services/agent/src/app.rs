//! What runs: the keeper's loop, the steps it takes, and the probing of what it started.

pub mod balancer;
pub mod keeper;
pub mod probing;
pub mod shipping;
pub mod steps;
