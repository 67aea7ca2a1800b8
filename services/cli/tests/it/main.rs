//! `gantry` as it is typed, against identity behind the gateway on real servers.

mod configuration;
mod platform;
