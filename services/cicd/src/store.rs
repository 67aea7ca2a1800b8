//! All SQL of CI/CD. The tables are projections of the event log, except `run_numbers`.

mod entities;
pub mod queries;
mod schema;

pub use entities::{artifact, repository, run, run_step};
pub use schema::{DDL, MIGRATIONS, TABLES};
