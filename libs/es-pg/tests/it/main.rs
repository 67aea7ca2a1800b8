//! The log on a real Postgres: order, gaplessness, durability, tampering, rebuilds, erasure.

mod append;
mod at_hand;
mod fixture;
mod keyring;
mod killed;
mod order;
mod projections;
mod snapshots;
mod tampering;
