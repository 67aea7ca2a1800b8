//! What others have in a namespace of ours: with the namespace it would go, too. What a cluster puts into every namespace by itself
//! is nobody's, or no namespace could ever be taken away.

use serde_json::Value;

use crate::kinds::Kind;

/// Authorities that are handed to pods: of the cluster, of OpenShift's services, of Istio.
const EVERYWHERE: [&str; 3] = ["kube-root-ca.crt", "openshift-service-ca.crt", "istio-ca-root-cert"];
/// Of a Secret that is an account's: its token, and with it its way to a registry of the cluster.
const OF_ACCOUNT: &str = "kubernetes.io/service-account.name";

/// Is it there because somebody wants it? What controllers make goes with what they make it for; but a pod of a controller that
/// is not ours says that there is something of a kind that is not known here.
pub(super) fn put_there(kind: &Kind, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let made = metadata["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty());
    let managed = metadata["labels"]["endpointslice.kubernetes.io/managed-by"].as_str();
    match kind.kind {
        "Pod" => true,
        "ConfigMap" => !made && !metadata["name"].as_str().is_some_and(|name| EVERYWHERE.contains(&name)),
        "Secret" => !made && !metadata["annotations"][OF_ACCOUNT].is_string(),
        "EndpointSlice" => !made && managed.is_none_or(|by| !by.starts_with("endpointslice")),
        _ => !made,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::POD;

    #[test]
    fn what_a_cluster_puts_into_every_namespace_is_nobodys() {
        let there = |api: &str, kind: &str, metadata: Value| put_there(Kind::of(api, kind).unwrap(), &json!({ "metadata": metadata }));
        for name in ["kube-root-ca.crt", "openshift-service-ca.crt", "istio-ca-root-cert"] {
            assert!(!there("v1", "ConfigMap", json!({ "name": name })), "{name}");
        }
        assert!(there("v1", "ConfigMap", json!({ "name": "theirs" })));
        assert!(!there("v1", "Secret", json!({ "name": "default-dockercfg-x", "annotations": { OF_ACCOUNT: "default" } })));
        assert!(there("v1", "Secret", json!({ "name": "theirs", "annotations": { "a": "b" } })));
        let owned = json!({ "name": "web-1", "ownerReferences": [{ "uid": "u" }] });
        assert!(!there("apps/v1", "Deployment", owned.clone()) && put_there(&POD, &json!({ "metadata": owned })));
        let slice = |by: &str| json!({ "name": "s", "labels": { "endpointslice.kubernetes.io/managed-by": by } });
        assert!(!there("discovery.k8s.io/v1", "EndpointSlice", slice("endpointslicemirroring-controller.k8s.io")));
        assert!(there("discovery.k8s.io/v1", "EndpointSlice", slice("somebody")));
    }
}
