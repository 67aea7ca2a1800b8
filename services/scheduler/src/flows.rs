//! Everything that runs by itself: the reconciler and its parts, and metering.

mod advance;
pub mod measure;
pub mod cluster_logs;
mod membership;
pub mod metering;
mod on_cluster;
mod place;
mod push;
pub mod reconcile;
mod rollout;
mod runs;
mod scale;
mod world;
