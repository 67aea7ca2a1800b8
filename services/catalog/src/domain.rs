//! Offerings, their parameters, and the life of an instance. Pure.

pub mod instance;
pub mod offering;
pub mod schema;
