//! What an API server does not let anybody change of an object that is there.

use serde_json::Value;

/// As the server tells it.
pub fn refused(plural: &str, before: &Value, after: &Value) -> Option<String> {
    let changed = |fields: &[&str]| fields.iter().find(|f| before["spec"][**f] != after["spec"][**f]).map(|f| (*f).to_owned());
    match plural {
        "statefulsets" => {
            let may = ["replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy", "minReadySeconds"];
            let of = |spec: &Value| {
                let mut fields = spec.as_object().cloned().unwrap_or_default();
                fields.retain(|name, _| !may.contains(&name.as_str()));
                fields
            };
            (of(&before["spec"]) != of(&after["spec"]))
                .then(|| "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden".to_owned())
        }
        // The value is told, too, and is longer than anybody reads.
        "jobs" => changed(&["template", "selector", "completions", "completionMode"])
            .map(|field| format!("spec.{field}: Invalid value: {}{}: field is immutable", before["spec"][&field], " ".repeat(1_000))),
        "deployments" | "daemonsets" => changed(&["selector"]).map(|field| format!("spec.{field}: Invalid value: field is immutable")),
        "services" => {
            let given = before["spec"]["clusterIP"].as_str().is_some_and(|ip| !ip.is_empty());
            (given && changed(&["clusterIP"]).is_some()).then(|| "spec.clusterIPs[0]: Invalid value: may not change once set".to_owned())
        }
        "persistentvolumeclaims" => changed(&["accessModes", "storageClassName", "volumeMode"])
            .map(|_| "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims".to_owned()),
        _ => None,
    }
}
