//! The log on a real Postgres: order, gaplessness, durability, tampering, rebuilds, erasure.

mod append;
mod fixture;
mod keyring;
mod killed;
mod order;
mod projections;
mod snapshots;
mod tampering;
