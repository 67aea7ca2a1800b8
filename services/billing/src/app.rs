//! What billing does for its callers: gather facts, decide, answer.

pub mod invoices;
pub mod plans;
pub mod quotas;
pub mod usage;
