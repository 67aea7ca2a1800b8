//! The catalogue on real Postgres and NATS; the scheduler is played by a gRPC server that keeps to the contract.

#![allow(clippy::disallowed_methods, reason = "tests draw their own ids and read the clock")]

mod grpc;
mod instances;
mod osb;
mod publishing;
mod scheduler;
mod shelf;
