//! Everything that runs by itself: the reconciler and its parts, and metering.

mod advance;
mod membership;
pub mod metering;
mod place;
mod push;
pub mod reconcile;
mod runs;
mod world;
