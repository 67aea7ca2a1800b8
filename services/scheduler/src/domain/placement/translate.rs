//! From the application model, nodes' facts and settings to the planner's words.

use std::collections::{BTreeMap, BTreeSet};

use gantry_kernel::{AppId, Name};
use gantry_planner::{Amounts, Match, Near, Node, Operator, Preference, Rules, Selector, Spec, Spread, Toleration, UNLIMITED, Weights};

use super::Policy;
use super::settings::{NodeSettings, Part, SpaceRules};
use crate::domain::engine::Facts;
use crate::domain::model::{self, Constraints, Resources, Workload, WorkloadKind};

/// Whose workload it is.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    pub app: AppId,
    pub app_name: &'a str,
    pub org: &'a str,
    /// `<org>/<project>/<space>`
    pub space: &'a str,
    pub revision: u64,
}

pub fn weights(policy: &Policy, rules: &SpaceRules) -> Weights {
    Weights {
        spread: rules.spread.unwrap_or(policy.spread),
        pack: rules.pack.unwrap_or(policy.pack),
        load: rules.load.unwrap_or(policy.load),
        even: rules.even.unwrap_or(policy.even),
        image: rules.image.unwrap_or(policy.image),
        prefer: rules.prefer.unwrap_or(policy.prefer),
    }
}

pub fn node(name: &Name, facts: &Facts, settings: &NodeSettings, policy: &Policy, present: bool, cordoned: bool) -> Node {
    let mut attributes: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in [("node.arch", &facts.architecture), ("node.os", &facts.os), ("node.zone", &facts.zone)] {
        if !value.is_empty() {
            attributes.insert(key.into(), value.clone());
        }
    }
    attributes.extend(facts.labels.iter().chain(&settings.labels).map(|(k, v)| (format!("node.labels.{k}"), v.clone())));
    let or_unlimited = |amount: u64| if amount == 0 { UNLIMITED } else { amount };
    let capacity = facts.capacity();
    Node {
        name: name.to_string(),
        attributes,
        taints: settings.taints.iter().filter_map(|t| t.taint()).collect(),
        runtime_classes: facts.runtime_classes.iter().cloned().collect(),
        capacity: Amounts {
            pids: or_unlimited(capacity.pids.into()),
            bandwidth_kbps: or_unlimited(settings.bandwidth_kbps),
            instances: or_unlimited(settings.max_instances.into()),
            ..amounts(&capacity)
        },
        overcommit_percent: Amounts {
            cpu_millis: settings.overcommit_cpu_percent.unwrap_or(policy.overcommit_cpu_percent).into(),
            memory_bytes: settings.overcommit_memory_percent.unwrap_or(policy.overcommit_memory_percent).into(),
            ..Amounts::plain_percent()
        },
        system: amounts(&settings.system),
        extended: BTreeMap::new(),
        images: BTreeSet::new(),
        load: 0,
        present,
        cordoned,
    }
}

pub fn amounts(of: &Resources) -> Amounts {
    Amounts {
        cpu_millis: of.cpu_millis.into(),
        memory_bytes: of.memory_bytes,
        storage_bytes: of.storage_bytes,
        pids: of.pids.into(),
        bandwidth_kbps: 0,
        instances: 0,
    }
}

/// One revision of a workload as the planner's group.
pub fn group(standing: &Standing<'_>, name: &Name, workload: &Workload, policy: &Policy, rules: &SpaceRules) -> Spec {
    let c = &workload.placement;
    let mut labels = workload.labels.clone();
    labels.insert("gantry.io/application".into(), standing.app_name.to_owned());
    labels.insert("gantry.io/workload".into(), name.to_string());
    let bits = workload.nics.iter().map(|n| n.up_bps.max(n.down_bps)).fold(0, u64::saturating_add);
    Spec {
        key: format!("{}/{name}/{}", standing.app, standing.revision),
        family: format!("{}/{name}", standing.app),
        tenant: standing.org.to_owned(),
        scope: standing.space.to_owned(),
        labels,
        requests: Amounts { bandwidth_kbps: bits.div_ceil(1000), ..amounts(&workload.requests) },
        extended: BTreeMap::new(),
        priority: granted(workload, policy, rules),
        // Whom a gang displaced would have gone for nothing when it does not come whole, and again in each round.
        never_preempts: c.all_or_none,
        rules: hard_and_soft(c, workload, rules),
        formulas: Vec::new(),
        ports: BTreeSet::new(),
        max_per_node: if workload.kind == WorkloadKind::Global { 1 } else { c.max_per_node },
        image: workload.pinned.clone().unwrap_or_else(|| workload.image.clone()),
        reservation: standing.space.to_owned(),
    }
}

/// What counts: as asked for, and no more than the space or the platform allows.
pub fn granted(workload: &Workload, policy: &Policy, rules: &SpaceRules) -> i32 {
    priority(workload).min(rules.most_priority.unwrap_or(policy.most_priority))
}

/// As the document asks for it: its number, or what its class means.
fn priority(workload: &Workload) -> i32 {
    if workload.priority != 0 { workload.priority } else { class_priority(&workload.priority_class).unwrap_or(0) }
}

/// What the priority classes mean that every platform has; the last two are Kubernetes' own.
pub fn class_priority(class: &str) -> Option<i32> {
    match class {
        "" | "normal" => Some(0),
        "low" => Some(-100),
        "high" => Some(100),
        "critical" => Some(1000),
        "system-cluster-critical" => Some(2_000_000_000),
        "system-node-critical" => Some(2_000_001_000),
        _ => None,
    }
}

fn hard_and_soft(c: &Constraints, workload: &Workload, rules: &SpaceRules) -> Rules {
    let mut required = Vec::new();
    if !c.architectures.is_empty() {
        required.push(Match { attribute: "node.arch".into(), operator: Operator::In, values: c.architectures.iter().cloned().collect() });
    }
    required.extend(c.rules.iter().map(|r| Match {
        attribute: r.attribute.clone(),
        operator: if r.equals { Operator::In } else { Operator::NotIn },
        values: vec![r.value.clone()],
    }));
    required.extend(rules.required.iter().map(part));
    let own = c.preferences.iter().map(|p| Preference { weight: p.weight, matches: p.matches.iter().map(test).collect() });
    let space = rules.preferred.iter().map(|p| Preference { weight: p.weight, matches: vec![part(p)] });
    Rules {
        required,
        any_of: c.any_of.iter().map(|all| all.iter().map(test).collect()).collect(),
        preferred: own.chain(space).collect(),
        tolerations: c.tolerations.iter().map(toleration).chain(rules.tolerations()).collect(),
        runtime_class: workload.runtime_class.clone(),
        near: c.affinity.iter().map(|a| Near { apart: a.apart, topology: a.topology.clone(), selector: selector(&a.selector), weight: a.weight }).collect(),
        spread: c.spread.iter().map(spread).collect(),
    }
}

fn operator(of: model::Operator) -> Operator {
    match of {
        model::Operator::In => Operator::In,
        model::Operator::NotIn => Operator::NotIn,
        model::Operator::Exists => Operator::Exists,
        model::Operator::NotExists => Operator::NotExists,
        model::Operator::Above => Operator::Above,
        model::Operator::Below => Operator::Below,
    }
}

fn test(of: &model::Match) -> Match {
    Match { attribute: of.attribute.clone(), operator: operator(of.operator), values: of.values.clone() }
}

fn part(of: &Part) -> Match {
    Match { attribute: of.attribute.clone(), operator: operator(of.operator), values: of.values.clone() }
}

/// As the planner would choose: what a selector means is said there only.
pub fn selects(of: &model::Selector, labels: &BTreeMap<String, String>) -> bool {
    selector(of).selects(labels)
}

fn selector(of: &model::Selector) -> Selector {
    Selector { labels: of.labels.clone(), matches: of.matches.iter().map(test).collect() }
}

fn spread(of: &model::Spread) -> Spread {
    Spread {
        topology: of.topology.clone(),
        max_skew: of.max_skew,
        hard: of.hard,
        selector: selector(&of.selector),
        min_places: of.min_places,
        tainted: false,
        unchosen: false,
    }
}

fn toleration(of: &model::Toleration) -> Toleration {
    // An unknown effect tolerates nothing that there is; none tolerates all.
    let effect = gantry_planner::Effect::parse(&of.effect);
    let value = if of.effect.is_empty() || effect.is_some() { of.value.clone() } else { Some("\0".into()) };
    Toleration { key: of.key.clone(), value, effect }
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Uuid;

    use super::*;
    use crate::domain::model::{Affinity, Rule};

    #[test]
    fn a_workloads_and_its_spaces_rules_are_both_kept() {
        let standing = Standing { app: AppId(Uuid::nil()), app_name: "shop", org: "acme", space: "acme/shop/test", revision: 3 };
        let mut workload = Workload { priority: 5000, runtime_class: "kata".into(), ..Workload::default() };
        workload.placement.architectures = BTreeSet::from(["arm64".to_owned()]);
        workload.placement.rules = vec![Rule { attribute: "node.labels.disk".into(), equals: false, value: "hdd".into() }];
        workload.placement.affinity = vec![Affinity { apart: true, topology: "node.name".into(), selector: model::Selector::default(), weight: None }];
        let rules = SpaceRules {
            required: vec![Part { attribute: "node.zone".into(), operator: model::Operator::In, values: vec!["a".into()], weight: 50 }],
            tolerated: vec!["gpu".into()],
            pack: Some(7),
            ..SpaceRules::default()
        };
        let policy = Policy::default();
        let spec = group(&standing, &Name::parse("web").unwrap(), &workload, &policy, &rules);
        let required: Vec<String> = spec.rules.required.iter().map(Match::to_string).collect();
        assert_eq!(required, ["node.arch == arm64", "node.labels.disk != hdd", "node.zone == a"]);
        assert_eq!((spec.priority, spec.rules.near.len(), spec.rules.tolerations.len(), spec.reservation.as_str()), (1000, 1, 1, "acme/shop/test"));
        assert_eq!((weights(&policy, &rules).pack, weights(&policy, &rules).spread), (7, 10));
    }

    #[test]
    fn settings_are_laid_over_what_the_agent_tells() {
        let facts = Facts { cpu_millis: 4000, memory_bytes: 1 << 30, labels: BTreeMap::from([("disk".into(), "hdd".into())]), ..Facts::default() };
        let settings: NodeSettings = serde_json::from_value(serde_json::json!({
            "labels": {"disk": "ssd"}, "taints": [{"key": "gpu", "effect": "NoExecute"}], "overcommit_cpu_percent": 300, "system": {"cpu_millis": 500},
        }))
        .unwrap();
        let node = node(&Name::parse("n1").unwrap(), &facts, &settings, &Policy::default(), true, false);
        assert_eq!((node.attributes["node.labels.disk"].as_str(), node.taints.len(), node.system.cpu_millis), ("ssd", 1, 500));
        assert_eq!((node.overcommit_percent.cpu_millis, node.overcommit_percent.memory_bytes, node.capacity.pids), (300, 100, UNLIMITED));
    }
}
