//! Where an instance goes. The planner itself is `gantry-planner`; here the model's and the nodes' words become its words,
//! and its findings become what people read.

mod budget;
mod expression;
mod guard;
mod settings;
mod translate;
mod verdict;

use serde::{Deserialize, Serialize};

pub use budget::{amount as budget_amount, floor};
pub use expression::{Expression, Fault as ExpressionFault, Wanted as ExpressionWanted, compile as compile_expression, compiled};
pub use guard::{Egress, Guard};
pub use settings::{External, NodeSettings, NodeTaint, Part, Reserved, SpaceRules};
pub use translate::{Standing, amounts, class_priority, granted, group, node, selects, weights};
pub use verdict::{Against, Chosen, Finding, Next, Remedy, Verdict, chosen, verdict};

/// How far nodes may be filled, and what counts more. A node's own settings and a space's own rules come before it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Reserved processor time over real, in percent.
    pub overcommit_cpu_percent: u32,
    pub overcommit_memory_percent: u32,
    /// Weight of keeping instances of a workload apart, on nodes and in zones.
    pub spread: u32,
    /// Weight of filling nodes up, so that others stay free for large instances.
    pub pack: u32,
    /// Weight of taking the emptier node.
    pub load: u32,
    /// Weight of filling processors and memory evenly.
    pub even: u32,
    /// Weight of nodes where the image is in use already.
    pub image: u32,
    /// Weight of what a workload prefers.
    pub prefer: u32,
    /// Highest priority that a document may ask for; more is taken for this much.
    pub most_priority: i32,
    /// So many instances are moved at once when nodes come or come back; 0: none.
    pub rebalance_moves: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            overcommit_cpu_percent: 100,
            overcommit_memory_percent: 100,
            spread: 10,
            pack: 1,
            load: 0,
            even: 0,
            image: 2,
            prefer: 10,
            most_priority: 1000,
            rebalance_moves: 5,
        }
    }
}
