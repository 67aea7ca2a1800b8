//! Labels of a workload as they can stand on its pods.

use std::collections::BTreeMap;

use serde_json::Value;

/// What of a name is no part of a Kubernetes label or annotation (kubernetes.io/docs/concepts/overview/working-with-objects/labels).
pub(super) const UNFIT: &str = "gantry.io/labels";

pub(super) fn is_label_value(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    text.is_empty() || (text.len() <= 63 && inner && ends(text.chars().next()) && ends(text.chars().last()))
}

pub(super) fn is_key(text: &str) -> bool {
    let part = |p: &str| {
        let ends = !p.is_empty() && !p.starts_with('-') && !p.ends_with('-');
        ends && p.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    let (prefix, name) = text.rsplit_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    !name.is_empty() && is_label_value(name) && prefix.is_none_or(|p| p.len() <= 253 && p.split('.').all(part))
}

/// Labels as they can stand on a pod: those that Kubernetes does not take become annotations, and what has no key for it either
/// stands in one of ours.
pub(super) fn put_labels(metadata: &mut Value, labels: &BTreeMap<String, String>) {
    let mut unfit = serde_json::Map::new();
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        let wrong: Vec<String> = annotations.keys().filter(|key| !is_key(key)).cloned().collect();
        unfit.extend(wrong.into_iter().filter_map(|key| annotations.remove_entry(&key)));
    }
    for (key, value) in labels {
        match (is_key(key), is_label_value(value)) {
            (true, true) => metadata["labels"][key.as_str()] = value.as_str().into(),
            (true, false) => metadata["annotations"][key.as_str()] = value.as_str().into(),
            (false, _) => {
                unfit.insert(key.clone(), value.as_str().into());
            }
        }
    }
    if !unfit.is_empty() {
        metadata["annotations"][UNFIT] = Value::Object(unfit).to_string().into();
    }
}
