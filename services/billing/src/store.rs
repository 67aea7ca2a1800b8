//! All SQL of billing.

pub mod entities;
pub mod migrations;
pub mod reservations;
pub mod usage;
