//! The outside world: the containerd engine's agents, and the three services that are called.

pub mod advisor;
pub mod agents;
pub mod agents_words;
mod awake;
pub mod backups;
pub mod carried;
pub mod cluster_health;
pub mod clusters;
pub mod credentials;
pub mod images;
pub mod prometheus;
pub mod quotas;
