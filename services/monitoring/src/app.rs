//! What monitoring answers: who may see what, and reading it.

pub mod alerts;
pub mod audit;
pub mod logs;
pub mod metrics;
