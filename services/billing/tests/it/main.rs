//! Billing on real Postgres and NATS.

#![allow(clippy::disallowed_methods, reason = "tests draw their own ids and read the clock")]

mod grpc;
mod invoices;
mod quotas;
mod shop;
mod usage;
