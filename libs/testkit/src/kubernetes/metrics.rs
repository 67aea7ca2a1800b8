//! `metrics.k8s.io/v1beta1` as a metrics server answers it (kubernetes.io/docs/reference/external-api/metrics.v1beta1).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::store::{Store, status};

/// `None`: the path is another's.
pub fn answer(store: &Store, path: &str) -> Option<(u16, Value)> {
    let rest = path.strip_prefix("/apis/metrics.k8s.io/v1beta1/")?;
    if !store.metrics {
        return Some((404, status(404, "the server could not find the requested resource")));
    }
    let items: Vec<Value> = match rest {
        "nodes" => {
            let pods = || store.objects.iter().filter(|(key, _)| key.plural == "pods");
            let nodes: BTreeSet<&str> = pods().filter_map(|(_, o)| o.value["spec"]["nodeName"].as_str()).filter(|n| !n.is_empty()).collect();
            nodes.into_iter().map(|name| json!({ "metadata": { "name": name }, "timestamp": "2026-01-01T00:00:00Z", "window": "10.06s", "usage": { "cpu": "1250000000n", "memory": "2097152Ki" } })).collect()
        }
        "pods" => store
            .objects
            .iter()
            .filter(|(key, object)| key.plural == "pods" && object.value["status"]["phase"] == "Running")
            .map(|(key, object)| {
                let containers = object.value["spec"]["containers"].as_array().into_iter().flatten();
                let containers: Vec<Value> = containers.map(|c| json!({ "name": c["name"], "usage": { "cpu": "250000000n", "memory": "65536Ki" } })).collect();
                let labels = &object.value["metadata"]["labels"];
                json!({ "metadata": { "name": key.name, "namespace": key.namespace, "labels": labels }, "timestamp": "2026-01-01T00:00:00Z", "window": "15s", "containers": containers })
            })
            .collect(),
        _ => return Some((404, status(404, "the server could not find the requested resource"))),
    };
    let kind = if rest == "nodes" { "NodeMetricsList" } else { "PodMetricsList" };
    Some((200, json!({ "kind": kind, "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items })))
}
