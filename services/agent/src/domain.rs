//! What the agent decides, as pure functions of what is wanted and what is there. No I/O, no clock.

pub mod acts;
pub mod actual;
pub mod balance;
pub mod checkpoint;
pub mod conntrack;
pub mod datagrams;
pub mod ephemeral;
pub mod guard;
pub mod haproxy;
pub mod health;
pub mod isolation;
pub mod matching;
pub mod nics;
pub mod plan;
pub mod pressure;
pub mod process_events;
pub mod restart;
pub mod root;
pub mod routes;
pub mod secure;
pub mod spec;
pub mod status;
pub mod tuning;
pub mod wanted;
