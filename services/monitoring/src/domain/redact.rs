//! Takes personal and secret values out of an event's data before it becomes the content of an audit record.
//! By field name, because the data of every service passes here: better one value too many hidden than one shown.

use serde_json::Value;

/// What stands in place of a hidden value.
pub const HIDDEN: &str = "***";
/// Longer content is cut: an audit record is no archive of documents.
const LONGEST_TEXT: usize = 4_000;
const DEEPEST: usize = 16;

/// Parts of field names whose values are hidden, whatever they are.
const SECRET: [&str; 11] = ["sealed", "password", "passwd", "secret", "token", "credential", "private", "api_key", "apikey", "hash", "cookie"];
/// Personal fields of identity's events: sealed there, of no use here.
const PERSONAL: [&str; 4] = ["username", "email", "display_name", "phone"];
/// Maps and lists whose names may be seen and whose values may not.
const VALUES: [&str; 4] = ["env", "environment", "values", "files"];

/// The data as it may be kept and shown.
pub fn redact(kind: &str, data: Value) -> Value {
    walk(data, kind.starts_with("user."), 0)
}

fn walk(value: Value, personal: bool, depth: usize) -> Value {
    if depth >= DEEPEST {
        return Value::String(HIDDEN.into());
    }
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(name, value)| {
                let lower = name.to_ascii_lowercase();
                let secret = SECRET.iter().any(|part| lower.contains(part)) && !value.is_boolean();
                let value = if secret || (personal && PERSONAL.contains(&lower.as_str())) {
                    if value.is_null() { value } else { HIDDEN.into() }
                } else if VALUES.contains(&lower.as_str()) {
                    blank(value, depth + 1)
                } else {
                    walk(value, personal, depth + 1)
                };
                (name, value)
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(|item| walk(item, personal, depth + 1)).collect(),
        Value::String(text) if text.len() > LONGEST_TEXT => {
            let cut: String = text.chars().take(LONGEST_TEXT / 4).collect();
            Value::String(format!("{cut}... ({} bytes)", text.len()))
        }
        // Postgres takes no NUL in texts.
        Value::String(text) if text.contains('\0') => Value::String(text.replace('\0', "\u{fffd}")),
        other => other,
    }
}

/// Keeps names (keys, `name` fields, what stands before `=`), hides everything else.
fn blank(value: Value, depth: usize) -> Value {
    if depth >= DEEPEST {
        return Value::String(HIDDEN.into());
    }
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(name, value)| {
                let keep = matches!(name.as_str(), "name" | "key" | "path") && value.is_string();
                let value = if keep { value } else { blank(value, depth + 1) };
                (name, value)
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(|item| blank(item, depth + 1)).collect(),
        Value::String(text) => match text.split_once('=') {
            Some((name, _)) => Value::String(format!("{name}={HIDDEN}")),
            None => Value::String(HIDDEN.into()),
        },
        Value::Null => Value::Null,
        Value::Bool(_) | Value::Number(_) => Value::String(HIDDEN.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn personal_fields_of_people_and_secrets_of_all_are_hidden() {
        let data = json!({"user": "u1", "username": "SEALED", "email": "SEALED", "password_hash": null, "must_change_password": true});
        let shown = redact("user.registered", data);
        assert_eq!(shown, json!({"user": "u1", "username": "***", "email": "***", "password_hash": null, "must_change_password": true}));
        assert_eq!(redact("x.y", json!({"a": [{"apiToken": "t"}]})), json!({"a": [{"apiToken": "***"}]}));
    }

    #[test]
    fn the_environment_of_containers_shows_names_only() {
        let model = json!({"workloads": [{"image": "web", "env": [{"name": "PW", "value": "x"}, "A=b"], "environment": {"K": "v", "N": 3}}]});
        assert_eq!(
            redact("app.revised", model),
            json!({"workloads": [{"image": "web", "env": [{"name": "PW", "value": "***"}, "A=***"], "environment": {"K": "***", "N": "***"}}]})
        );
    }

    #[test]
    fn long_texts_are_cut_and_say_so() {
        let shown = redact("x.y", json!({"text": "é".repeat(5_000)}));
        assert!(shown["text"].as_str().unwrap().ends_with("(10000 bytes)"));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i64>().prop_map(Value::from), ".{0,20}".prop_map(Value::from)];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map("[a-z]{1,8}", inner, 0..6).prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_secret_never_comes_through_whatever_surrounds_it(around in any_json()) {
            let data = json!({"around": around, "inner": [{"db_password": "hunter2-xyz", "env": {"A": "hunter2-xyz"}}]});
            prop_assert!(!redact("any.thing", data).to_string().contains("hunter2-xyz"));
        }
    }
}
