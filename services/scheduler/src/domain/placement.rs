//! Where an instance goes: filter the nodes by hard rules, score the rest, take the best. Pure and deterministic; the
//! answer says for every node why or why not.

use std::collections::{BTreeMap, BTreeSet};

use gantry_kernel::{AppId, Name};
use serde::{Deserialize, Serialize};

use super::model::{Constraints, Match, Resources};

/// What a node is and has, and what already stands on it.
#[derive(Clone, Debug)]
pub struct Node {
    pub name: Name,
    pub architecture: String,
    pub os: String,
    pub zone: String,
    pub labels: BTreeMap<String, String>,
    pub runtime_classes: BTreeSet<String>,
    pub capacity: Resources,
    pub used: Resources,
    /// How many instances of each workload are here.
    pub instances: BTreeMap<(AppId, Name), u32>,
    pub cordoned: bool,
    /// Its agent is heard from.
    pub present: bool,
}

/// What looks for a place.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    pub app: AppId,
    pub workload: &'a Name,
    pub requests: Resources,
    pub constraints: &'a Constraints,
    pub runtime_class: &'a str,
    /// One per node at most (global workloads).
    pub exclusive: bool,
}

/// How far a node may be filled, and what counts more.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Reserved processor time over real, in percent.
    pub overcommit_cpu_percent: u32,
    pub overcommit_memory_percent: u32,
    /// Weight of keeping instances of a workload apart.
    pub spread: u32,
    /// Weight of filling nodes up, so that others stay free for large instances.
    pub pack: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { overcommit_cpu_percent: 100, overcommit_memory_percent: 100, spread: 10, pack: 1 }
    }
}

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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub node: Option<Name>,
    pub findings: Vec<Finding>,
}

/// Chooses among `nodes`. Equal scores go to the first name.
pub fn choose(ask: &Ask<'_>, nodes: &[Node], policy: &Policy) -> Decision {
    let zones = zone_counts(ask, nodes);
    let findings: Vec<Finding> = nodes
        .iter()
        .map(|node| {
            let reasons = obstacles(ask, node, policy);
            let score = if reasons.is_empty() { score(ask, node, &zones, policy) } else { 0 };
            Finding { node: node.name.clone(), reasons, score }
        })
        .collect();
    let best = findings.iter().filter(|f| f.reasons.is_empty()).min_by(|a, b| b.score.cmp(&a.score).then_with(|| a.node.cmp(&b.node)));
    Decision { node: best.map(|f| f.node.clone()), findings }
}

/// Books a placement, so that the next choice counts it.
pub fn book(node: &mut Node, ask: &Ask<'_>) {
    node.used.cpu_millis = node.used.cpu_millis.saturating_add(ask.requests.cpu_millis);
    node.used.memory_bytes = node.used.memory_bytes.saturating_add(ask.requests.memory_bytes);
    node.used.storage_bytes = node.used.storage_bytes.saturating_add(ask.requests.storage_bytes);
    *node.instances.entry((ask.app, ask.workload.clone())).or_default() += 1;
}

/// May instances of this workload stand here at all, room apart? Decides how many a global workload has.
pub fn eligible(ask: &Ask<'_>, node: &Node) -> bool {
    let mut reasons = Vec::new();
    hard_rules(ask, node, &mut reasons);
    reasons.is_empty()
}

fn obstacles(ask: &Ask<'_>, node: &Node, policy: &Policy) -> Vec<String> {
    let mut reasons = Vec::new();
    hard_rules(ask, node, &mut reasons);
    let here = here(ask, node);
    if ask.exclusive && here > 0 {
        reasons.push("already runs its one instance".into());
    }
    let most = ask.constraints.max_per_node;
    if most > 0 && here >= most {
        reasons.push(format!("already runs {here} of at most {most} instances"));
    }
    let mut room = |what: &str, has: u64, used: u64, asked: u64, unit: &str| {
        let free = has.saturating_sub(used);
        if asked > free {
            reasons.push(format!("{what}: {asked} {unit} asked, {free} of {has} free"));
        }
    };
    let cpu = percent(node.capacity.cpu_millis.into(), policy.overcommit_cpu_percent);
    room("cpu", cpu, node.used.cpu_millis.into(), ask.requests.cpu_millis.into(), "millicores");
    let memory = percent(node.capacity.memory_bytes, policy.overcommit_memory_percent);
    room("memory", memory, node.used.memory_bytes, ask.requests.memory_bytes, "bytes");
    room("storage", node.capacity.storage_bytes, node.used.storage_bytes, ask.requests.storage_bytes, "bytes");
    reasons
}

fn hard_rules(ask: &Ask<'_>, node: &Node, reasons: &mut Vec<String>) {
    if !node.present {
        reasons.push("the node is not heard from".into());
    }
    if node.cordoned {
        reasons.push("the node takes no new instances (cordoned)".into());
    }
    let architectures = &ask.constraints.architectures;
    if !architectures.is_empty() && !architectures.contains(&node.architecture) {
        let wanted: Vec<_> = architectures.iter().map(String::as_str).collect();
        reasons.push(format!("architecture is {}, the image is for {}", node.architecture, wanted.join(", ")));
    }
    if !ask.runtime_class.is_empty() && !node.runtime_classes.contains(ask.runtime_class) {
        reasons.push(format!("has no runtime class `{}`", ask.runtime_class));
    }
    for rule in &ask.constraints.rules {
        let actual = attribute(node, &rule.attribute).unwrap_or_default();
        if (actual == rule.value) != rule.equals {
            reasons.push(format!("the rule `{rule}` does not hold: it is `{actual}`"));
        }
    }
    let choices = &ask.constraints.any_of;
    if !choices.is_empty() && !choices.iter().any(|c| holds(node, c)) {
        let texts: Vec<String> = choices.iter().map(|c| c.iter().map(Match::to_string).collect::<Vec<_>>().join(" and ")).collect();
        reasons.push(format!("none of these holds: {}", texts.join("; or ")));
    }
}

/// `None`: the node has no such label.
fn attribute<'n>(node: &'n Node, name: &str) -> Option<&'n str> {
    match name {
        "node.name" => Some(node.name.as_str()),
        "node.arch" => Some(&node.architecture),
        "node.os" => Some(&node.os),
        "node.zone" => Some(&node.zone),
        other => node.labels.get(other.strip_prefix("node.labels.")?).map(String::as_str),
    }
}

fn holds(node: &Node, matches: &[Match]) -> bool {
    matches.iter().all(|m| m.holds(attribute(node, &m.attribute)))
}

fn here(ask: &Ask<'_>, node: &Node) -> u32 {
    node.instances.get(&(ask.app, ask.workload.clone())).copied().unwrap_or(0)
}

fn percent(value: u64, percent: u32) -> u64 {
    u64::try_from(u128::from(value) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}

fn zone_counts<'n>(ask: &Ask<'_>, nodes: &'n [Node]) -> BTreeMap<&'n str, u32> {
    let mut counts = BTreeMap::new();
    for node in nodes {
        *counts.entry(node.zone.as_str()).or_default() += here(ask, node);
    }
    counts
}

/// Fewer brothers on the node and in the zone first, then the fuller node. Each part is 0 to 1000 times its weight.
fn score(ask: &Ask<'_>, node: &Node, zones: &BTreeMap<&str, u32>, policy: &Policy) -> i64 {
    let apart = |count: u32| 1000 / (i64::from(count) + 1);
    let spread = (apart(here(ask, node)) + apart(zones.get(node.zone.as_str()).copied().unwrap_or(0))) / 2;
    let full = |used: u64, asked: u64, has: u64| {
        let share = u128::from(used.saturating_add(asked)) * 1000 / u128::from(has.max(1));
        i64::try_from(share.min(1000)).unwrap_or(1000)
    };
    let cpu = full(node.used.cpu_millis.into(), ask.requests.cpu_millis.into(), node.capacity.cpu_millis.into());
    let memory = full(node.used.memory_bytes, ask.requests.memory_bytes, node.capacity.memory_bytes);
    // Weights are 1 to 100; together they count as much as spreading does.
    let preferred: i64 = ask.constraints.preferences.iter().filter(|p| holds(node, &p.matches)).map(|p| i64::from(p.weight.min(100)) * 10).sum();
    (spread + preferred) * i64::from(policy.spread) + (cpu + memory) / 2 * i64::from(policy.pack)
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Uuid;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::model::Rule;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn node(text: &str, cpu_millis: u32, memory_bytes: u64) -> Node {
        Node {
            name: name(text),
            architecture: "amd64".into(),
            os: "linux".into(),
            zone: String::new(),
            labels: BTreeMap::new(),
            runtime_classes: BTreeSet::new(),
            capacity: Resources { cpu_millis, memory_bytes, storage_bytes: 1000, pids: 0 },
            used: Resources::default(),
            instances: BTreeMap::new(),
            cordoned: false,
            present: true,
        }
    }

    fn ask<'a>(workload: &'a Name, constraints: &'a Constraints, cpu_millis: u32, memory_bytes: u64) -> Ask<'a> {
        let requests = Resources { cpu_millis, memory_bytes, ..Resources::default() };
        Ask { app: AppId(Uuid::nil()), workload, requests, constraints, runtime_class: "", exclusive: false }
    }

    #[test]
    fn instances_of_a_workload_are_spread_and_then_packed() {
        let (web, none) = (name("web"), Constraints::default());
        let mut nodes = vec![node("a", 1000, 1000), node("b", 1000, 1000), node("c", 4000, 4000)];
        let mut got = Vec::new();
        for _ in 0..4 {
            let ask = ask(&web, &none, 100, 100);
            let chosen = choose(&ask, &nodes, &Policy::default()).node.unwrap();
            book(nodes.iter_mut().find(|n| n.name == chosen).unwrap(), &ask);
            got.push(chosen.to_string());
        }
        assert_eq!(got, ["a", "b", "c", "a"]);
    }

    #[test]
    fn every_obstacle_is_named() {
        let web = name("web");
        let constraints = Constraints {
            architectures: BTreeSet::from(["arm64".to_owned()]),
            rules: vec![Rule { attribute: "node.labels.disk".into(), equals: true, value: "ssd".into() }],
            ..Constraints::default()
        };
        let mut only = node("a", 100, 100);
        only.cordoned = true;
        only.present = false;
        let decision = choose(&Ask { runtime_class: "kata", ..ask(&web, &constraints, 200, 200) }, &[only], &Policy::default());
        assert_eq!(decision.node, None);
        assert_eq!(decision.findings[0].reasons.len(), 7, "{:?}", decision.findings);
    }

    #[test]
    fn one_of_several_choices_is_enough_and_preferred_nodes_come_first() {
        use crate::domain::model::{Operator, Preference};
        let test = |label: &str, operator, values: &[&str]| Match {
            attribute: format!("node.labels.{label}"),
            operator,
            values: values.iter().map(|v| (*v).to_owned()).collect(),
        };
        let web = name("web");
        let constraints = Constraints {
            any_of: vec![
                vec![test("disk", Operator::In, &["ssd", "nvme"])],
                vec![test("cores", Operator::Above, &["16"]), test("old", Operator::NotExists, &[])],
            ],
            preferences: vec![Preference { weight: 50, matches: vec![test("rack", Operator::In, &["b"])] }],
            ..Constraints::default()
        };
        let labelled =
            |n: &str, labels: &[(&str, &str)]| Node { labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(), ..node(n, 1000, 1000) };
        let nodes = [
            labelled("a", &[("disk", "hdd"), ("cores", "8")]),
            labelled("b", &[("disk", "ssd")]),
            labelled("c", &[("cores", "32"), ("rack", "b")]),
            labelled("d", &[("cores", "32"), ("old", "")]),
        ];
        let decision = choose(&ask(&web, &constraints, 1, 1), &nodes, &Policy::default());
        assert_eq!(decision.node.unwrap().as_str(), "c");
        let fits: Vec<&str> = decision.findings.iter().filter(|f| f.reasons.is_empty()).map(|f| f.node.as_str()).collect();
        assert_eq!(fits, ["b", "c"]);
    }

    #[test]
    fn an_exclusive_workload_stands_once_on_each_node() {
        let (each, none) = (name("each"), Constraints::default());
        let mut nodes = vec![node("a", 1000, 1000), node("b", 1000, 1000)];
        for expected in [Some("a"), Some("b"), None] {
            let ask = Ask { exclusive: true, ..ask(&each, &none, 1, 1) };
            let chosen = choose(&ask, &nodes, &Policy::default()).node;
            assert_eq!(chosen.as_ref().map(Name::as_str), expected);
            if let Some(chosen) = chosen {
                book(nodes.iter_mut().find(|n| n.name == chosen).unwrap(), &ask);
            }
        }
    }

    #[test]
    fn overcommit_widens_a_node() {
        let (web, none) = (name("web"), Constraints::default());
        let nodes = [node("a", 100, 1000)];
        let asked = ask(&web, &none, 150, 1);
        assert_eq!(choose(&asked, &nodes, &Policy::default()).node, None);
        assert!(choose(&asked, &nodes, &Policy { overcommit_cpu_percent: 200, ..Policy::default() }).node.is_some());
    }

    proptest! {
        #[test]
        fn a_plan_never_exceeds_a_node_and_never_breaks_a_rule(
            nodes in proptest::collection::vec((1u32..4000, 1u64..4000, any::<bool>(), any::<bool>(), any::<bool>()), 1..8),
            asks in proptest::collection::vec((1u32..900, 1u64..900, 0usize..3, any::<bool>()), 1..60),
        ) {
            let mut nodes: Vec<Node> = nodes.into_iter().enumerate().map(|(i, (cpu, memory, cordoned, present, arm))| {
                let mut node = node(&format!("n{i}"), cpu, memory);
                (node.cordoned, node.present) = (cordoned, present);
                if arm { node.architecture = "arm64".into(); }
                node
            }).collect();
            let constraints = Constraints { architectures: BTreeSet::from(["amd64".to_owned()]), ..Constraints::default() };
            for (cpu, memory, workload, exclusive) in asks {
                let workload = name(&format!("w{workload}"));
                let ask = Ask { exclusive, ..ask(&workload, &constraints, cpu, memory) };
                let decision = choose(&ask, &nodes, &Policy::default());
                prop_assert_eq!(&decision, &choose(&ask, &nodes, &Policy::default()));
                match &decision.node {
                    Some(chosen) => {
                        let node = nodes.iter_mut().find(|n| n.name == *chosen).unwrap();
                        prop_assert!(!node.cordoned && node.present && node.architecture == "amd64");
                        prop_assert!(!exclusive || here(&ask, node) == 0);
                        book(node, &ask);
                        prop_assert!(node.used.cpu_millis <= node.capacity.cpu_millis && node.used.memory_bytes <= node.capacity.memory_bytes);
                    }
                    None => prop_assert!(decision.findings.iter().all(|f| !f.reasons.is_empty())),
                }
            }
        }
    }
}
