//! What can be asked of the scheduler, one file per family of verbs; and what they all need.

pub mod addresses;
mod adoption;
pub mod change;
mod cluster_content;
mod cluster_endpoints;
mod cluster_sessions;
pub mod cluster_usage;
mod cluster_volumes;
pub mod clusters;
pub mod context;
pub mod deploy;
pub mod documents;
pub mod fleet;
mod held;
pub mod kept;
pub mod measures;
pub mod migration;
mod models;
pub mod node_settings;
pub mod nodes;
pub mod policies;
mod pool_turn;
pub mod pools;
mod ports;
pub mod rollout;
pub mod scaling;
pub mod sessions;
pub mod signs;
pub mod sizing;
pub mod space_rules;
pub mod speakers;
pub mod unreadable;
pub mod view;
pub mod volume_backups;
pub mod volumes;

pub use context::Scheduler;
