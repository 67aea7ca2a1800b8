//! The outside world: one file per foreign system.

pub mod cloning;
pub mod commands;
pub mod connector;
pub mod copying;
pub mod disk;
pub mod enrolment;
pub mod executions;
pub mod exits;
pub mod facts;
pub mod folders;
pub mod guarding;
pub mod haproxy;
pub mod holder;
pub mod hooks;
pub mod live_files;
pub mod logs;
pub mod machine;
pub mod memory;
pub mod metrics;
pub mod network_mounts;
pub mod nics;
pub mod probe;
pub mod processes;
pub mod routes;
pub mod runtime;
pub mod volumes;
