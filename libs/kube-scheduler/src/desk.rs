//! What is to be decided: the planner's picture of the cluster, and the pods that wait. Without I/O: objects go in, decisions
//! come out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gantry_kernel::Uuid;
use gantry_planner::{Cluster, GroupIx, Hints, InstanceKey, Spec, Weights, summarise};
use serde_json::Value;

use crate::translate;

/// What is to be done about one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Bind {
        namespace: String,
        name: String,
        uid: String,
        node: String,
    },
    /// These make room (namespace, name); the pod is looked at again when they are gone.
    Evict {
        namespace: String,
        name: String,
        node: String,
        victims: Vec<(String, String)>,
    },
    /// It finds no place: why, to be told once.
    Wait {
        namespace: String,
        name: String,
        reason: String,
    },
}

struct Known {
    key: InstanceKey,
    group: Option<GroupIx>,
    uid: String,
    /// Where it is bound; the node may not be known yet.
    node: String,
    priority: i32,
    /// Ours to place.
    mine: bool,
    created: String,
    /// Bound by us, and not seen so yet.
    assumed: bool,
    told: String,
}

type At = (String, String);

#[derive(Default)]
pub struct Desk {
    cluster: Cluster,
    nodes: BTreeSet<String>,
    scheduler: String,
    pods: HashMap<At, Known>,
    by_key: HashMap<u128, At>,
    /// To be looked at, the highest priority and the oldest first.
    queue: BTreeSet<(i64, String, At)>,
    /// Found no place at the last look.
    stuck: BTreeMap<At, (i64, String)>,
}

impl Desk {
    pub fn new(scheduler: &str) -> Self {
        Self { scheduler: scheduler.to_owned(), ..Self::default() }
    }

    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.queue.len() + self.stuck.len()
    }

    /// There may be room where there was none.
    fn wake(&mut self) {
        for (at, (rank, created)) in std::mem::take(&mut self.stuck) {
            self.queue.insert((rank, created, at));
        }
    }

    pub fn node(&mut self, object: &Value) {
        let Some(node) = translate::node(object) else { return };
        let ix = self.cluster.set_node(&node);
        self.nodes.insert(node.name.clone());
        let here: Vec<(InstanceKey, GroupIx)> = self.pods.values().filter(|p| p.node == node.name).filter_map(|p| Some((p.key, p.group?))).collect();
        for (key, group) in here {
            if self.cluster.place_of(key).is_none() {
                self.cluster.place(key, group, ix);
            }
        }
        self.wake();
    }

    /// All that there are: others are gone. A binding to a node that is not there is not refused.
    pub fn all_nodes(&mut self, objects: &[Value]) {
        let there: BTreeSet<&str> = objects.iter().filter_map(|o| o["metadata"]["name"].as_str()).collect();
        let gone: Vec<String> = self.nodes.iter().filter(|name| !there.contains(name.as_str())).cloned().collect();
        gone.iter().for_each(|name| self.node_gone(name));
        objects.iter().for_each(|o| self.node(o));
    }

    pub fn node_gone(&mut self, name: &str) {
        self.nodes.remove(name);
        if let Some(ix) = self.cluster.node(name) {
            let here: Vec<InstanceKey> = self.cluster.instances_on(ix).collect();
            for key in here {
                self.cluster.remove(key);
            }
            self.cluster.remove_node(ix);
        }
    }

    pub fn pod(&mut self, object: &Value) {
        let metadata = &object["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let at = (text(&metadata["namespace"]), text(&metadata["name"]));
        let uid = text(&metadata["uid"]);
        let Ok(id) = uid.parse::<Uuid>() else { return };
        if matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
            return self.pod_gone(&at);
        }
        let node = text(&object["spec"]["nodeName"]);
        let spec = translate::spec(object);
        if let Some(known) = self.pods.get_mut(&at) {
            if known.uid != uid {
                self.pod_gone(&at);
            } else if known.assumed && node.is_empty() {
                // An older word than our binding.
                return;
            } else if known.node == node && self.cluster.place_of(known.key).is_some() {
                known.assumed = false;
                return;
            }
        }
        self.unqueue(&at);
        let told = self.pods.get(&at).map(|k| k.told.clone()).unwrap_or_default();
        let key = InstanceKey(id.as_u128());
        self.cluster.remove(key);
        let mine = object["spec"]["schedulerName"] == self.scheduler.as_str();
        let gated = object["spec"]["schedulingGates"].as_array().is_some_and(|g| !g.is_empty());
        let deleting = metadata.get("deletionTimestamp").is_some_and(|t| !t.is_null());
        let priority = i32::try_from(object["spec"]["priority"].as_i64().unwrap_or(0)).unwrap_or(0);
        // A pod that asks what is not known here still takes its room.
        let group = match (&spec, node.is_empty()) {
            (Ok(spec), _) => Some(self.cluster.set_group(spec)),
            (Err(_), false) => {
                Some(self.cluster.set_group(&Spec { key: format!("{uid}/plain"), family: uid.clone(), scope: at.0.clone(), priority, ..Spec::default() }))
            }
            (Err(_), true) => None,
        };
        if let (Some(group), Some(ix)) = (group, self.cluster.node(&node)) {
            self.cluster.place(key, group, ix);
        }
        let created = text(&metadata["creationTimestamp"]);
        self.by_key.insert(key.0, at.clone());
        let known = Known { key, group, uid, node, priority, mine, created: created.clone(), assumed: false, told };
        let waits = known.mine && known.node.is_empty() && !gated && !deleting;
        self.pods.insert(at.clone(), known);
        if waits {
            self.queue.insert((-i64::from(priority), created, at));
        }
    }

    pub fn pod_gone(&mut self, at: &At) {
        self.unqueue(at);
        if let Some(known) = self.pods.remove(at) {
            self.by_key.remove(&known.key.0);
            if self.cluster.remove(known.key).is_some() {
                self.wake();
            }
        }
    }

    /// All that there are: others are gone.
    pub fn all_pods(&mut self, objects: &[Value]) {
        let there: BTreeSet<At> =
            objects.iter().filter_map(|o| Some((o["metadata"]["namespace"].as_str()?.to_owned(), o["metadata"]["name"].as_str()?.to_owned()))).collect();
        let gone: Vec<At> = self.pods.keys().filter(|at| !there.contains(*at)).cloned().collect();
        gone.iter().for_each(|at| self.pod_gone(at));
        objects.iter().for_each(|o| self.pod(o));
    }

    fn unqueue(&mut self, at: &At) {
        if let Some(known) = self.pods.get(at) {
            self.queue.remove(&(-i64::from(known.priority), known.created.clone(), at.clone()));
        }
        self.stuck.remove(at);
    }

    /// At most `most` decisions; what is bound counts as there from now on.
    pub fn decide(&mut self, most: usize) -> Vec<Decision> {
        let (weights, hints) = (Weights::default(), Hints::default());
        let mut out = Vec::new();
        while out.len() < most {
            let Some((rank, created, at)) = self.queue.pop_first() else { break };
            let Some(known) = self.pods.get_mut(&at) else { continue };
            let (namespace, name) = at.clone();
            let Some(group) = known.group else {
                let reason = "it asks for what the scheduler does not know: persistent volumes, claimed devices or affinity over namespaces";
                if known.told != reason {
                    known.told = reason.into();
                    out.push(Decision::Wait { namespace, name, reason: reason.into() });
                }
                continue;
            };
            if let Some(choice) = self.cluster.choose(group, &weights, &hints) {
                self.cluster.place(known.key, group, choice.node);
                let node = self.cluster.node_name(choice.node).to_owned();
                (known.node, known.assumed) = (node.clone(), true);
                known.told.clear();
                out.push(Decision::Bind { namespace, name, uid: known.uid.clone(), node });
                continue;
            }
            self.stuck.insert(at.clone(), (rank, created));
            if let Some(room) = self.cluster.preempt(group, &weights, &hints) {
                let node = self.cluster.node_name(room.node).to_owned();
                let victims: Vec<At> = room.victims.iter().filter_map(|key| self.by_key.get(&key.0).cloned()).collect();
                out.push(Decision::Evict { namespace, name, node, victims });
                continue;
            }
            let findings = self.cluster.explain(group, &weights, &hints);
            let (summary, _) = summarise(&findings);
            let told: Vec<String> = summary.iter().map(|s| format!("{} {}", s.nodes, s.kind)).collect();
            let reason = format!("0/{} nodes are available: {}", findings.len(), if told.is_empty() { "there is none".into() } else { told.join(", ") });
            if known.told != reason {
                known.told.clone_from(&reason);
                out.push(Decision::Wait { namespace, name, reason });
            }
        }
        out
    }

    /// The binding was refused: its room is free again, and it is looked at once more.
    pub fn failed(&mut self, at: &At) {
        if let Some(known) = self.pods.get_mut(at).filter(|k| k.assumed) {
            self.cluster.remove(known.key);
            known.node.clear();
            known.assumed = false;
            self.stuck.insert(at.clone(), (-i64::from(known.priority), known.created.clone()));
        }
    }

    /// Those that wait are looked at again.
    pub fn again(&mut self) {
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, cpu: &str) -> Value {
        json!({ "metadata": { "name": name }, "spec": {}, "status": { "allocatable": { "cpu": cpu, "memory": "8Gi", "pods": "10" }, "conditions": [{ "type": "Ready", "status": "True" }] } })
    }

    fn pod(n: u128, cpu: &str, priority: i32, on: &str) -> Value {
        json!({
            "metadata": { "name": format!("p{n}"), "namespace": "x", "uid": Uuid::from_u128(n).to_string(), "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "schedulerName": "gantry", "priority": priority, "nodeName": on, "containers": [{ "resources": { "requests": { "cpu": cpu } } }] },
        })
    }

    #[test]
    fn pods_go_where_there_is_room_and_others_are_told_why_not() {
        let mut desk = Desk::new("gantry");
        desk.node(&node("n1", "2"));
        desk.pod(&pod(1, "1500m", 0, ""));
        desk.pod(&pod(2, "1", 0, ""));
        let mut other = pod(3, "100m", 0, "");
        other["spec"]["schedulerName"] = "default-scheduler".into();
        desk.pod(&other);
        let decided = desk.decide(10);
        assert!(matches!(&decided[0], Decision::Bind { name, node, .. } if name == "p1" && node == "n1"), "{decided:?}");
        assert!(matches!(&decided[1], Decision::Wait { name, reason, .. } if name == "p2" && reason.starts_with("0/1 nodes")), "{decided:?}");
        assert!(desk.decide(10).is_empty());
        desk.node(&node("n2", "2"));
        let decided = desk.decide(10);
        assert!(matches!(&decided[0], Decision::Bind { name, node, .. } if name == "p2" && node == "n2"), "{decided:?}");
        // Refused: looked at again, after something has moved.
        desk.failed(&("x".into(), "p2".into()));
        desk.again();
        assert_eq!(desk.decide(10).len(), 1);
    }

    #[test]
    fn a_node_that_a_new_list_lacks_gets_no_pod() {
        let mut desk = Desk::new("gantry");
        desk.all_nodes(&[node("n1", "8"), node("n2", "1")]);
        desk.all_nodes(&[node("n2", "1")]);
        desk.pod(&pod(1, "500m", 0, ""));
        assert!(matches!(&desk.decide(10)[0], Decision::Bind { node, .. } if node == "n2"));
    }

    #[test]
    fn a_higher_priority_makes_room() {
        let mut desk = Desk::new("gantry");
        desk.node(&node("n1", "2"));
        desk.pod(&pod(1, "2", 0, "n1"));
        desk.pod(&pod(2, "1", 100, ""));
        let decided = desk.decide(10);
        assert!(matches!(&decided[0], Decision::Evict { name, victims, .. } if name == "p2" && *victims == [("x".to_owned(), "p1".to_owned())]), "{decided:?}");
        desk.pod_gone(&("x".into(), "p1".into()));
        assert!(matches!(&desk.decide(10)[0], Decision::Bind { name, .. } if name == "p2"));
        assert_eq!(desk.waiting(), 0);
    }
}
