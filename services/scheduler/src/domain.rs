//! What the scheduler decides, as pure functions: the application model and its readers, the application's life,
//! placement, and releases. No I/O, no clock, no async.

pub mod app;
pub mod block;
pub mod check;
pub mod checks;
pub mod clock;
pub mod cluster;
pub mod cluster_routes;
pub mod cluster_sets;
pub mod compose;
pub mod cron;
pub mod document;
pub mod draining;
pub mod engine;
pub mod exchange;
pub mod export;
pub mod fields;
pub mod fleet;
pub mod gauges;
pub mod interpolate;
pub mod isolation;
pub mod kept;
pub mod kubernetes;
pub mod lacks;
pub mod made;
pub mod migration;
pub mod model;
pub mod nodes_networks;
pub mod observe;
pub mod own;
pub mod patch;
pub mod placement;
pub mod pools;
pub mod preview;
pub mod release;
pub mod rollout;
pub mod runs;
pub mod scaling;
pub mod session;
pub mod speaker;
pub mod status;
pub mod stored;
#[cfg(test)]
mod told;
pub mod traffic;
pub mod wanted;
pub mod yaml;
