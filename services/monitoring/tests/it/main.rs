//! Monitoring on real Postgres, NATS and Prometheus.

#![allow(clippy::disallowed_methods, reason = "tests draw their own ids and read the clock")]

mod audit;
mod audit_pieces;
mod grpc;
mod logs;
mod metrics;
mod place;
