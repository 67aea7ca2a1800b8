//! What the catalogue does for its callers, whichever door they come by.

pub mod bindings;
pub mod instances;
pub mod offerings;
