//! What controllers and kubelets do, at once: pods of workloads and their states, and the endpoints of services. An image with `broken` in its name cannot
//! be pulled; pods of one with `refused` in its name are not taken in, as by a quota.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::store::{Key, Store};

/// What has changed since the last time, and what depends on it.
pub fn run(store: &mut Store) {
    let (from, now) = (store.handled, store.version);
    let claims: Vec<Key> = store.of("persistentvolumeclaims", None).map(|(k, _)| k.clone()).collect();
    for claim in claims {
        let capacity = store.objects[&claim].value["spec"]["resources"]["requests"].clone();
        store.status(&claim, json!({ "phase": "Bound", "capacity": capacity }));
    }
    let snapshots: Vec<Key> = store.of("volumesnapshots", None).map(|(k, _)| k.clone()).collect();
    for snapshot in snapshots {
        let of = store.objects[&snapshot].value["spec"]["source"]["persistentVolumeClaimName"].as_str().unwrap_or_default().to_owned();
        let there = store.find(&format!("persistentvolumeclaims/{}/{of}", snapshot.namespace));
        // What is ready stays so when its claim goes.
        if store.objects[&snapshot].value["status"]["readyToUse"] != true {
            let status = match there {
                Some(_) => {
                    json!({ "readyToUse": true, "creationTime": "2026-01-01T00:00:00Z", "restoreSize": "1Gi", "boundVolumeSnapshotContentName": snapshot.name })
                }
                None => json!({ "readyToUse": false, "error": { "message": format!("persistentvolumeclaim \"{of}\" not found") } }),
            };
            store.status(&snapshot, status);
        }
    }
    for key in concerned(store, from) {
        workload(store, &key);
    }
    endpoints(store, from);
    // What was done just now is looked at once more, as controllers do.
    store.handled = now;
}

const WORKLOADS: [(&str, &str); 4] = [("DaemonSet", "daemonsets"), ("Deployment", "deployments"), ("Job", "jobs"), ("StatefulSet", "statefulsets")];

/// Workloads that have changed since a version, or one of whose pods has; for a pod that belongs to nobody, all of its namespace.
fn concerned(store: &Store, from: u64) -> BTreeSet<Key> {
    let mut out = BTreeSet::new();
    for change in store.since(from) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (text(&change.object["metadata"]["namespace"]), text(&change.object["metadata"]["name"]));
        let key = |plural: &str, name: String| Key { plural: plural.to_owned(), namespace: namespace.clone(), name };
        if WORKLOADS.iter().any(|(_, plural)| *plural == change.plural) {
            out.insert(key(&change.plural, name));
        } else if change.plural == "pods" {
            let owners = change.object["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
            for owner in owners {
                if let Some((_, plural)) = WORKLOADS.iter().find(|(kind, _)| owner["kind"] == *kind) {
                    out.insert(key(plural, text(&owner["name"])));
                }
            }
            if owners.is_empty() {
                out.extend(WORKLOADS.iter().flat_map(|(_, plural)| store.of(plural, Some(&namespace)).map(|(k, _)| k.clone()).collect::<Vec<_>>()));
            }
        }
    }
    out
}

fn workload(store: &mut Store, key: &Key) {
    let Some(object) = store.objects.get(key).map(|o| o.value.clone()) else { return };
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
        let orphans: Vec<Key> = store.of("pods", Some(&key.namespace)).filter(|(_, o)| orphan(&o.value)).map(|(k, _)| k.clone()).collect();
        for pod in orphans {
            let owner = json!([{ "kind": object["kind"], "name": key.name, "uid": uid, "controller": true }]);
            store.update(&pod, "kube-controller-manager", |p| p["metadata"]["ownerReferences"] = owner);
        }
    }
    let mine = |store: &Store| -> Vec<(Key, Value)> {
        let of = |o: &Value| o["metadata"]["ownerReferences"].as_array().is_some_and(|all| all.iter().any(|r| r["uid"] == uid));
        store.of("pods", Some(&key.namespace)).filter(|(_, o)| of(&o.value)).map(|(k, o)| (k.clone(), o.value.clone())).collect()
    };
    let named = |part: &str| template["spec"]["containers"].as_array().is_some_and(|c| c.iter().any(|c| c["image"].as_str().is_some_and(|i| i.contains(part))));
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
        store.status(key, json!({ "observedGeneration": generation, "desiredNumberScheduled": wanted }));
        return;
    }
    let broken = template["spec"]["containers"].as_array().is_some_and(|c| c.iter().any(|c| c["image"].as_str().is_some_and(|i| i.contains("broken"))));
    // A paused Deployment is scaled only; what is replaced on deletion only is left as it is.
    let still = object["spec"]["paused"] == true || object["spec"]["updateStrategy"]["type"] == "OnDelete";
    let newest = |pod: &Value| pod["spec"]["template"] == *template;
    let up = |pod: &Value| pod["status"]["conditions"].as_array().is_some_and(|c| c.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"));
    // One by one: each is waited for, and one that never comes up is waited for also when the template is another again
    // (kubernetes.io/docs/concepts/workloads/controllers/statefulset "forced rollback").
    let waits = key.plural == "statefulsets" && object["spec"]["podManagementPolicy"] != "Parallel";
    let all = mine(store);
    if waits && all.iter().any(|(_, p)| !newest(p) && !up(p)) {
        let ready = all.iter().filter(|(_, p)| up(p)).count();
        let generation = object["metadata"]["generation"].clone();
        store.status(
            key,
            json!({ "observedGeneration": generation, "replicas": all.len(), "updatedReplicas": 0, "readyReplicas": ready, "availableReplicas": ready }),
        );
        return;
    }
    let current = |pod: &Value| still || newest(pod);
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
            "spec": { "nodeName": format!("node-{}", number % 2), "containers": template["spec"]["containers"], "volumes": template["spec"]["volumes"], "template": template },
        });
        pod["metadata"]["name"] = name.as_str().into();
        pod["log"] = format!("2026-01-01T00:00:00.000000001Z hello from {name}\n").into();
        pod["metadata"]["namespace"] = key.namespace.as_str().into();
        pod["metadata"]["ownerReferences"] = json!([{ "kind": object["kind"], "name": key.name, "uid": uid, "controller": true }]);
        pod["status"] = match (key.plural.as_str(), broken) {
            (_, true) => {
                json!({ "phase": "Pending", "containerStatuses": [{ "name": "c", "state": { "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } } }] })
            }
            // Whoever sleeps has not ended.
            ("jobs", false) if template["spec"]["containers"][0]["command"][0] != "sleep" => json!({ "phase": "Succeeded" }),
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
    // In the middle of a replacement that is held more stand there than are wanted.
    let held = still && new.iter().any(|(_, p)| newest(p)) && !new.iter().all(|(_, p)| newest(p));
    if !held {
        new.iter().skip(usize::try_from(wanted).unwrap_or(usize::MAX)).for_each(|(k, _)| store.delete(k));
    }
    let all = mine(store);
    let ready =
        if matches!(key.plural.as_str(), "jobs" | "daemonsets") { if broken { 0 } else { wanted } } else { all.iter().filter(|(_, p)| up(p)).count() as u64 };
    let (left, updated) = (all.len(), all.iter().filter(|(_, p)| newest(p)).count());
    let generation = object["metadata"]["generation"].clone();
    let status = match key.plural.as_str() {
        "daemonsets" => {
            json!({ "observedGeneration": generation, "desiredNumberScheduled": wanted, "updatedNumberScheduled": wanted, "numberAvailable": ready })
        }
        "jobs" if ready > 0 => json!({ "succeeded": ready, "conditions": [{ "type": "Complete", "status": "True" }] }),
        "jobs" => json!({ "succeeded": 0 }),
        _ => json!({ "observedGeneration": generation, "replicas": left, "updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": ready }),
    };
    store.status(key, status);
}

/// Each service with a selector has one slice with its labels, which names the pods that are ready.
fn endpoints(store: &mut Store, from: u64) {
    // Services that have changed or whose slice or pods have.
    let mut services: BTreeMap<Key, Value> = BTreeMap::new();
    for change in store.since(from).iter().filter(|c| matches!(c.plural.as_str(), "pods" | "services" | "endpointslices")) {
        let (namespace, labels) = (change.object["metadata"]["namespace"].as_str().unwrap_or_default(), &change.object["metadata"]["labels"]);
        let concerned = |key: &Key, service: &Value| match change.plural.as_str() {
            "pods" => service["spec"]["selector"].as_object().is_some_and(|s| s.iter().all(|(k, v)| labels.get(k) == Some(v))),
            "services" => change.object["metadata"]["name"] == key.name.as_str(),
            _ => labels["kubernetes.io/service-name"] == key.name.as_str(),
        };
        for (key, object) in store.of("services", Some(namespace)) {
            if !services.contains_key(key) && concerned(key, &object.value) {
                services.insert(key.clone(), object.value.clone());
            }
        }
    }
    for (key, service) in services {
        let Some(selector) = service["spec"]["selector"].as_object().filter(|s| !s.is_empty()) else { continue };
        let fits = |pod: &Value| selector.iter().all(|(k, v)| pod["metadata"]["labels"].get(k) == Some(v));
        let ready = |pod: &Value| pod["status"]["conditions"].as_array().is_some_and(|c| c.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"));
        let pods = store.of("pods", Some(&key.namespace)).filter(|(_, o)| fits(&o.value) && ready(&o.value));
        let found: Vec<Value> = pods
            .map(|(k, o)| json!({ "addresses": [o.value["status"]["podIP"]], "conditions": { "ready": true }, "targetRef": { "kind": "Pod", "name": k.name, "namespace": k.namespace } }))
            .collect();
        let slice = format!("endpointslices/{}/{}-slice", key.namespace, key.name);
        match store.find(&slice) {
            Some(there) => store.update(&there, "kube-controller-manager", |s| s["endpoints"] = found.into()),
            None => {
                let mut labels = service["metadata"]["labels"].clone();
                labels["kubernetes.io/service-name"] = key.name.as_str().into();
                labels["endpointslice.kubernetes.io/managed-by"] = "endpointslice-controller.k8s.io".into();
                let owner = json!([{ "apiVersion": "v1", "kind": "Service", "name": key.name, "uid": service["metadata"]["uid"], "controller": true }]);
                let value = json!({
                    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": found, "ports": service["spec"]["ports"],
                    "metadata": { "name": format!("{}-slice", key.name), "namespace": key.namespace, "labels": labels, "ownerReferences": owner },
                });
                store.put("endpointslices", value, "kube-controller-manager");
            }
        }
    }
}
