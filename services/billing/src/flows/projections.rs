//! Read models of billing's own log.

mod invoices;
mod plans;
mod quotas;

pub use invoices::Invoices;
pub use plans::PricePlans;
pub use quotas::Quotas;
