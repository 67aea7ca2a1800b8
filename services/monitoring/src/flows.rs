//! What streams and timers start.

pub mod alert_rules;
pub mod alerts;
pub mod consumer;
pub mod events;
pub mod facts;
pub mod logs;
pub mod retention;
pub mod wake;
