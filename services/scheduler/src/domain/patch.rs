//! Merge patches (RFC 7386) of a model: what a format has no word for travels beside it in our own form, so that every
//! export reads back as exactly the model it came from.

use serde_json::{Map, Value};

use super::model::Model;

/// # Errors
/// What the patched model lacks, in words of its fields.
pub fn apply(model: &mut Model, patch: &Value) -> Result<(), String> {
    let mut value = serde_json::to_value(&*model).map_err(|e| e.to_string())?;
    merge(&mut value, patch);
    *model = serde_json::from_value(value).map_err(|e| format!("does not fit the application: {e}"))?;
    Ok(())
}

/// What makes `to` of `from`; `None` if they are equal.
pub fn between(from: &Model, to: &Model) -> Option<Value> {
    let value = |model: &Model| serde_json::to_value(model).unwrap_or_default();
    difference(&value(from), &value(to))
}

fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    if let Value::Object(fields) = into {
        for (key, change) in changes {
            if change.is_null() {
                fields.remove(key);
            } else {
                merge(fields.entry(key.clone()).or_insert(Value::Null), change);
            }
        }
    }
}

fn difference(from: &Value, to: &Value) -> Option<Value> {
    match (from, to) {
        _ if from == to => None,
        (Value::Object(old), Value::Object(new)) => {
            let mut out = Map::new();
            for key in old.keys().filter(|k| !new.contains_key(*k)) {
                out.insert(key.clone(), Value::Null);
            }
            for (key, value) in new {
                match old.get(key) {
                    Some(was) => out.extend(difference(was, value).map(|d| (key.clone(), d))),
                    None => drop(out.insert(key.clone(), value.clone())),
                }
            }
            Some(Value::Object(out))
        }
        _ => Some(to.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_leads_from_one_to_the_other() {
        let (from, to) = (json!({"a": 1, "b": {"c": [1], "d": 2}, "e": 3}), json!({"a": 1, "b": {"c": [2], "d": 2}, "f": {"g": 1}}));
        let change = difference(&from, &to).unwrap();
        assert_eq!(change, json!({"b": {"c": [2]}, "e": null, "f": {"g": 1}}));
        let mut changed = from;
        merge(&mut changed, &change);
        assert_eq!((&changed, difference(&to, &to)), (&to, None));
    }

    #[test]
    fn a_patch_with_an_unknown_field_is_refused() {
        assert!(apply(&mut Model::default(), &json!({"nonsense": 1})).unwrap_err().contains("nonsense"));
    }
}
