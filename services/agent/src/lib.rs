//! The node agent: makes the containers of this machine match the scheduler's word and balances requests among them.

pub mod domain;
