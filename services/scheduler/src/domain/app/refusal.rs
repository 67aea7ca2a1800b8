//! What the life of an application does not allow, as whoever asked for it is told.

use gantry_kernel::Name;
use thiserror::Error;

use crate::domain::model::MAX_REPLICAS;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("there is no such application")]
    Missing,
    #[error("the application has no workload `{0}`")]
    NoWorkload(Name),
    #[error("the workload `{0}` runs once per node and cannot be scaled")]
    NotScalable(Name),
    #[error("replicas must be 0 to {MAX_REPLICAS}")]
    ReplicasOutOfRange,
    #[error("the application is stopped: start it first")]
    IsStopped,
    #[error("there is no revision {0}")]
    NoRevision(u64),
    #[error("the number of `{0}` follows what is measured: pause that first, or change its bounds with a new revision")]
    ScalesItself(Name),
    #[error("the number of `{0}` does not follow anything: its document has no scaling")]
    NoScaling(Name),
    #[error("no release is under way")]
    NoRelease,
    #[error("the release has no steps that could be promoted: it goes on by itself")]
    NoSteps,
    #[error("there is no revision before it to go back to")]
    NothingBefore,
    #[error("a reason has at most 500 characters")]
    ReasonTooLong,
    #[error("revision {0} is stored in a way that this version of the platform cannot read: update the platform, or stop the application and deploy it anew")]
    Unreadable(u64),
}
