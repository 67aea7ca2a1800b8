//! The door as clients see it: real TLS, real Redis, services stood in for by small servers that say what they received.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod beside;
mod certificate;
mod kept;
mod proxying;
mod replicas;
mod rpc;
mod sessions;
mod world;
