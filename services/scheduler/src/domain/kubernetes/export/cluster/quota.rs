//! A ResourceQuota that counts limits refuses every pod with a container that has none
//! (kubernetes.io/docs/concepts/policy/resource-quotas "requests compared to limits"). The namespace's LimitRange gives one to who
//! asks for nothing; who asks for more than that has as much as he asks for.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What quotas count of containers.
pub(super) const COUNTED: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Of the file system, where a quota counts it and a container says nothing.
const STORAGE: &str = "1Gi";

pub(super) fn limit(pod: &mut Value, quota: &BTreeMap<String, String>) {
    for what in COUNTED.into_iter().filter(|what| counts(quota, "limits", what)) {
        for list in ["containers", "initContainers"] {
            for container in pod[list].as_array_mut().into_iter().flatten() {
                let resources = &mut container["resources"];
                let request = resources["requests"][what].clone();
                if !request.is_null() && resources["limits"][what].is_null() {
                    resources["limits"][what] = request;
                }
            }
        }
    }
}

/// What containers have that say nothing: `requests` always, limits only where the quota counts them.
pub(super) fn defaults(quota: &BTreeMap<String, String>, cpu: String, memory: String) -> (Map<String, Value>, Map<String, Value>) {
    let amounts = [("cpu", cpu), ("memory", memory), ("ephemeral-storage", STORAGE.to_owned())];
    let of = |kind: &str, always: &[&str]| -> Map<String, Value> {
        let given = amounts.iter().filter(|(what, _)| always.contains(what) || counts(quota, kind, what));
        given.map(|(what, amount)| ((*what).to_owned(), Value::from(amount.as_str()))).collect()
    };
    (of("requests", &["cpu", "memory"]), of("limits", &[]))
}

/// `requests.cpu` and `cpu` are the same.
fn counts(quota: &BTreeMap<String, String>, kind: &str, what: &str) -> bool {
    quota.contains_key(&format!("{kind}.{what}")) || (kind == "requests" && quota.contains_key(what))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_limit_that_is_counted_is_there() {
        let quota = BTreeMap::from([("limits.memory".to_owned(), "8Gi".to_owned()), ("ephemeral-storage".to_owned(), "20Gi".to_owned())]);
        let mut pod = json!({ "containers": [
            { "name": "asks", "resources": { "requests": { "cpu": "2", "memory": "1Gi" } } },
            { "name": "says", "resources": { "requests": { "memory": "1Gi" }, "limits": { "memory": "2Gi" } } },
            { "name": "nothing" }] });
        limit(&mut pod, &quota);
        let limits = |n: usize| pod["containers"][n]["resources"]["limits"].clone();
        assert_eq!((limits(0), limits(1)), (json!({ "memory": "1Gi" }), json!({ "memory": "2Gi" })));
        assert_eq!(limits(2)["memory"], Value::Null, "the LimitRange's");
        let (requests, limits) = defaults(&quota, "100m".into(), "128Mi".into());
        assert_eq!(Value::Object(requests), json!({ "cpu": "100m", "memory": "128Mi", "ephemeral-storage": "1Gi" }));
        assert_eq!(Value::Object(limits), json!({ "memory": "128Mi" }));
        assert!(defaults(&BTreeMap::new(), "1".into(), "1".into()).1.is_empty(), "nobody is limited who need not be");
    }
}
