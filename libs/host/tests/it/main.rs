//! A small service on its host, over real TLS, Postgres and NATS: what every service gets without writing it.

mod bad_input;
mod doors;
mod echo;
mod peers;
mod repetition;
mod replicas;
