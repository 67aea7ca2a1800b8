//! Pods that a StatefulSet waits for without end. It replaces its pods one by one and waits for each; one that never comes up it
//! waits for also when its template is another by then, so that neither a rollback nor a mended revision would ever get there
//! (kubernetes.io/docs/concepts/workloads/controllers/statefulset "forced rollback").

use std::time::Duration;

use gantry_kernel::Name;
use gantry_kubernetes::{POD, Trouble};
use serde_json::Value;

use crate::adapters::clusters::Running;
use crate::domain::cluster::{is_stuck, waits_for_each};

/// Others are looked after meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes such pods of other revisions away. `set`: the StatefulSet as it is there. What a person has to do if it may not be done.
pub(super) async fn unblock(running: &Running, owner: &str, workload: &Name, revision: u64, set: Option<&Value>) -> Option<String> {
    if !set.is_some_and(|set| waits_for_each(set, revision)) {
        return None;
    }
    let mut stuck = Vec::new();
    running.engine.each_pod_of(owner, |pod| {
        if pod.workload == workload.as_str() && pod.revision != revision && is_stuck(pod) {
            stuck.push((pod.namespace.clone(), pod.name.clone(), pod.uid.clone(), pod.reason.clone()));
        }
    });
    for (namespace, name, uid, reason) in stuck {
        tracing::info!(pod = name, reason, revision, "a pod that does not come up is taken away, because its set would wait for it without end");
        let asked = tokio::time::timeout(PATIENCE, running.engine.client().delete(&POD, Some(&namespace), &name, Some(&uid))).await;
        if let Ok(Err(trouble @ Trouble::Forbidden(_))) = asked {
            return Some(format!("its set waits for the pod {name}, which does not come up ({reason}): `kubectl -n {namespace} delete pod {name}`; {trouble}"));
        }
    }
    None
}
