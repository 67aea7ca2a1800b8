//! `deploy` of a service: kind, replicas, resources, update policy, restart policy, placement.

use super::fields;
use crate::domain::document::Remarks;
use crate::domain::model::{Restart, Rule, Workload, WorkloadKind};
use crate::domain::yaml::Node;

use crate::domain::model::MAX_REPLICAS;

/// `Some(stop first)` if the document chose the order of updates.
pub fn read(path: &str, node: &Node, workload: &mut Workload, remarks: &mut Remarks) -> Option<bool> {
    let mut order = None;
    for entry in node.entries().unwrap_or_default() {
        let at = format!("{path}.{}", entry.key);
        match entry.key.as_str() {
            "mode" => match entry.node.scalar().as_deref() {
                Some("replicated") => workload.kind = WorkloadKind::Stateless,
                Some("global") => workload.kind = WorkloadKind::Global,
                Some("replicated-job") => workload.kind = WorkloadKind::Job,
                _ => remarks.unsupported(&at, entry.line, "must be replicated, global or replicated-job"),
            },
            "replicas" => workload.replicas = fields::count(&at, &entry.node, MAX_REPLICAS, remarks),
            "resources" => resources(&at, &entry.node, workload, remarks),
            "update_config" => order = update(&at, &entry.node, workload, remarks),
            "restart_policy" => restart(&at, &entry.node, workload, remarks),
            "placement" => placement(&at, &entry.node, workload, remarks),
            "labels" | "endpoint_mode" | "rollback_config" => remarks.note(&at, entry.line, "has no effect here"),
            _ => remarks.unsupported(&at, entry.line, "is not supported"),
        }
    }
    order
}

fn resources(path: &str, node: &Node, workload: &mut Workload, remarks: &mut Remarks) {
    for side in node.entries().unwrap_or_default() {
        let path = format!("{path}.{}", side.key);
        let target = match side.key.as_str() {
            "limits" => &mut workload.limits,
            "reservations" => &mut workload.requests,
            _ => {
                remarks.unsupported(&path, side.line, "is not supported");
                continue;
            }
        };
        for entry in side.node.entries().unwrap_or_default() {
            let at = format!("{path}.{}", entry.key);
            match entry.key.as_str() {
                "cpus" => target.cpu_millis = fields::cpu(&at, &entry.node, remarks),
                "memory" => target.memory_bytes = fields::bytes(&at, &entry.node, remarks),
                "pids" => target.pids = fields::count(&at, &entry.node, 1 << 22, remarks),
                _ => remarks.unsupported(&at, entry.line, "is not supported"),
            }
        }
    }
}

/// `start-first` adds new instances before old ones go, `stop-first` the other way round. Unlike Swarm the former is the
/// default, since an update shall not interrupt.
fn update(path: &str, node: &Node, workload: &mut Workload, remarks: &mut Remarks) -> Option<bool> {
    let mut parallelism = 1;
    let mut stop_first = None;
    for entry in node.entries().unwrap_or_default() {
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
                Some("pause" | "continue") => workload.update.rollback = false,
                _ => remarks.wrong(&at, entry.line, "must be rollback, pause or continue"),
            },
            "monitor" => {
                workload.update.progress_deadline_seconds = (fields::millis(&at, &entry.node, remarks) / 1000).max(10);
            }
            "delay" | "max_failure_ratio" => remarks.note(&at, entry.line, "has no effect: the next step waits until the new instances are in rotation"),
            _ => remarks.unsupported(&at, entry.line, "is not supported"),
        }
    }
    // 0 means all at once.
    let step = if parallelism == 0 { MAX_REPLICAS } else { parallelism };
    (workload.update.surge, workload.update.max_unavailable) = if stop_first == Some(true) { (0, step) } else { (step, 0) };
    stop_first
}

fn restart(path: &str, node: &Node, workload: &mut Workload, remarks: &mut Remarks) {
    for entry in node.entries().unwrap_or_default() {
        let at = format!("{path}.{}", entry.key);
        match entry.key.as_str() {
            "condition" => match entry.node.scalar().as_deref() {
                Some("any") => workload.restart = Restart::Always,
                Some("on-failure") => workload.restart = Restart::OnFailure,
                Some("none") => workload.restart = Restart::Never,
                _ => remarks.wrong(&at, entry.line, "must be any, on-failure or none"),
            },
            "delay" | "window" => remarks.note(&at, entry.line, "the platform waits longer after each failure"),
            _ => remarks.unsupported(&at, entry.line, "is not supported"),
        }
    }
}

fn placement(path: &str, node: &Node, workload: &mut Workload, remarks: &mut Remarks) {
    for entry in node.entries().unwrap_or_default() {
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
            "preferences" => remarks.note(&at, entry.line, "instances are spread over nodes and zones in any case"),
            _ => remarks.unsupported(&at, entry.line, "is not supported"),
        }
    }
}

fn rule(text: &str) -> Option<Rule> {
    let (attribute, equals, value) = match (text.split_once("=="), text.split_once("!=")) {
        (Some((a, v)), _) => (a, true, v),
        (None, Some((a, v))) => (a, false, v),
        (None, None) => return None,
    };
    let (attribute, value) = (attribute.trim(), value.trim());
    let attribute = match attribute {
        "node.hostname" => "node.name",
        "node.platform.arch" => "node.arch",
        "node.platform.os" => "node.os",
        "node.name" | "node.arch" | "node.os" | "node.zone" => attribute,
        _ if attribute.strip_prefix("node.labels.").is_some_and(|l| !l.is_empty()) => attribute,
        _ => return None,
    };
    let value = if attribute == "node.arch" { architecture(value) } else { value };
    (!value.is_empty()).then(|| Rule { attribute: attribute.to_owned(), equals, value: value.to_owned() })
}

/// The OCI name of an architecture.
pub fn architecture(text: &str) -> &str {
    match text {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
