//! Black-box stories against a running suite: they know its public address, its CA and the tools of an ordinary user,
//! and nothing of its inside.

pub mod bench;
pub mod demo;
pub mod refusals;
