//! The third-party servers Gantry stands on: finds each one on this machine, installs it when it is missing (saying what and
//! why first), and runs *private* instances with their own data, ports and sockets. Called by `xtask` (the suite in
//! `.gantry`) and by `libs/testkit` (short-lived servers of a test run). Plain blocking code: it must work before anything
//! else does. It never touches a system-wide server, and stops nothing it did not start.

pub mod busybox;
pub mod containerd;
pub mod ephemeral;
pub mod install;
mod machine;
mod nats;
pub mod need;
pub mod oci;
mod owner;
mod pause;
mod postgres;
pub mod process;
mod prometheus;
mod redis;
pub mod server;
pub mod suite;
mod wait;

pub use containerd::{Containerd, Network};
pub use ephemeral::TestServers;
pub use machine::{Version, is_root, number_from_env, text_from_env};
pub use nats::Nats;
pub use need::Need;
pub use owner::remove_folder;
pub use postgres::Postgres;
pub use process::{Launch, PidFile, Signal};
pub use prometheus::Prometheus;
pub use redis::Redis;
pub use server::{Credentials, Server, ensure_running, ports_are_free, spawn, stop};
pub use suite::{Home, Ports};
pub use wait::{Backoff, Hopeless, until};
