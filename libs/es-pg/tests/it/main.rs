//! The log on a real Postgres: order, gaplessness, durability, tampering, rebuilds, erasure.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "tests draw their own ids and read the clock")]

mod append;
mod at_hand;
mod fixture;
mod keyring;
mod killed;
mod lease;
mod migrations;
mod order;
mod projections;
mod rebuilds;
mod silent;
mod snapshots;
mod tampering;
mod todos;
mod together;
mod versions;
