//! A pod that stops is told so while balancers still send it requests: what takes it out of the endpoints, and what tells each
//! node of that, runs beside (kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle "pod termination").

use gantry_kernel::Name;
use serde_json::{Value, json};

use crate::domain::model::{Model, Workload, WorkloadKind};

/// So long a pod goes on answering after it was taken out.
const SECONDS: u32 = 5;
/// Since 1.30 a hook may sleep without a program of the image's.
const SINCE: u32 = 30;

/// What is behind a service waits before it is stopped, unless it does something of its own. Its time to stop begins after that.
pub(super) fn wait_for_balancers(pod: &mut Value, name: &Name, w: &Workload, model: &Model, minor: u32) {
    let job = matches!(w.kind, WorkloadKind::Job | WorkloadKind::CronJob);
    if minor < SINCE || job || !model.services.iter().any(|s| s.workload == *name && s.port > 0) {
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
