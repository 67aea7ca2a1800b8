//! Monitoring on real Postgres, NATS and Prometheus.

mod audit;
mod logs;
mod metrics;
mod place;
