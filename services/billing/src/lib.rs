//! billing: quotas and what is reserved against them, usage, price plans and invoices.

pub mod domain;
