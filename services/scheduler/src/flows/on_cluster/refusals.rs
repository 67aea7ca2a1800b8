//! Why pods are refused, which only a cluster's events say of some kinds.

use gantry_kernel::{AppId, Name};
use gantry_kubernetes::Kind;

use crate::adapters::clusters::Running;
use crate::domain::cluster::refusal;
use crate::flows::reconcile::Reconciler;

impl Reconciler {
    /// Why the pods of an object are not made, which only its events say. Asked seldom, of one object at a time, and not waited
    /// for long: whatever else is to be done waits meanwhile.
    pub(super) async fn refusal(
        &mut self,
        cluster: &str,
        running: &Running,
        app: AppId,
        name: &Name,
        kind: &Kind,
        object: &serde_json::Value,
    ) -> Option<String> {
        let (now, key) = (self.s.host.env.now(), (app, name.clone()));
        let before = self.clusters.refusals.get(&key).cloned();
        let busy = self.clusters.events_at.get(cluster).is_some_and(|at| *at > now);
        if busy || before.as_ref().is_some_and(|(at, _)| *at > now) {
            return before.and_then(|(_, told)| told);
        }
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let path = format!(
            "/api/v1/namespaces/{}/events?fieldSelector=involvedObject.kind%3D{}%2CinvolvedObject.name%3D{}%2Ctype%3DWarning&limit=100",
            text("namespace"),
            kind.kind,
            text("name")
        );
        let asked = tokio::time::timeout(std::time::Duration::from_secs(2), running.engine.client().get(&path)).await;
        let (pause, told) = match asked {
            Ok(Ok(events)) => (1, refusal(&events, text("uid"))),
            Ok(Err(trouble)) => {
                tracing::debug!(cluster.name = cluster, app.id = %app, error = %trouble, "events cannot be read now");
                (30, before.and_then(|(_, told)| told))
            }
            Err(_) => (30, before.and_then(|(_, told)| told)),
        };
        self.clusters.events_at.insert(cluster.to_owned(), now + time::Duration::seconds(pause));
        self.clusters.refusals.insert(key, (now + time::Duration::seconds(15), told.clone()));
        told
    }
}

pub(super) fn replica_failure(object: Option<&serde_json::Value>) -> bool {
    let conditions = object.and_then(|o| o["status"]["conditions"].as_array());
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "ReplicaFailure" && c["status"] == "True"))
}
