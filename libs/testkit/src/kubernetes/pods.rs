//! What the API does with pods beside keeping them: bindings, evictions, and merge patches of their status.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::store::{Key, Store, status};

/// `strategic-merge-patch+json` or `merge-patch+json`.
pub fn is_merge(headers: &HeaderMap) -> bool {
    headers.get("content-type").and_then(|v| v.to_str().ok()).is_some_and(|kind| kind.contains("merge-patch+json"))
}

/// Lays a patch over a value: `null` takes away, conditions are told apart by their type, any other list replaces the one before.
pub fn merge(value: &mut Value, patch: &Value) {
    if !value.is_object() || !patch.is_object() {
        *value = patch.clone();
        return;
    }
    let (Some(have), Some(fields)) = (value.as_object_mut(), patch.as_object()) else { return };
    for (key, new) in fields {
        if new.is_null() {
            have.remove(key);
            continue;
        }
        let slot = have.entry(key.clone()).or_insert(Value::Null);
        match (new.as_array().filter(|_| key == "conditions"), slot.as_array_mut()) {
            (Some(new), Some(old)) => {
                for one in new {
                    match old.iter_mut().find(|o| o["type"] == one["type"]) {
                        Some(found) => merge(found, one),
                        None => old.push(one.clone()),
                    }
                }
            }
            _ if new.is_object() => {
                if !slot.is_object() {
                    *slot = json!({});
                }
                merge(slot, new);
            }
            _ => *slot = new.clone(),
        }
    }
}

/// As `pods/binding` refuses and does it (registry/core/pod/storage): once, the pod that was meant, and none that is on its way out.
pub fn bind(store: &mut Store, key: &Key, sent: &Value) -> (u16, Value) {
    let Some(pod) = store.objects.get(key).map(|o| &o.value) else {
        return (404, status(404, &format!("pods \"{}\" not found", key.name)));
    };
    let refused = |why: String| (409, status(409, &format!("Operation cannot be fulfilled on pods/binding \"{}\": {why}", key.name)));
    let node = sent["target"]["name"].as_str().unwrap_or_default().to_owned();
    let uid = &sent["metadata"]["uid"];
    if !uid.is_null() && *uid != pod["metadata"]["uid"] {
        return refused(format!("the UID in the precondition ({uid}) does not match the UID in record"));
    }
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return refused(format!("pod {} is being deleted, cannot be assigned to a host", key.name));
    }
    if let Some(there) = pod["spec"]["nodeName"].as_str().filter(|n| !n.is_empty()) {
        return refused(format!("pod {} is already assigned to node \"{there}\"", key.name));
    }
    if pod["spec"]["schedulingGates"].as_array().is_some_and(|g| !g.is_empty()) {
        return refused(format!("pod {} has non-empty .spec.schedulingGates", key.name));
    }
    store.update(key, "scheduler", |pod| {
        pod["spec"]["nodeName"] = node.into();
        // With what was said of it before.
        let gone = json!({ "type": "PodScheduled", "status": "True", "reason": null, "message": null });
        merge(pod, &json!({ "status": { "conditions": [gone] } }));
    });
    (201, json!({ "kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201 }))
}

/// A budget that allows none refuses; a pod that has to be let end (`terminationGracePeriodSeconds` above 0) is on its way out until somebody deletes it.
pub fn evict(store: &mut Store, key: &Key) -> (u16, Value) {
    let Some(pod) = store.objects.get(key).map(|o| o.value.clone()) else {
        return (404, status(404, &format!("pods \"{}\" not found", key.name)));
    };
    let fits = |budget: &Value| {
        let wanted: BTreeMap<String, Value> = budget["spec"]["selector"]["matchLabels"].as_object().cloned().unwrap_or_default().into_iter().collect();
        wanted.iter().all(|(k, v)| pod["metadata"]["labels"].get(k) == Some(v))
    };
    let none_left = store.of("poddisruptionbudgets", Some(&key.namespace)).any(|(_, o)| fits(&o.value) && o.value["status"]["disruptionsAllowed"] == 0);
    if none_left {
        return (429, status(429, "Cannot evict pod as it would violate the pod's disruption budget."));
    }
    end(store, key, &pod);
    (201, json!({ "kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201 }))
}

/// At once, or marked as on its way out.
pub fn end(store: &mut Store, key: &Key, pod: &Value) {
    if pod["spec"]["terminationGracePeriodSeconds"].as_u64().is_some_and(|s| s > 0) {
        store.update(key, "kubelet", |pod| pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:01:00Z".into());
    } else {
        store.delete(key);
    }
}
