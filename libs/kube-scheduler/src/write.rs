//! Decisions, carried out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gantry_kernel::Env;
use gantry_kubernetes::{Client, Kind, POD, Trouble};
use serde_json::{Value, json};

use crate::desk::{Decision, Victim};
use crate::moment;
use crate::report::{Reports, Told};
use crate::run::{CLAIM, Shared, VOLUME};
use crate::storage::{At, Step};

/// What a claim's volume may take to be made (`bindTimeoutSeconds` of kube-scheduler).
const VOLUMES: Duration = Duration::from_secs(600);
const SELECTED: &str = "volume.kubernetes.io/selected-node";

#[derive(Clone)]
pub struct Writer {
    pub client: Client,
    pub shared: Arc<Shared>,
    pub reports: Reports,
    pub env: Env,
}

fn shown(pod: &At) -> String {
    format!("{}/{}", pod.0, pod.1)
}

impl Writer {
    pub async fn carry_out(&self, decision: Decision) {
        match decision {
            Decision::Bind { pod, uid, node, volumes } => self.bind(pod, uid, node, volumes).await,
            Decision::Evict { pod, uid, node, victims, reason, despite } => {
                self.evict(&pod, &uid, &node, victims, &reason, despite).await;
                self.reports.tell(Told { pod, uid, reason: "FailedScheduling", action: "Scheduling", note: reason });
            }
            Decision::Wait { pod, uid, generation, reason, unnamed } => {
                let mut status = json!({ "conditions": [self.unscheduled(&reason, generation)] });
                if unnamed {
                    status["nominatedNodeName"] = Value::Null;
                }
                self.say(&pod, &uid, status).await;
                self.reports.tell(Told { pod, uid, reason: "FailedScheduling", action: "Scheduling", note: reason });
            }
        }
    }

    async fn bind(&self, pod: At, uid: String, node: String, volumes: Vec<Step>) {
        if let Err(why) = self.prepare(&volumes, &node).await {
            tracing::warn!(pod = shown(&pod), node, error = why, "a pod's volumes could not be bound, and it is looked at again");
            self.shared.desk().failed(&pod, &uid, Instant::now());
            self.shared.wake();
            return;
        }
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": { "name": pod.1, "namespace": pod.0, "uid": uid },
            "target": { "apiVersion": "v1", "kind": "Node", "name": node },
        });
        match self.client.post(&format!("{}/{}/binding", POD.path(Some(&pod.0)), pod.1), &binding).await {
            Ok(_) => {
                let note = format!("Successfully assigned {} to {node}", shown(&pod));
                self.reports.tell(Told { pod, uid, reason: "Scheduled", action: "Binding", note });
            }
            // Gone; or bound already, by a word of ours that was answered but not heard: the watch tells, and what is booked here is free until then.
            Err(trouble) => {
                if !matches!(trouble, Trouble::NotFound(_)) {
                    tracing::warn!(pod = shown(&pod), node, error = %trouble, "a pod could not be bound and is looked at again");
                }
                self.shared.desk().failed(&pod, &uid, Instant::now());
                self.shared.wake();
            }
        }
    }

    /// The node is told to who makes volumes, and volumes that are there are kept; then until all are bound.
    async fn prepare(&self, steps: &[Step], node: &str) -> Result<(), String> {
        if steps.is_empty() {
            return Ok(());
        }
        let mut moved = self.shared.moved();
        for step in steps {
            let (kind, name, change): (&Kind, &str, Value) = match step {
                Step::Make { claim } => (&CLAIM, claim.1.as_str(), json!({ "metadata": { "annotations": { SELECTED: node } } })),
                Step::Take { claim, uid, volume, version } => {
                    let kept = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.0, "name": claim.1, "uid": uid });
                    let annotations = json!({ "pv.kubernetes.io/bound-by-controller": "yes" });
                    // Another scheduler, or who binds claims, may have given it away since: that is not overwritten (409).
                    let metadata = json!({ "annotations": annotations, "resourceVersion": version });
                    (&VOLUME, volume.as_str(), json!({ "metadata": metadata, "spec": { "claimRef": kept } }))
                }
            };
            let namespace = kind.namespaced.then_some(step.claim().0.as_str());
            let changed = self.client.merge(kind, namespace, name, &change).await.map_err(|e| format!("{}/{name}: {e}", kind.plural))?;
            let mut desk = self.shared.desk();
            if kind.namespaced { desk.claim(&changed) } else { desk.volume(&changed) }
        }
        let bound = async {
            for step in steps {
                loop {
                    moved.mark_unchanged();
                    match self.shared.desk().is_bound(step, node) {
                        Some(true) => break,
                        Some(false) => return Err(format!("no volume for persistentvolumeclaim \"{}\" can be had on this node", step.claim().1)),
                        None => {}
                    }
                    if moved.changed().await.is_err() {
                        return Err("the scheduler ends".to_owned());
                    }
                }
            }
            Ok(())
        };
        tokio::time::timeout(VOLUMES, bound).await.unwrap_or_else(|_| Err(format!("volumes were not bound within {} s", VOLUMES.as_secs())))
    }

    async fn evict(&self, pod: &At, uid: &str, node: &str, victims: Vec<Victim>, reason: &str, despite: bool) {
        tracing::info!(pod = shown(pod), node, victims = victims.len(), despite, "pods of lower priority make room");
        let status = json!({ "nominatedNodeName": node, "conditions": [self.unscheduled(reason, 0)] });
        self.say(pod, uid, status).await;
        let mut kept = false;
        for Victim { pod: victim, uid: id } in victims {
            // An eviction keeps disruption budgets; and only that very pod is meant.
            let eviction = json!({
                "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": victim.1, "namespace": victim.0 },
                "deleteOptions": { "preconditions": { "uid": id } },
            });
            let mut gone = self.client.post_once(&format!("{}/{}/eviction", POD.path(Some(&victim.0)), victim.1), &eviction).await.map(drop);
            if gone.as_ref().is_err_and(|refused| is_to_be_deleted(refused, despite)) {
                // An eviction says so by itself; a job does not count such a pod as one that has failed (KEP-3329).
                let message = format!("{}: room is made for a pod of higher priority", shown(pod));
                let condition = json!({
                    "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": message,
                    "lastTransitionTime": moment::second(&self.env),
                });
                self.say(&victim, &id, json!({ "conditions": [condition] })).await;
                gone = self.client.delete(&POD, Some(&victim.0), &victim.1, Some(&id)).await;
            }
            match gone {
                Ok(()) => {
                    let note = format!("Preempted by pod {} on node {node}", shown(pod));
                    self.reports.tell(Told { pod: victim, uid: id, reason: "Preempted", action: "Preempting", note });
                }
                // It is gone: the watch tells.
                Err(Trouble::NotFound(_) | Trouble::Conflict(_)) => {}
                Err(trouble) => {
                    tracing::info!(pod = shown(&victim), error = %trouble, "a pod could not be evicted");
                    kept = true;
                }
            }
        }
        if kept {
            self.shared.desk().stays(pod, Instant::now());
            self.shared.wake();
        }
    }

    fn unscheduled(&self, reason: &str, generation: i64) -> Value {
        let mut condition = json!({
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": reason, "lastTransitionTime": moment::second(&self.env),
        });
        // Servers before 1.33 do not know it and leave it out.
        if generation > 0 {
            condition["observedGeneration"] = generation.into();
        }
        condition
    }

    /// To that very pod: another one of its name is not told.
    async fn say(&self, pod: &At, uid: &str, status: Value) {
        let change = json!({ "metadata": { "uid": uid }, "status": status });
        if let Err(trouble) = self.client.patch_status(&POD, &pod.0, &pod.1, &change).await {
            tracing::debug!(pod = shown(pod), error = %trouble, "a pod could not be told why it waits or goes");
        }
    }
}

/// No eviction will do: budgets forbid it and nothing else helps (`despite`), or there are several of them, for which the API knows
/// no eviction (kubernetes.io/docs/concepts/scheduling-eviction/api-eviction); that each of them allows it the planner has seen.
fn is_to_be_deleted(refused: &Trouble, despite: bool) -> bool {
    match refused {
        Trouble::TooMany(_) => despite,
        Trouble::Unavailable { message, .. } => message.contains("more than one PodDisruptionBudget"),
        _ => false,
    }
}
