//! The part of a round about Kubernetes clusters: which there are, what their pods mean for recorded instances, and what is
//! wanted of a cluster for an application. The engine itself does the steps.

mod kept;
mod names;
mod objects;
mod pods;
mod refusals;
mod rows;
mod sets;
mod stand;
mod steps;
mod stuck;

pub(super) use kept::Kept;
pub(super) use sets::are_ready_on;
pub(super) use stand::{Side, Stood};
