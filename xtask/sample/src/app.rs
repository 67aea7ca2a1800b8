//! What the service can do: gather facts, execute, answer.

pub mod items;
