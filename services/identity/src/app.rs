//! The verbs of identity: each gathers facts, executes, answers.

pub mod passwords;
pub mod secrets;
pub mod signing;
