//! A Kubernetes cluster as an engine sees it: how to reach and to be let in, what it can do, objects applied under our field
//! manager and pruned by our labels, and one cache of what is there, kept by watches. It knows objects as JSON and nothing of
//! applications; the scheduler makes the objects and reads what came of them. Written on HTTP alone: see docs/adr/0010.

mod access;
mod cache;
mod client;
mod difference;
mod discovery;
mod engine;
mod exec;
mod expiry;
mod fields;
mod kinds;
mod kubeconfig;
mod pod;
mod quantity;
mod rbac;
mod remote;
mod trouble;
pub mod usage;
mod watch;

pub use access::{Access, Credential, Exec, IN_CLUSTER};
pub use client::{Client, Options};
pub use discovery::{Capabilities, Found, discover, missing_rights, scopes};
pub use engine::{Connection, Drift, Engine, HASH, KEEP, OPEN_CLASS, SCOPE, Standing, Wanted};
pub use expiry::expiry;
pub use kinds::{KINDS, Kind, NAMESPACE, NODE, NODE_METRICS, POD, POD_METRICS, VOLUME_SNAPSHOT};
pub use kubeconfig::{KubeconfigError, flatten, parse};
pub use pod::{OWNER, Pod, REVISION, State, WORKLOAD};
pub use quantity::parse as quantity;
pub use rbac::{Account, More, ROLES, manifest, objects};
pub use remote::{Command, Input, Outcome, Output, Remote, Said, Target};
pub use trouble::{FieldConflict, Trouble};
pub use watch::{Seen, Sink, follow};

/// Under this name our fields stand in `managedFields`.
pub const MANAGER: &str = "gantry";
