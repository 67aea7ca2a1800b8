//! What is seen of the cluster.

use std::collections::{BTreeMap, BTreeSet};

use gantry_kernel::Uuid;
use gantry_planner::{GroupIx, InstanceKey};
use serde_json::Value;

use super::{Budget, Desk, Known};
use crate::storage::{At, Storage};
use crate::translate;

fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

pub fn place_of(object: &Value) -> At {
    (object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned(), name_of(object))
}

impl Desk {
    pub fn node(&mut self, object: &Value) {
        let Some(mut node) = translate::node(object) else { return };
        self.storage.set_limits(&mut node);
        self.set_node(node);
    }

    fn set_node(&mut self, node: gantry_planner::Node) {
        // Heartbeats say nothing new.
        if self.nodes.get(&node.name) == Some(&node) {
            return;
        }
        let ix = self.cluster.set_node(&node);
        if self.nodes.insert(node.name.clone(), node.clone()).is_none() {
            let here = self.pods.values().filter(|p| p.node == node.name);
            let here: Vec<(InstanceKey, GroupIx)> = here.filter_map(|p| Some((p.key, *p.group.as_ref().ok()?))).collect();
            for (key, group) in here {
                self.cluster.place(key, group, ix);
            }
        }
        self.wake();
    }

    /// All that there are: others are gone. A binding to a node that is not there is not refused.
    pub fn all_nodes(&mut self, objects: &[Value]) {
        let there: BTreeSet<&str> = objects.iter().filter_map(|o| o["metadata"]["name"].as_str()).collect();
        let gone: Vec<String> = self.nodes.keys().filter(|name| !there.contains(name.as_str())).cloned().collect();
        gone.iter().for_each(|name| self.node_gone(name));
        objects.iter().for_each(|o| self.node(o));
    }

    pub fn node_gone(&mut self, name: &str) {
        self.nodes.remove(name);
        if let Some(ix) = self.cluster.node(name) {
            let here: Vec<InstanceKey> = self.cluster.instances_on(ix).collect();
            for key in here {
                self.cluster.remove(key);
                // One that was to come there looks for another place.
                let promised = self.by_key.get(&key.0).filter(|at| self.awaiting.contains(*at)).cloned();
                if let Some(at) = promised {
                    self.let_go(&at);
                    self.enqueue(&at);
                }
            }
            self.cluster.remove_node(ix);
        }
    }

    pub fn pod(&mut self, object: &Value) {
        let (at, metadata) = (place_of(object), &object["metadata"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let uid = text(&metadata["uid"]);
        let Ok(id) = uid.parse::<Uuid>() else { return };
        if matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
            return self.pod_gone(&at);
        }
        let node = text(&object["spec"]["nodeName"]);
        if self.pods.get(&at).is_some_and(|known| known.uid != uid) {
            self.pod_gone(&at);
        }
        // An older word than our binding.
        if self.pods.get(&at).is_some_and(|known| known.assumed.is_some() && node.is_empty()) {
            return;
        }
        let claims = Storage::claims_of(object);
        let leaving = !metadata["deletionTimestamp"].is_null();
        let mine = object["spec"]["schedulerName"] == self.scheduler.as_str();
        let gated = object["spec"]["schedulingGates"].as_array().is_some_and(|g| !g.is_empty());
        let waits = mine && node.is_empty() && !gated && !leaving;
        let (group, open) = match (mine, node.is_empty()) {
            // Others see to it.
            (false, true) => (Err(String::new()), Vec::new()),
            (_, unplaced) => self.group(object, &claims, !unplaced),
        };
        if !claims.is_empty() || translate::chooses_namespaces(object) {
            self.depend.insert(at.clone(), object.clone());
        }
        for claim in &claims {
            self.users.entry(claim.clone()).or_default().insert(at.clone());
        }
        let generation = metadata["generation"].as_i64().unwrap_or(0);
        if let Some(known) = self.pods.get_mut(&at) {
            let same = known.node == node && known.group == group && known.open == open && known.leaving == leaving;
            let booked = self.cluster.group_of(known.key).is_some();
            // Bound as it was, or waiting as before: our own word of why it waits is no news.
            if same && (if node.is_empty() { known.waits == waits } else { booked }) {
                known.assumed = None;
                known.waits = waits;
                known.generation = generation;
                let named = text(&object["status"]["nominatedNodeName"]);
                known.misnamed &= !named.is_empty();
                if !known.misnamed {
                    known.nominated = named;
                }
                return;
            }
        }
        let stood = self.pods.get(&at).is_some_and(|known| self.cluster.place_of(known.key).is_some());
        self.unqueue(&at);
        self.let_go(&at);
        let before = self.pods.remove(&at);
        let key = InstanceKey(id.as_u128());
        if let (Ok(group), Some(ix)) = (&group, self.cluster.node(&node)) {
            self.cluster.place(key, *group, ix);
        }
        let priority = i32::try_from(object["spec"]["priority"].as_i64().unwrap_or(0)).unwrap_or(0);
        self.by_key.insert(key.0, at.clone());
        let known = Known {
            key,
            group,
            uid,
            generation,
            node,
            priority,
            waits,
            created: text(&metadata["creationTimestamp"]),
            leaving,
            claims,
            open,
            assumed: None,
            nominated: text(&object["status"]["nominatedNodeName"]),
            misnamed: false,
            victims: BTreeSet::new(),
            told: before.as_ref().map(|k| k.told.clone()).unwrap_or_default(),
            tries: before.as_ref().map_or(0, |k| k.tries),
            rests: None,
        };
        self.pods.insert(at.clone(), known);
        self.allow(&at);
        // It takes less now, or takes it elsewhere.
        if stood {
            self.wake();
        }
        if waits {
            self.enqueue(&at);
        }
    }

    /// What it is to the planner, and its claims that are bound once its node is known.
    fn group(&mut self, pod: &Value, claims: &[At], placed: bool) -> (Result<GroupIx, String>, Vec<At>) {
        let (spec, open) = if placed {
            (translate::standing(pod, &self.storage.attached(claims), &self.namespaces), Vec::new())
        } else {
            let asked = self.storage.asked(claims);
            let open = asked.as_ref().map(|a| a.open.clone()).unwrap_or_default();
            match translate::spec(pod, asked.as_ref().map_err(Clone::clone), &self.namespaces) {
                Ok(spec) => (spec, open),
                Err(reason) => return (Err(reason), Vec::new()),
            }
        };
        let group = self.cluster.set_group(&spec);
        self.groups = self.groups.max(group.0 as usize + 1);
        (Ok(group), open)
    }

    pub fn pod_gone(&mut self, at: &At) {
        self.unqueue(at);
        self.awaiting.remove(at);
        self.depend.remove(at);
        if let Some(known) = self.pods.remove(at) {
            self.by_key.remove(&known.key.0);
            for claim in &known.claims {
                if let Some(users) = self.users.get_mut(claim) {
                    users.remove(at);
                    if users.is_empty() {
                        self.users.remove(claim);
                    }
                }
            }
            self.storage.give_back(&known.assumed.unwrap_or_default());
            if self.cluster.remove(known.key).is_some() {
                self.wake();
            }
        }
        let mut free = Vec::new();
        for waiting in &self.awaiting {
            if let Some(known) = self.pods.get_mut(waiting)
                && known.victims.remove(at)
                && known.victims.is_empty()
            {
                free.push(waiting.clone());
            }
        }
        for waiting in free {
            self.let_go(&waiting);
            self.enqueue(&waiting);
        }
    }

    /// All that there are: others are gone.
    pub fn all_pods(&mut self, objects: &[Value]) {
        let there: BTreeSet<At> = objects.iter().map(place_of).collect();
        let gone: Vec<At> = self.pods.keys().filter(|at| !there.contains(*at)).cloned().collect();
        gone.iter().for_each(|at| self.pod_gone(at));
        objects.iter().for_each(|o| self.pod(o));
    }

    /// These are looked at as if they had just been seen: what they depend on has changed.
    fn renew(&mut self, concerned: impl Fn(&Known) -> bool) {
        let of = |at: &&At| self.pods.get(*at).is_some_and(&concerned);
        let objects: Vec<Value> = self.depend.iter().filter(|(at, _)| of(at)).map(|(_, o)| o.clone()).collect();
        objects.iter().for_each(|o| self.pod(o));
    }

    /// Those that use a claim: waiting ones find a place by it, standing ones are counted by its volume.
    fn renew_users(&mut self, claim: &At) {
        let users = self.users.get(claim).into_iter().flatten();
        let objects: Vec<Value> = users.filter_map(|at| self.depend.get(at)).cloned().collect();
        objects.iter().for_each(|o| self.pod(o));
    }

    fn waits(known: &Known) -> bool {
        known.node.is_empty() && !known.claims.is_empty()
    }

    /// Of a kind that is known and not among these.
    pub fn others(&self, plural: &str, objects: &[Value]) -> Vec<At> {
        let there: BTreeSet<At> = objects.iter().map(place_of).collect();
        let plain = |names: Vec<String>| names.into_iter().map(|name| (String::new(), name)).collect::<Vec<At>>();
        let known = match plural {
            "poddisruptionbudgets" => self.budgets.keys().cloned().collect(),
            "namespaces" => plain(self.namespaces.keys().cloned().collect()),
            _ => self.storage.names(plural),
        };
        known.into_iter().filter(|at| !there.contains(at)).collect()
    }

    pub fn claim(&mut self, object: &Value) {
        let at = self.storage.claim(object);
        self.renew_users(&at);
    }

    /// See [`Storage::claims_asked`].
    pub fn claims_asked(&mut self) {
        self.storage.claims_asked();
    }

    pub fn claim_gone(&mut self, at: &At) {
        self.storage.claim_gone(at);
        self.renew_users(at);
    }

    pub fn volume(&mut self, object: &Value) {
        match self.storage.volume(object) {
            Some(claim) => self.renew_users(&claim),
            // One that is free: whoever looks for one.
            None => self.renew(Self::waits),
        }
    }

    pub fn volume_gone(&mut self, name: &str) {
        self.storage.volume_gone(name);
        self.renew(Self::waits);
    }

    pub fn class(&mut self, object: &Value) {
        self.storage.class(object);
        self.renew(Self::waits);
    }

    pub fn class_gone(&mut self, name: &str) {
        self.storage.class_gone(name);
        self.renew(Self::waits);
    }

    pub fn limit(&mut self, object: &Value) {
        if self.storage.limit(object) {
            let names: Vec<String> = self.nodes.keys().cloned().collect();
            names.iter().for_each(|name| self.limit_node(name));
            self.renew(|k| !k.claims.is_empty());
        } else {
            self.limit_node(&name_of(object));
        }
    }

    pub fn limit_gone(&mut self, name: &str) {
        self.storage.limit_gone(name);
        self.limit_node(name);
    }

    fn limit_node(&mut self, name: &str) {
        if let Some(mut node) = self.nodes.get(name).cloned() {
            self.storage.set_limits(&mut node);
            self.set_node(node);
        }
    }

    pub fn namespace(&mut self, object: &Value) {
        let labels = object["metadata"]["labels"].as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()));
        let labels: BTreeMap<String, String> = labels.collect();
        if self.namespaces.insert(name_of(object), labels.clone()) != Some(labels) {
            self.renew(|_| true);
        }
    }

    pub fn namespace_gone(&mut self, name: &str) {
        if self.namespaces.remove(name).is_some() {
            self.renew(|_| true);
        }
    }

    pub fn budget(&mut self, object: &Value) {
        let at = place_of(object);
        let namespace = at.0.clone();
        // One without a selector is nobody's (policy/v1).
        let Ok(selector) = translate::selector(&object["spec"]["selector"]) else { return };
        let allowed = object["status"]["disruptionsAllowed"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        let before = self.budgets.insert(at, Budget { selector, allowed });
        self.allow_in(&namespace);
        if before.is_some_and(|b| b.allowed < allowed) {
            self.wake();
        }
    }

    pub fn budget_gone(&mut self, at: &At) {
        self.budgets.remove(at);
        self.allow_in(&at.0);
        self.wake();
    }

    fn allow_in(&mut self, namespace: &str) {
        let here: Vec<At> = self.pods.keys().filter(|at| at.0 == namespace).cloned().collect();
        here.iter().for_each(|at| self.allow(at));
    }

    pub(super) fn allow_all(&mut self) {
        let all: Vec<At> = self.pods.keys().cloned().collect();
        all.iter().for_each(|at| self.allow(at));
    }

    /// How many of a pod's family may be displaced now, by the strictest of its budgets.
    fn allow(&mut self, at: &At) {
        let Some(Ok(group)) = self.pods.get(at).map(|k| k.group.clone()) else { return };
        let budgets = self.budgets.range((at.0.clone(), String::new())..).take_while(|(of, _)| of.0 == at.0);
        let labels = &self.cluster.spec(group).labels;
        let least = budgets.filter(|(_, b)| b.selector.selects(labels)).map(|(_, b)| b.allowed).min();
        self.cluster.set_allowance(group, least);
        match least {
            Some(least) => self.limited.insert(group, least),
            None => self.limited.remove(&group),
        };
    }
}
