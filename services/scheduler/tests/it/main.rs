//! The scheduler on real Postgres and NATS, with agents that only pretend to run containers, and neighbours that answer as
//! the contract says.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod access;
mod agent;
mod cluster_releases;
mod cluster_roles;
mod cluster_sessions;
mod cluster_stands;
mod cluster_usage;
mod cluster_volumes;
mod clusters;
mod deploying;
mod discovery;
mod documents;
mod dry_runs;
mod exchanges;
mod fixtures;
mod fleets;
mod grpc;
mod health;
mod history;
mod isolation;
mod jobs;
mod kept;
mod leading;
mod live;
mod measured;
mod migrating;
mod nodes;
mod place;
mod placing;
mod pools;
mod prepull;
mod quotas;
mod releases;
mod schemas;
mod sessions;
mod signs;
mod spaces;
mod staying;
mod unreadable;
mod volumes;

use gantry_testkit::neighbours;
