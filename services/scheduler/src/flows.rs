//! Everything that runs by itself: the reconciler and its parts, and metering.

mod advance;
mod ahead;
mod alike;
pub mod cluster_logs;
pub mod cluster_usage;
mod cut;
mod described;
mod fleet;
mod lost_clusters;
pub mod measure;
mod membership;
pub mod metering;
mod moves;
mod on_cluster;
mod place;
mod push;
mod queue;
pub mod reconcile;
mod reserved;
mod rollout;
mod rows;
mod runs;
mod scale;
mod sites;
mod together;
mod world;
