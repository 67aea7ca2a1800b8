//! What was told to go and is still there: why, in the cluster's own words. Without them a namespace that waits for a finalizer of
//! somebody who is not there any more would only look slow.

use serde_json::Value;

use crate::cache::Held;

/// What a namespace says of its own end (kubernetes.io/docs/concepts/overview/working-with-objects/namespaces; the conditions of
/// core/v1 NamespaceStatus).
const ENDS: [&str; 5] = [
    "NamespaceDeletionDiscoveryFailure",
    "NamespaceDeletionGroupVersionParsingFailure",
    "NamespaceDeletionContentFailure",
    "NamespaceFinalizersRemaining",
    "NamespaceContentRemaining",
];
/// These the cluster sees to by itself.
const OWN: [&str; 2] = ["foregroundDeletion", "orphan"];

/// `told`: the object as it is told, `Namespace/x`. `None`: it is not on its way out, or nothing is known to hold it.
pub(super) fn held_up(told: &str, held: &Held) -> Option<String> {
    if !held.deleting {
        return None;
    }
    let conditions = held.object["status"]["conditions"].as_array().into_iter().flatten();
    let holds: Vec<&Value> = conditions.filter(|c| c["status"] == "True").collect();
    let said = |kind: &&str| holds.iter().find(|c| c["type"] == **kind).and_then(|c| c["message"].as_str());
    let mut why: Vec<String> = ENDS.iter().filter_map(said).map(|message| message.trim().chars().take(300).collect()).collect();
    let finalizers = held.object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let finalizers: Vec<&str> = finalizers.filter(|name| !OWN.contains(name)).collect();
    if !finalizers.is_empty() {
        why.push(format!("it waits for {}", finalizers.join(", ")));
    }
    (!why.is_empty()).then(|| format!("{told} is being deleted and is still there: {}", why.join("; ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cache::hold;

    fn held(metadata: Value, status: Value) -> Held {
        let mut object = json!({ "metadata": { "name": "x", "uid": "u" }, "status": status });
        object["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        hold(0, object).unwrap().1
    }

    #[test]
    fn what_holds_an_object_is_named_once_it_is_told_to_go() {
        let status = json!({ "conditions": [
            { "type": "NamespaceDeletionContentFailure", "status": "False", "message": "All content successfully deleted" },
            { "type": "NamespaceFinalizersRemaining", "status": "True", "message": "Some content in the namespace has finalizers remaining: example.org/keep in 1 resource instances" },
        ] });
        assert_eq!(held_up("Namespace/x", &held(json!({}), status.clone())), None, "it stays");
        let told = held_up("Namespace/x", &held(json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }), status)).unwrap();
        assert!(told.starts_with("Namespace/x is being deleted") && told.contains("example.org/keep") && !told.contains("successfully"), "{told}");
        let going = |finalizers: Value| held(json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers }), json!({}));
        assert!(held_up("Service/x", &going(json!(["service.kubernetes.io/load-balancer-cleanup"]))).unwrap().contains("load-balancer-cleanup"));
        assert_eq!(held_up("StatefulSet/x", &going(json!(["orphan"]))), None);
    }
}
