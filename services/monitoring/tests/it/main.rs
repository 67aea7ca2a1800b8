//! Monitoring on real Postgres, NATS and Prometheus.

#![allow(clippy::disallowed_methods, reason = "tests draw their own ids and read the clock")]

mod alerts;
mod audit;
mod audit_pieces;
mod grpc;
mod history;
mod logs;
mod metrics;
mod place;
