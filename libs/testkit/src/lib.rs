//! What tests stand on: real Postgres, NATS and Redis (private, shared by a run), a schema and subject prefix per
//! test, a service on a free port, identity's events for rights, and tokens to call with.

pub mod agreement;
mod clause;
pub mod domain_controller;
pub mod history;
mod identity;
pub mod kubernetes;
pub mod neighbours;
mod port;
pub mod pretended;
mod prometheus;
pub mod refusals;
mod replay;
pub mod rpc;
pub mod slapd;
mod tokens;
mod world;

pub use clause::clause;
pub use domain_controller::DomainController;
pub use identity::TestIdentity;
pub use port::{free_address, free_port};
pub use prometheus::Prometheus;
pub use replay::replay;
pub use slapd::Slapd;
pub use tokens::Signer;
pub use world::{World, patience, servers};
