//! monitoring: logs, audit trail, live events and metrics.

pub mod domain;
