//! Rows of the read models.

pub mod invoice;
pub mod plan;
pub mod plan_assignment;
pub mod quota;
