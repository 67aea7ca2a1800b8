//! All SQL of monitoring.

pub mod alerts;
pub mod audit;
pub mod history;
pub mod logs;
pub mod migrations;
pub mod places;
