//! What is recorded of a decision, so that "why" is answered from facts: against each node, counted by rule, and what would
//! have to change; or what spoke for the node that was taken.

use gantry_kernel::Name;
use gantry_planner::{Choice, Cluster, Finding as Found, NodeIx, Obstacle, summarise};
use serde::{Deserialize, Serialize};

/// So many nodes are told one by one; the counts are over all.
const TOLD: usize = 50;

/// What was found about one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Finding {
    #[schema(value_type = String)]
    pub node: Name,
    /// Why not; empty if it would do.
    pub reasons: Vec<String>,
    /// Higher is better; only compared between nodes that would do.
    pub score: i64,
}

/// A rule, and on how many nodes it is in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Against {
    pub rule: String,
    pub nodes: u32,
    /// As it is on one of them.
    pub example: String,
}

/// A change that alone would be enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Remedy {
    pub change: String,
    /// On so many nodes it would be.
    pub nodes: u32,
    /// The one where the least is missing.
    pub node: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Verdict {
    pub nodes: u32,
    /// How many would do.
    pub fit: u32,
    pub against: Vec<Against>,
    pub remedies: Vec<Remedy>,
    /// Those with the fewest reasons first, at most 50.
    pub findings: Vec<Finding>,
}

/// Why an instance is where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Chosen {
    pub node: String,
    /// `planner`, `volumes` (what it keeps is there), `external` (the space's own scheduler).
    pub by: String,
    pub score: i64,
    /// The next best, if another node would have done.
    pub next: Option<Next>,
    pub nodes: u32,
    pub fit: u32,
    /// What kept it from the others.
    pub against: Vec<Against>,
    /// What was said beside: that the external scheduler did not answer, that the cluster is made even.
    pub note: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Next {
    pub node: String,
    pub score: i64,
}

fn whole(score: f32) -> i64 {
    score.round() as i64
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

pub fn verdict(cluster: &Cluster, found: &[Found]) -> Verdict {
    let name = |ix: NodeIx| cluster.node_name(ix).to_owned();
    let (summaries, remedies) = summarise(found);
    let mut order: Vec<&Found> = found.iter().collect();
    order.sort_by(|a, b| a.obstacles.len().cmp(&b.obstacles.len()).then(b.score.total_cmp(&a.score)).then(a.node.cmp(&b.node)));
    let finding = |f: &&Found| {
        Some(Finding {
            node: Name::parse(cluster.node_name(f.node)).ok()?,
            reasons: f.obstacles.iter().map(Obstacle::to_string).collect(),
            score: whole(f.score),
        })
    };
    Verdict {
        nodes: count(found.len()),
        fit: count(found.iter().filter(|f| f.obstacles.is_empty()).count()),
        against: summaries.into_iter().map(|s| Against { rule: s.kind, nodes: s.nodes, example: s.example }).collect(),
        remedies: remedies.into_iter().map(|r| Remedy { change: r.change, nodes: r.nodes, node: name(r.example) }).collect(),
        findings: order.iter().take(TOLD).filter_map(finding).collect(),
    }
}

/// Of a choice among what was found.
pub fn chosen(cluster: &Cluster, verdict: &Verdict, choice: Choice, by: &str, note: String) -> Chosen {
    let node = cluster.node_name(choice.node).to_owned();
    let next = verdict.findings.iter().find(|f| f.reasons.is_empty() && f.node.as_str() != node);
    Chosen {
        by: by.to_owned(),
        score: whole(choice.score),
        next: next.map(|f| Next { node: f.node.to_string(), score: f.score }),
        nodes: verdict.nodes,
        fit: verdict.fit,
        against: verdict.against.clone(),
        note,
        node,
    }
}
