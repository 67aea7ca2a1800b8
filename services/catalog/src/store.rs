//! All SQL of the catalogue.

pub mod entities;
pub mod migrations;
pub mod secrets;
