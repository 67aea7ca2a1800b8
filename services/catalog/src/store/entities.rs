//! Rows of the read model.

pub mod binding;
pub mod instance;
