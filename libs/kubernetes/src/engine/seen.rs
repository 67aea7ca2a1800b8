//! What is seen of one owner's objects beside the pods: revisions that have objects of their own, and the endpoints of services.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Engine;
use crate::kinds::Kind;
use crate::pod::REVISION;

/// A service's slices carry its name, and its own labels (kubernetes.io/docs/concepts/services-networking/endpoint-slices).
const SERVICE: &str = "kubernetes.io/service-name";

impl Engine {
    /// Revisions that something of `owner` is labelled with; what controllers made for it does not count.
    pub fn revisions(&self, owner: &str) -> BTreeSet<u64> {
        let state = self.0.lock();
        let of = state.cache.of(owner).filter(|(_, held)| !held.controlled);
        of.filter_map(|(_, held)| held.object["metadata"]["labels"][REVISION].as_str()?.parse().ok()).collect()
    }

    /// All objects of one kind that `owner` has.
    pub fn objects(&self, owner: &str, kind: &Kind) -> Vec<Value> {
        let (state, rank) = (self.0.lock(), kind.rank());
        let of = state.cache.of(owner).filter(|(key, _)| key.0 == rank);
        of.map(|(_, held)| held.object.clone()).collect()
    }

    /// Why something that nobody wants any more is still there; at most five of them.
    pub fn held_up(&self) -> Vec<String> {
        let state = self.0.lock();
        let problems = state.unwanted.iter().filter_map(|owner| state.standing.get(owner)?.problem.clone());
        problems.take(5).collect()
    }

    /// How many ready endpoints a service of `owner` has, as the cluster's own controller says it.
    pub fn endpoints(&self, owner: &str, namespace: &str, service: &str) -> usize {
        let Some(kind) = Kind::of("discovery.k8s.io/v1", "EndpointSlice") else { return 0 };
        let state = self.0.lock();
        let slices = state
            .cache
            .of(owner)
            .filter(|(key, held)| key.0 == kind.rank() && key.1 == namespace && held.object["metadata"]["labels"][SERVICE] == service && !held.deleting);
        // A pod with two addresses stands in a slice for each kind of them.
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for (_, held) in slices {
            *found.entry(held.object["addressType"].as_str().unwrap_or_default().to_owned()).or_default() += ready(&held.object);
        }
        found.into_values().max().unwrap_or(0)
    }
}

/// An endpoint that says nothing of itself is ready, as the API has it.
fn ready(slice: &Value) -> usize {
    let all = slice["endpoints"].as_array().into_iter().flatten();
    all.filter(|e| e["conditions"]["ready"] != false).count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn endpoints_are_ready_unless_they_say_otherwise() {
        let slice = json!({"endpoints": [{"conditions": {"ready": true}}, {"conditions": {"ready": false}}, {"conditions": {}}, {}]});
        assert_eq!((ready(&slice), ready(&json!({"endpoints": null}))), (3, 0));
    }
}
