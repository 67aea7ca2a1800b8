//! The outside world: Prometheus (or anything with its HTTP API, such as VictoriaMetrics).

pub mod prometheus;
