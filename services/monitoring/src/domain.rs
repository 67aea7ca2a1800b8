//! Pure rules: what an audit record holds, what is taken out of it, how a table is exported, which metrics are offered, when an alert fires.

pub mod alert;
pub mod alert_rule;
pub mod csv;
pub mod history;
pub mod lines;
pub mod promql;
pub mod record;
pub mod redact;
pub mod span;
