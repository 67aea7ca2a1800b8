//! What runs: the keeper's loop, the steps it takes, and the probing of what it started.

pub mod acts;
pub mod balancer;
pub mod bounding;
pub mod elsewhere;
pub mod ephemeral;
pub mod guard;
pub mod halting;
pub mod image_gc;
pub mod isolating;
pub mod keeper;
pub mod lease;
pub mod line;
pub mod prepull;
pub mod pressure;
pub mod probing;
pub mod routing;
pub mod sessions;
pub mod shipping;
pub mod steps;
