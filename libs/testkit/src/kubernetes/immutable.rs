//! What an API server does not let anybody change of an object that is there, and names that it takes for none.

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

/// Of the object, and of volumes and containers in a pod's template (RFC 1123), as the server tells it.
pub fn misnamed(name: &str, object: &Value) -> Option<String> {
    let label = |text: &str| {
        let inner = text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        inner && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Some(format!(
            "metadata.name: Invalid value: \"{name}\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
        ));
    }
    for list in ["volumes", "containers", "initContainers"] {
        for one in object["spec"]["template"]["spec"][list].as_array().into_iter().flatten() {
            let own = one["name"].as_str().unwrap_or_default();
            if own.len() > 63 || !label(own) {
                return Some(format!(
                    "spec.template.spec.{list}.name: Invalid value: \"{own}\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character"
                ));
            }
        }
    }
    None
}
