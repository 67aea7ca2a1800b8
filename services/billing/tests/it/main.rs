//! Billing on real Postgres and NATS.

mod invoices;
mod quotas;
mod shop;
mod usage;
