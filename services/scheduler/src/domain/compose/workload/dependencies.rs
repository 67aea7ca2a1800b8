//! Which services a service waits for, and until what.

use std::collections::BTreeSet;

use gantry_kernel::Name;

use super::Reader;
use crate::domain::document::Remarks;
use crate::domain::model::{Condition, Model, Workload, WorkloadKind};
use crate::domain::yaml::{Node, Value};

impl Reader<'_> {
    pub(super) fn named(&self, at: &str, line: u64, key: &str) -> Option<Name> {
        let found = self.names.get(key).cloned();
        if found.is_none() && self.left_out.contains(key) {
            self.remarks.wrong(at, line, format!("the service `{key}` is left out: none of its profiles is asked for"));
        } else if found.is_none() {
            self.remarks.wrong(at, line, format!("there is no service `{key}`"));
        }
        found
    }

    pub(super) fn depends(&self, path: &str, node: &Node, workload: &mut Workload) {
        for entry in node.entries().unwrap_or_default() {
            let options = entry.node.entries().unwrap_or_default();
            let of = |key: &str| options.iter().find(|o| o.key == key).map(|o| &o.node);
            let condition = match of("condition").and_then(Node::scalar).as_deref() {
                None | Some("service_started") => Condition::Started,
                Some("service_healthy") => Condition::Healthy,
                Some("service_completed_successfully") => Condition::Completed,
                Some(other) => {
                    self.remarks.wrong(path, entry.line, format!("`{other}` is not a condition"));
                    continue;
                }
            };
            for option in options.iter().filter(|o| !matches!(o.key.as_str(), "condition" | "required" | "restart")) {
                self.remarks.unsupported(&format!("{path}.{}.{}", entry.key, option.key), option.line, "is not supported");
            }
            for key in ["required", "restart"] {
                if of(key).is_some_and(|node| node.value != Value::Null && node.boolean().is_none()) {
                    self.remarks.wrong(&format!("{path}.{}.{key}", entry.key), entry.line, "must be true or false");
                }
            }
            let required = of("required").and_then(Node::boolean) != Some(false);
            if !required && !self.names.contains_key(&entry.key) {
                self.remarks.note(&format!("{path}.{}", entry.key), entry.line, "is not there and need not be");
                continue;
            }
            let Some(name) = self.named(path, entry.line, &entry.key) else { continue };
            if !required {
                workload.optional_dependencies.insert(name.clone());
            }
            if of("restart").and_then(Node::boolean) == Some(true) {
                workload.restart_with.insert(name.clone());
            }
            workload.depends_on.insert(name, condition);
        }
        if node.entries().is_none() {
            self.remarks.wrong(path, node.line, "must be a list or a map");
        }
    }
}

/// What others wait for to end is not started again when it has.
pub fn ends(model: &mut Model, remarks: &Remarks) {
    let waits = model.workloads.values().flat_map(|w| &w.depends_on).filter(|(_, condition)| **condition == Condition::Completed);
    let ends: BTreeSet<Name> = waits.map(|(name, _)| name.clone()).collect();
    for (name, workload) in model.workloads.iter_mut().filter(|(name, w)| w.kind == WorkloadKind::Stateless && ends.contains(*name)) {
        workload.kind = WorkloadKind::Job;
        remarks.note_at(&format!("workloads.{name}"), "is a job: others wait until it has ended");
    }
}
