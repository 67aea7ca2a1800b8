//! Monitoring on real Postgres, NATS and Prometheus.

mod audit;
mod grpc;
mod logs;
mod metrics;
mod place;
