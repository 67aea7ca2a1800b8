//! `deploy` of a service: kind, replicas, resources, update policy, restart policy, placement.

use std::collections::BTreeMap;

use super::fields;
use crate::domain::document::Remarks;
use crate::domain::model::{Restart, Rule, Selector, Spread, Workload, WorkloadKind};
use crate::domain::yaml::Node;

use crate::domain::model::MAX_REPLICAS;

/// `Some(stop first)` if the document chose the order of updates, and whether names mean single instances.
pub fn read(path: &str, node: &Node, workload: &mut Workload, remarks: &Remarks) -> (Option<bool>, bool) {
    let (mut order, mut headless) = (None, false);
    for entry in fields::entries(path, node, remarks) {
        let at = format!("{path}.{}", entry.key);
        match entry.key.as_str() {
            "mode" => match entry.node.scalar().as_deref() {
                Some("replicated") => workload.kind = WorkloadKind::Stateless,
                Some("global") => workload.kind = WorkloadKind::Global,
                Some("replicated-job") => workload.kind = WorkloadKind::Job,
                Some("global-job") => remarks.unsupported(&at, entry.line, "a job on each node is not known: use replicated-job or global"),
                _ => remarks.wrong(&at, entry.line, "must be replicated, global, replicated-job or global-job"),
            },
            "replicas" => workload.replicas = fields::count(&at, &entry.node, MAX_REPLICAS, remarks),
            "resources" => resources(&at, &entry.node, workload, remarks),
            "update_config" => order = update(&at, &entry.node, workload, remarks),
            "restart_policy" => restart(&at, &entry.node, workload, remarks),
            "placement" => placement(&at, &entry.node, workload, remarks),
            "endpoint_mode" => match entry.node.scalar().as_deref() {
                Some("vip") => {}
                Some("dnsrr") => headless = true,
                _ => remarks.wrong(&at, entry.line, "must be vip or dnsrr"),
            },
            "labels" | "rollback_config" => remarks.note(&at, entry.line, "has no effect here"),
            _ => fields::unknown(&at, entry, remarks),
        }
    }
    (order, headless)
}

fn resources(path: &str, node: &Node, workload: &mut Workload, remarks: &Remarks) {
    for side in fields::entries(path, node, remarks) {
        let path = format!("{path}.{}", side.key);
        let Workload { limits, requests, extended, .. } = &mut *workload;
        let target = match side.key.as_str() {
            "limits" => limits,
            "reservations" => requests,
            _ => {
                fields::unknown(&path, side, remarks);
                continue;
            }
        };
        for entry in fields::entries(&path, &side.node, remarks) {
            let at = format!("{path}.{}", entry.key);
            match entry.key.as_str() {
                "cpus" => target.cpu_millis = fields::cpu(&at, &entry.node, remarks),
                "memory" => target.memory_bytes = fields::bytes(&at, &entry.node, remarks),
                "pids" => target.pids = fields::count(&at, &entry.node, 1 << 22, remarks),
                "devices" => super::workload::gpus(&at, &entry.node, extended, remarks),
                "generic_resources" => generic(&at, &entry.node, extended, remarks),
                _ => fields::unknown(&at, entry, remarks),
            }
        }
    }
}

/// `start-first` adds new instances before old ones go, `stop-first` the other way round. Unlike Swarm the former is the
/// default, since an update shall not interrupt.
fn update(path: &str, node: &Node, workload: &mut Workload, remarks: &Remarks) -> Option<bool> {
    let mut parallelism = 1;
    let mut stop_first = None;
    for entry in fields::entries(path, node, remarks) {
        let at = format!("{path}.{}", entry.key);
        match entry.key.as_str() {
            "parallelism" => {
                parallelism = fields::count(&at, &entry.node, MAX_REPLICAS, remarks);
            }
            "order" => match entry.node.scalar().as_deref() {
                Some("start-first") => stop_first = Some(false),
                Some("stop-first") => stop_first = Some(true),
                _ => remarks.wrong(&at, entry.line, "must be start-first or stop-first"),
            },
            "failure_action" => match entry.node.scalar().as_deref() {
                Some("rollback") => workload.update.rollback = true,
                Some("pause") => workload.update.rollback = false,
                Some("continue") => {
                    workload.update.rollback = false;
                    remarks.note(&at, entry.line, "a release whose new instances do not become ready goes no further, as with `pause`");
                }
                _ => remarks.wrong(&at, entry.line, "must be rollback, pause or continue"),
            },
            "monitor" => {
                workload.update.progress_deadline_seconds = (fields::millis(&at, &entry.node, remarks) / 1000).max(10);
            }
            "delay" => workload.update.delay_seconds = fields::millis(&at, &entry.node, remarks) / 1000,
            "max_failure_ratio" => remarks.note(&at, entry.line, "has no effect: the next step waits until the new instances are in rotation"),
            _ => fields::unknown(&at, entry, remarks),
        }
    }
    // 0 means all at once.
    let step = if parallelism == 0 { MAX_REPLICAS } else { parallelism };
    (workload.update.surge, workload.update.max_unavailable) = if stop_first == Some(true) { (0, step) } else { (step, 0) };
    stop_first
}

fn restart(path: &str, node: &Node, workload: &mut Workload, remarks: &Remarks) {
    for entry in fields::entries(path, node, remarks) {
        let at = format!("{path}.{}", entry.key);
        match entry.key.as_str() {
            "condition" => match entry.node.scalar().as_deref() {
                Some("any") => workload.restart = Restart::Always,
                Some("on-failure") => workload.restart = Restart::OnFailure,
                Some("none") => workload.restart = Restart::Never,
                _ => remarks.wrong(&at, entry.line, "must be any, on-failure or none"),
            },
            "max_attempts" => workload.restart_attempts = Some(fields::count(&at, &entry.node, u32::MAX, remarks)),
            "delay" | "window" => remarks.note(&at, entry.line, "the platform waits longer after each failure"),
            _ => fields::unknown(&at, entry, remarks),
        }
    }
}

fn placement(path: &str, node: &Node, workload: &mut Workload, remarks: &Remarks) {
    for entry in fields::entries(path, node, remarks) {
        let at = format!("{path}.{}", entry.key);
        match entry.key.as_str() {
            "constraints" => {
                for text in fields::texts(&at, &entry.node, remarks) {
                    match rule(&text) {
                        Some(rule) => workload.placement.rules.push(rule),
                        None => remarks.unsupported(&at, entry.line, format!("`{text}`: rules are node.hostname, node.zone, node.platform.os, node.platform.arch or node.labels.<label>, then == or !=, then a value")),
                    }
                }
            }
            "max_replicas_per_node" => workload.placement.max_per_node = fields::count(&at, &entry.node, MAX_REPLICAS, remarks),
            "preferences" => {
                for (n, item) in fields::items(&at, &entry.node, remarks).iter().enumerate() {
                    for other in item.entries().unwrap_or_default().iter().filter(|o| o.key != "spread") {
                        fields::unknown(&format!("{at}[{n}].{}", other.key), other, remarks);
                    }
                    match item.get("spread").and_then(Node::scalar).and_then(|text| attribute_of(&text)) {
                        Some(topology) => {
                            workload.placement.spread.push(Spread { topology, max_skew: 1, hard: false, selector: Selector::default(), min_places: 0 })
                        }
                        None => remarks.unsupported(&format!("{at}[{n}]"), item.line, "a preference is `spread: node.labels.<label>`"),
                    }
                }
            }
            _ => fields::unknown(&at, entry, remarks),
        }
    }
}

fn rule(text: &str) -> Option<Rule> {
    let (attribute, equals, value) = match (text.split_once("=="), text.split_once("!=")) {
        (Some((a, v)), _) => (a, true, v),
        (None, Some((a, v))) => (a, false, v),
        (None, None) => return None,
    };
    let attribute = attribute_of(attribute.trim())?;
    let value = value.trim();
    let value = if attribute == "node.arch" { architecture(value) } else { value };
    (!value.is_empty()).then(|| Rule { attribute, equals, value: value.to_owned() })
}

/// Swarm's names of a node's attributes as ours.
fn attribute_of(text: &str) -> Option<String> {
    let own = match text {
        "node.hostname" => "node.name",
        "node.platform.arch" => "node.arch",
        "node.platform.os" => "node.os",
        "node.name" | "node.arch" | "node.os" | "node.zone" => text,
        _ if text.strip_prefix("node.labels.").is_some_and(|l| !l.is_empty()) => text,
        _ => return None,
    };
    Some(own.to_owned())
}

fn generic(path: &str, node: &Node, extended: &mut BTreeMap<String, u64>, remarks: &Remarks) {
    for item in fields::items(path, node, remarks) {
        let spec = item.get("discrete_resource_spec");
        let kind = spec.and_then(|s| s.get("kind")).and_then(Node::scalar);
        let value = spec.and_then(|s| s.get("value")).and_then(Node::integer).and_then(|n| u64::try_from(n).ok());
        match kind.zip(value) {
            Some((kind, value)) => {
                extended.insert(kind, value);
            }
            None => remarks.wrong(path, item.line, "must be `discrete_resource_spec` with `kind` and `value`"),
        }
    }
}

/// The OCI name of an architecture.
pub fn architecture(text: &str) -> &str {
    match text {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
