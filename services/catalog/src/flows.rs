//! What events start.

pub mod projection;
pub mod provision;
