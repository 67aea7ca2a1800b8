//! What a space has on a cluster for all of its applications.

use serde_json::{Value, json};

use super::{namespace, quota, roles};
use crate::domain::app::Home;
use crate::domain::cluster::ClusterSettings;
use crate::domain::kubernetes::{of_bytes, of_millis};

/// What a space has for all of its applications.
pub fn space(home: &Home, settings: &ClusterSettings, default_cpu_millis: u32, default_memory_bytes: u64) -> Vec<Value> {
    let namespace = namespace(home, settings);
    let level = settings.pod_security.as_str();
    let mut out = vec![json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": namespace, "labels": {
            "pod-security.kubernetes.io/enforce": level,
            "pod-security.kubernetes.io/warn": level,
            "gantry.io/org": home.org_name, "gantry.io/project": home.project_name, "gantry.io/space": home.space_name,
        } },
    })];
    let within = |api: &str, kind: &str, spec: Value| json!({ "apiVersion": api, "kind": kind, "metadata": { "name": "gantry-space", "namespace": namespace }, "spec": spec });
    let (requests, limits) = quota::defaults(&settings.space_quota, of_millis(default_cpu_millis), of_bytes(default_memory_bytes));
    let mut range = json!({ "type": "Container", "defaultRequest": requests });
    if !limits.is_empty() {
        range["default"] = limits.into();
    }
    out.push(within("v1", "LimitRange", json!({ "limits": [range] })));
    if !settings.space_quota.is_empty() {
        out.push(within("v1", "ResourceQuota", json!({ "hard": settings.space_quota })));
    }
    if settings.isolate {
        // From the space itself and the namespaces that are named, and from nowhere else; what is published or routed opens its own
        // ports. Every namespace has this label (kubernetes.io/docs/reference/labels-annotations-taints).
        let named = settings.open_to.iter().map(|name| json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } } }));
        let from: Vec<Value> = std::iter::once(json!({ "podSelector": {} })).chain(named).collect();
        let spec = json!({ "podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{ "from": from }] });
        out.push(within("networking.k8s.io/v1", "NetworkPolicy", spec));
    }
    if settings.roles {
        out.extend(roles::bindings(home, settings, &namespace));
    }
    out
}
