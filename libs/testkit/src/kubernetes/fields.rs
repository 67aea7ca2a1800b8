//! Fields of objects by their paths, and whose they are.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Manager to the paths it holds.
pub type Managers = BTreeMap<String, BTreeSet<String>>;

const KEYS: [&str; 5] = ["name", "containerPort", "port", "mountPath", "ip"];

fn key(item: &Value) -> Option<(&'static str, String)> {
    KEYS.iter().find_map(|k| item.get(*k).filter(|v| v.is_string() || v.is_number()).map(|v| (*k, v.as_str().map_or_else(|| v.to_string(), str::to_owned))))
}

/// Path to value, of what is set; lists whose items have no key are one value.
pub fn leaves(value: &Value) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    walk(value, String::new(), &mut out);
    out.retain(|path, _| {
        !path.starts_with(".status") && !(path.starts_with(".metadata.") && !path.starts_with(".metadata.labels") && !path.starts_with(".metadata.annotations"))
    });
    out
}

fn walk(value: &Value, path: String, out: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => fields.iter().for_each(|(k, v)| walk(v, format!("{path}.{k}"), out)),
        Value::Array(items) if !items.is_empty() && items.iter().all(|i| key(i).is_some()) => {
            for item in items {
                let (k, v) = key(item).expect("all have one");
                walk(item, format!("{path}[{k}={v}]"), out);
            }
        }
        other => {
            out.insert(path, other.clone());
        }
    }
}

/// Lays `new` over `value`.
pub fn merge(value: &mut Value, new: &Value) {
    match (value, new) {
        (Value::Object(have), Value::Object(fields)) => {
            for (k, v) in fields {
                merge(have.entry(k.clone()).or_insert(Value::Null), v);
            }
        }
        (Value::Array(have), Value::Array(items)) if !items.is_empty() && items.iter().all(|i| key(i).is_some()) => {
            for item in items {
                match have.iter_mut().find(|h| key(h) == key(item)) {
                    Some(found) => merge(found, item),
                    None => have.push(item.clone()),
                }
            }
        }
        (have, new) => *have = new.clone(),
    }
}

/// Takes a path of [`leaves`] out, and lists' items that are left empty; also objects, unless they are to stay as `hollow` ones.
pub fn remove(value: &mut Value, path: &str, hollow: bool) {
    let rest = path.trim_start_matches('.');
    let Some(fields) = value.as_object_mut() else { return };
    // Keys of labels have dots in them.
    let fits = |key: &&String| rest.strip_prefix(key.as_str()).is_some_and(|tail| tail.is_empty() || tail.starts_with(['.', '[']));
    let Some(head) = fields.keys().filter(fits).max_by_key(|key| key.len()).cloned() else { return };
    let tail = &rest[head.len()..];
    if tail.is_empty() {
        fields.remove(&head);
        return;
    }
    let Some(inner) = fields.get_mut(&head) else { return };
    match tail.strip_prefix('[').and_then(|t| t.split_once(']')) {
        Some((of, rest)) => {
            let Some(items) = inner.as_array_mut() else { return };
            let matches = |item: &Value| key(item).is_some_and(|(k, v)| format!("{k}={v}") == of);
            // Who takes back the key takes back the item, with whatever the server has filled in.
            if of.split_once('=').is_some_and(|(k, _)| rest.strip_prefix('.') == Some(k)) {
                items.retain(|item| !matches(item));
                return;
            }
            if let Some(item) = items.iter_mut().find(|i| matches(i)) {
                remove(item, rest, hollow);
            }
            items.retain(|i| i.as_object().is_none_or(|f| !f.is_empty()));
        }
        None => {
            remove(inner, tail, hollow);
            if !hollow && inner.as_object().is_some_and(serde_json::Map::is_empty) {
                fields.remove(&head);
            }
        }
    }
}

/// `managedFields`, with fields as paths are.
pub fn managed(managers: &Managers, api: &str) -> Value {
    let one = |(manager, paths): (&String, &BTreeSet<String>)| {
        let operation = if manager == "gantry" { "Apply" } else { "Update" };
        let mut fields: BTreeMap<String, Value> = paths.iter().map(|p| (format!("f:{p}"), json!({}))).collect();
        // The one that somebody reads stands as the API writes it.
        if paths.contains(".spec.replicas") {
            fields.insert("f:spec".into(), json!({ "f:replicas": {} }));
        }
        json!({ "manager": manager, "operation": operation, "apiVersion": api, "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields })
    };
    managers.iter().filter(|(_, paths)| !paths.is_empty()).map(one).collect()
}
