//! A pod that stops is told so while balancers still send it requests: what takes it out of the endpoints, and what tells each
//! node of that, runs beside (kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle "pod termination").

use gantry_kernel::Name;
use gantry_kubernetes::REVISION;
use serde_json::{Value, json};

use crate::domain::model::{Model, Workload, WorkloadKind};

/// So long a pod goes on answering after it was taken out.
const SECONDS: u32 = 5;
/// Since 1.30 a hook may sleep without a program of the image's.
pub(super) const SINCE: u32 = 30;
/// Of a pod's template: the log's position of the workload's last restart.
pub(super) const RESTARTED: &str = "gantry.io/restarted";

/// What the pods of this very revision have that are there already. A newer platform, or a cluster that has a newer version now,
/// would add to them, and is no reason to replace them: that waits for the next revision or restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unchanged {
    /// Each container has something to do before it is stopped.
    pub waits: bool,
    /// The pods name their system, so that containers may have stop signals.
    pub signals: bool,
}

impl Unchanged {
    /// `object`: the workload's on the cluster. `None`: its pods are of another revision, or of before the last restart (0: there was
    /// none), and are replaced anyway.
    pub fn of(object: &Value, revision: u64, restarted: i64) -> Option<Self> {
        let template = &object["spec"]["template"];
        let position = template["metadata"]["annotations"][RESTARTED].as_str().and_then(|p| p.parse().ok()).unwrap_or(0);
        if template["metadata"]["labels"][REVISION] != revision.to_string().as_str() || position != restarted {
            return None;
        }
        let waits = template["spec"]["containers"].as_array()?.iter().all(|c| !c["lifecycle"]["preStop"].is_null());
        Some(Self { waits, signals: template["spec"]["os"]["name"].is_string() })
    }
}

/// What is behind a service waits before it is stopped, unless it does something of its own. Its time to stop begins after that.
pub(super) fn wait_for_balancers(pod: &mut Value, name: &Name, w: &Workload, model: &Model) {
    let job = matches!(w.kind, WorkloadKind::Job | WorkloadKind::CronJob);
    if job || !model.services.iter().any(|s| s.workload == *name && s.port > 0) {
        return;
    }
    let mut waits = false;
    for container in pod["containers"].as_array_mut().into_iter().flatten() {
        let lifecycle = &mut container["lifecycle"];
        if lifecycle.is_null() {
            *lifecycle = json!({});
        }
        if lifecycle["preStop"].is_null() {
            lifecycle["preStop"] = json!({ "sleep": { "seconds": SECONDS } });
            waits = true;
        }
    }
    if waits {
        pod["terminationGracePeriodSeconds"] = w.stop_grace_seconds.saturating_add(SECONDS).into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pods_of_the_same_revision_and_restart_count_as_they_are() {
        let object = json!({ "spec": { "template": {
            "metadata": { "labels": { REVISION: "3" }, "annotations": { RESTARTED: "42" } },
            "spec": { "containers": [{ "lifecycle": { "preStop": { "sleep": { "seconds": 5 } } } }, {}] } } } });
        assert_eq!(Unchanged::of(&object, 3, 42), Some(Unchanged { waits: false, signals: false }));
        assert_eq!((Unchanged::of(&object, 4, 42), Unchanged::of(&object, 3, 43), Unchanged::of(&object, 3, 0)), (None, None, None));
        assert_eq!(Unchanged::of(&json!({}), 3, 0), None);
    }
}
