//! What controllers and kubelets do, at once: pods of workloads, and their states. An image with `broken` in its name cannot
//! be pulled; pods of one with `refused` in its name are not taken in, as by a quota.

use serde_json::{Value, json};

use super::store::{Key, Store};

/// Until nothing is left to do.
pub fn run(store: &mut Store) {
    let claims: Vec<Key> = store.objects.keys().filter(|k| k.plural == "persistentvolumeclaims").cloned().collect();
    claims.iter().for_each(|claim| store.status(claim, json!({ "phase": "Bound" })));
    let workloads: Vec<Key> =
        store.objects.keys().filter(|k| matches!(k.plural.as_str(), "deployments" | "statefulsets" | "daemonsets" | "jobs")).cloned().collect();
    for key in workloads {
        let Some(object) = store.objects.get(&key).map(|o| o.value.clone()) else { continue };
        let uid = object["metadata"]["uid"].clone();
        let template = &object["spec"]["template"];
        let wanted = match key.plural.as_str() {
            "daemonsets" => 1,
            "jobs" => object["spec"]["completions"].as_u64().unwrap_or(1),
            _ => object["spec"]["replicas"].as_u64().unwrap_or(1),
        };
        // Pods that belong to nobody are taken in by the selector.
        if let Some(wanted) = object["spec"]["selector"]["matchLabels"].as_object() {
            let fits = |pod: &Value| wanted.iter().all(|(k, v)| pod["metadata"]["labels"].get(k) == Some(v));
            let orphan = |o: &Value| o["metadata"].get("ownerReferences").is_none() && fits(o);
            let orphans: Vec<Key> =
                store.objects.iter().filter(|(k, o)| k.plural == "pods" && k.namespace == key.namespace && orphan(&o.value)).map(|(k, _)| k.clone()).collect();
            for pod in orphans {
                let owner = json!([{ "kind": object["kind"], "name": key.name, "uid": uid, "controller": true }]);
                store.update(&pod, "kube-controller-manager", |p| p["metadata"]["ownerReferences"] = owner);
            }
        }
        let mine = |store: &Store| -> Vec<(Key, Value)> {
            let of = |o: &Value| o["metadata"]["ownerReferences"].as_array().is_some_and(|all| all.iter().any(|r| r["uid"] == uid));
            store.objects.iter().filter(|(k, o)| k.plural == "pods" && of(&o.value)).map(|(k, o)| (k.clone(), o.value.clone())).collect()
        };
        let named =
            |part: &str| template["spec"]["containers"].as_array().is_some_and(|c| c.iter().any(|c| c["image"].as_str().is_some_and(|i| i.contains(part))));
        if named("refused") && key.plural != "deployments" {
            let name = format!("{}.refused", key.name);
            if store.find(&format!("events/{}/{name}", key.namespace)).is_none() {
                let event = json!({
                    "apiVersion": "v1", "kind": "Event", "metadata": { "name": name, "namespace": key.namespace }, "type": "Warning", "reason": "FailedCreate",
                    "lastTimestamp": "2026-01-01T00:00:00Z", "message": format!("create Pod {}-0 failed: exceeded quota: gantry-space", key.name),
                    "involvedObject": { "kind": object["kind"], "name": key.name, "namespace": key.namespace, "uid": uid },
                });
                store.put("events", event, "kube-controller-manager");
            }
            let generation = object["metadata"]["generation"].clone();
            store.status(&key, json!({ "observedGeneration": generation, "desiredNumberScheduled": wanted }));
            continue;
        }
        let broken = template["spec"]["containers"].as_array().is_some_and(|c| c.iter().any(|c| c["image"].as_str().is_some_and(|i| i.contains("broken"))));
        let current = |pod: &Value| pod["spec"]["template"] == *template;
        let fresh = mine(store).iter().filter(|(_, p)| current(p)).count() as u64;
        for n in fresh..wanted {
            let number = mine(store).len();
            let name = if key.plural == "statefulsets" { format!("{}-{n}", key.name) } else { format!("{}-{}-{number}", key.name, store.version) };
            if key.plural == "statefulsets"
                && let Some(old) = store.find(&format!("pods/{}/{name}", key.namespace))
            {
                store.delete(&old);
            }
            let mut pod = json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"],
                "spec": { "nodeName": format!("node-{}", number % 2), "containers": template["spec"]["containers"], "template": template },
            });
            pod["metadata"]["name"] = name.as_str().into();
            pod["log"] = format!("2026-01-01T00:00:00.000000001Z hello from {name}\n").into();
            pod["metadata"]["namespace"] = key.namespace.as_str().into();
            pod["metadata"]["ownerReferences"] = json!([{ "kind": object["kind"], "name": key.name, "uid": uid, "controller": true }]);
            pod["status"] = match (key.plural.as_str(), broken) {
                (_, true) => {
                    json!({ "phase": "Pending", "containerStatuses": [{ "name": "c", "state": { "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } } }] })
                }
                ("jobs", false) => json!({ "phase": "Succeeded" }),
                (_, false) => json!({ "phase": "Running", "podIP": format!("10.1.0.{number}"), "conditions": [{ "type": "Ready", "status": "True" }] }),
            };
            store.put("pods", pod, "kubelet");
        }
        // Old ones go when enough new ones are ready, surplus ones at once.
        let all = mine(store);
        let (new, old): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, p)| current(p));
        if !broken {
            old.iter().for_each(|(k, _)| store.delete(k));
        }
        new.iter().skip(usize::try_from(wanted).unwrap_or(usize::MAX)).for_each(|(k, _)| store.delete(k));
        let ready = if broken { 0 } else { wanted };
        let left = mine(store).len();
        let generation = object["metadata"]["generation"].clone();
        let status = match key.plural.as_str() {
            "daemonsets" => {
                json!({ "observedGeneration": generation, "desiredNumberScheduled": wanted, "updatedNumberScheduled": wanted, "numberAvailable": ready })
            }
            "jobs" if ready > 0 => json!({ "succeeded": ready, "conditions": [{ "type": "Complete", "status": "True" }] }),
            "jobs" => json!({ "succeeded": 0 }),
            _ => json!({ "observedGeneration": generation, "replicas": left, "updatedReplicas": wanted, "readyReplicas": ready, "availableReplicas": ready }),
        };
        store.status(&key, status);
    }
}
