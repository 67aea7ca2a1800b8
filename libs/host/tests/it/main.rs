//! A small service on its host, over real TLS, Postgres and NATS: what every service gets without writing it.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod bad_input;
mod doors;
mod echo;
mod kept;
mod neighbours;
mod panics;
mod peers;
mod repetition;
mod replicas;
