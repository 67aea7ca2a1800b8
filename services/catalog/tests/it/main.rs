//! The catalogue on real Postgres and NATS; the scheduler is played by a gRPC server that keeps to the contract.

mod instances;
mod osb;
mod scheduler;
mod shelf;
