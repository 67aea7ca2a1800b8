//! Where things run: the placement planner. It knows nodes, groups of equal instances and rules, and nothing of engines,
//! events or clocks; the scheduler and the scheduler for Kubernetes clusters both ask it.
//!
//! Everything here is synchronous, total and deterministic: the same calls in the same order give the same answers.
//!
//! A [`Cluster`] holds the state as columns (one array per property, a node is an index), which changes by single bookings.
//! A decision goes over all nodes: rules that depend on attributes only are kept as one column per group and made anew when a
//! node changes; what depends on who stands where is a small table per place (zone, rack, node) that is added through the
//! node's column of places; free amounts are compared array by array. None of it asks a node twice or allocates per node.

mod amounts;
mod best;
mod booking;
mod choose;
mod cluster;
mod column;
mod drain;
mod explain;
mod formula;
mod gang;
mod preempt;
mod rebalance;
mod reserve;
mod rules;
mod score;
mod spec;
mod terms;

pub use amounts::{Amounts, Resource, UNLIMITED};
pub use choose::{Choice, Hints};
pub use cluster::{Cluster, GroupIx, InstanceKey, NodeIx};
pub use drain::{Drain, Held};
pub use explain::{Finding, Obstacle, Remedy, Summary, summarise};
pub use formula::{Calculation, Comparison, Expr, Formula, TextTest, Unknown, UserRule};
pub use gang::Incomplete;
pub use preempt::Preemption;
pub use rebalance::{Limits, Move, Reason};
pub use rules::{Effect, Match, Near, Operator, Preference, Selector, Spread, Taint, Toleration};
pub use score::Weights;
pub use spec::{HostPort, Node, Rules, Spec, Transport};
