//! A scheduler for Kubernetes clusters: pods that name it (`spec.schedulerName`) are bound to nodes by the placement planner.
//! It watches nodes, pods and what these depend on, and writes bindings; one of several that run holds the Lease and works. It
//! needs nothing of the platform but the API server.

mod desk;
mod lease;
mod moment;
mod report;
mod run;
mod storage;
mod translate;
mod write;

pub use run::{Options, run};
