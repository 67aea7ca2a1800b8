//! PATCH of a resource as JSON (RFC 7644 section 3.5.2): add, replace, remove, with or without a path.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::domain::scim::filter::{self, Filter, FilterError, PatchPath};

pub const MOST_OPERATIONS: usize = 200;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum PatchError {
    #[error("at most {MOST_OPERATIONS} operations")]
    TooMany,
    #[error("op `{0}`: must be add, replace or remove")]
    Operation(String),
    #[error("path: {0}")]
    Path(#[from] FilterError),
    #[error("the path selects nothing")]
    NoTarget,
    #[error("`id`, `meta` and the `groups` of a user are not to be changed here")]
    ReadOnly,
    #[error("value: {0}")]
    Value(&'static str),
}

#[derive(Clone, Debug, serde::Deserialize)]
pub struct Operation {
    pub op: String,
    #[serde(default)]
    pub path: Option<String>,
    #[serde(default)]
    pub value: Value,
}

/// # Errors
/// The first operation that cannot be done; the resource is then in between and must be thrown away.
pub fn apply(resource: &mut Value, operations: &[Operation]) -> Result<(), PatchError> {
    if operations.len() > MOST_OPERATIONS {
        return Err(PatchError::TooMany);
    }
    flatten(resource);
    for operation in operations {
        // A schema instead of an attribute: its attributes are in the value.
        let path = operation.path.as_deref().filter(|path| !path.trim().is_empty() && !is_schema(path));
        let path = path.map(filter::parse_path).transpose()?;
        // Among values without a path they are passed over: some directories send the whole resource.
        if path.as_ref().is_some_and(|p| ["id", "meta", "groups"].iter().any(|fixed| p.path.attribute.eq_ignore_ascii_case(fixed))) {
            return Err(PatchError::ReadOnly);
        }
        match (operation.op.to_ascii_lowercase().as_str(), path) {
            ("add", Some(path)) => set(resource, &path, operation.value.clone(), true)?,
            ("replace", Some(path)) => set(resource, &path, operation.value.clone(), false)?,
            (op @ ("add" | "replace"), None) => {
                let Value::Object(fields) = &operation.value else { return Err(PatchError::Value("without a path it must be an object")) };
                for (name, value) in fields {
                    match value {
                        Value::Object(inner) if is_schema(name) => {
                            for (name, value) in inner {
                                set(resource, &filter::parse_path(name)?, value.clone(), op == "add")?;
                            }
                        }
                        value => set(resource, &filter::parse_path(name)?, value.clone(), op == "add")?,
                    }
                }
            }
            ("remove", Some(path)) => remove(resource, &path, &operation.value)?,
            ("remove", None) => return Err(PatchError::NoTarget),
            _ => return Err(PatchError::Operation(operation.op.clone())),
        }
    }
    Ok(())
}

/// `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User`, without an attribute behind it.
fn is_schema(name: &str) -> bool {
    let last = name.trim().rsplit(':').next().unwrap_or_default();
    filter::is_urn(name.trim()) && ["User", "Group"].iter().any(|kind| last.eq_ignore_ascii_case(kind))
}

/// Attributes of extensions beside the others, where paths find them: no two that we know have the same name.
fn flatten(resource: &mut Value) {
    let Some(fields) = resource.as_object_mut() else { return };
    let extensions: Vec<String> = fields.iter().filter(|(name, inner)| filter::is_urn(name) && inner.is_object()).map(|(name, _)| name.clone()).collect();
    for name in extensions {
        if let Some(Value::Object(inner)) = fields.remove(&name) {
            inner.into_iter().for_each(|(name, value)| {
                fields.entry(name).or_insert(value);
            });
        }
    }
}

/// The attribute under the name it already has in whatever case, else under the given one.
fn slot<'a>(resource: &'a mut Map<String, Value>, name: &str) -> &'a mut Value {
    let key = resource.keys().find(|k| k.eq_ignore_ascii_case(name)).cloned().unwrap_or_else(|| name.to_owned());
    resource.entry(key).or_insert(Value::Null)
}

fn object(value: &mut Value) -> Result<&mut Map<String, Value>, PatchError> {
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().ok_or(PatchError::Value("the path goes through something that has no parts"))
}

fn set(resource: &mut Value, path: &PatchPath, value: Value, add: bool) -> Result<(), PatchError> {
    let target = slot(object(resource)?, &path.path.attribute);
    if let Some(element) = &path.element {
        let mut hit = false;
        for one in target.as_array_mut().into_iter().flatten().filter(|e| element.fits(e)) {
            hit = true;
            match &path.path.sub {
                Some(sub) => *slot(object(one)?, sub) = value.clone(),
                None if value.is_object() => merge(object(one)?, value.clone()),
                None => *one = value.clone(),
            }
        }
        return match (hit, add) {
            (true, _) => Ok(()),
            (false, true) => begin(target, element, path.path.sub.as_deref(), value),
            (false, false) => Err(PatchError::NoTarget),
        };
    }
    let target = match &path.path.sub {
        Some(sub) => slot(object(target)?, sub),
        None => target,
    };
    match (target, value, add) {
        (Value::Array(known), Value::Array(more), true) => more.into_iter().for_each(|one| put_once(known, one)),
        (Value::Array(known), one, true) => put_once(known, one),
        (Value::Object(known), value @ Value::Object(_), _) => merge(known, value),
        (target, value, _) => *target = value,
    }
    Ok(())
}

/// Adds the element that was selected and is not there: `phoneNumbers[type eq "work"].value` begins one of that type.
fn begin(target: &mut Value, element: &Filter, sub: Option<&str>, value: Value) -> Result<(), PatchError> {
    let mut made = element.described().ok_or(PatchError::NoTarget)?;
    match (sub, value) {
        (Some(sub), value) => *slot(&mut made, sub) = value,
        (None, value @ Value::Object(_)) => merge(&mut made, value),
        (None, _) => return Err(PatchError::Value("an element must be an object")),
    }
    if target.is_null() {
        *target = Value::Array(Vec::new());
    }
    let known = target.as_array_mut().ok_or(PatchError::Value("the path selects of something that has no elements"))?;
    put_once(known, Value::Object(made));
    Ok(())
}

/// Elements with the same `value` are the same, and one at most is the primary one (RFC 7644 section 3.5.2).
fn put_once(known: &mut Vec<Value>, one: Value) {
    if filter::attribute(&one, "primary").and_then(filter::truth) == Some(true) {
        known.iter_mut().filter_map(|k| k.get_mut("primary")).for_each(|primary| *primary = Value::Bool(false));
    }
    let same = |k: &Value| *k == one || (one.get("value").is_some() && k.get("value") == one.get("value"));
    match known.iter_mut().find(|k| same(k)) {
        Some(there) => *there = one,
        None => known.push(one),
    }
}

fn merge(known: &mut Map<String, Value>, value: Value) {
    if let Value::Object(fields) = value {
        for (name, value) in fields {
            *slot(known, &name) = value;
        }
    }
}

fn remove(resource: &mut Value, path: &PatchPath, value: &Value) -> Result<(), PatchError> {
    let fields = object(resource)?;
    let Some(key) = fields.keys().find(|k| k.eq_ignore_ascii_case(&path.path.attribute)).cloned() else { return Ok(()) };
    match (&path.element, &path.path.sub, value) {
        (Some(element), None, _) => {
            if let Some(Value::Array(known)) = fields.get_mut(&key) {
                known.retain(|one| !element.fits(one));
            }
        }
        (Some(element), Some(sub), _) => {
            for one in fields.get_mut(&key).and_then(Value::as_array_mut).into_iter().flatten().filter(|e| element.fits(e)) {
                object(one)?.retain(|name, _| !name.eq_ignore_ascii_case(sub));
            }
        }
        // Some directories name the members to remove in the value.
        (None, None, gone @ (Value::Array(_) | Value::Object(_))) if fields.get(&key).is_some_and(Value::is_array) => {
            let gone = gone.as_array().map_or(std::slice::from_ref(gone), Vec::as_slice);
            if let Some(Value::Array(known)) = fields.get_mut(&key) {
                known.retain(|one| !gone.iter().any(|g| g == one || (g.get("value").is_some() && g.get("value") == one.get("value"))));
            }
        }
        (None, None, _) => {
            fields.remove(&key);
        }
        (None, Some(sub), _) => {
            if let Some(Value::Object(inner)) = fields.get_mut(&key) {
                inner.retain(|name, _| !name.eq_ignore_ascii_case(sub));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn patched(resource: Value, operations: Value) -> Result<Value, PatchError> {
        let mut resource = resource;
        let operations: Vec<Operation> = serde_json::from_value(operations).unwrap();
        apply(&mut resource, &operations).map(|()| resource)
    }

    #[test]
    fn members_are_added_once_and_removed_by_filter_or_by_value() {
        let group = json!({ "members": [{ "value": "1" }] });
        let add = json!([{ "op": "Add", "path": "members", "value": [{ "value": "2" }, { "value": "1" }] }]);
        let both = patched(group, add).unwrap();
        assert_eq!(both["members"].as_array().unwrap().len(), 2);
        let by_filter = patched(both.clone(), json!([{ "op": "remove", "path": "members[value eq \"1\"]" }])).unwrap();
        assert_eq!(by_filter["members"], json!([{ "value": "2" }]));
        let by_value = patched(both.clone(), json!([{ "op": "remove", "path": "members", "value": [{ "value": "2" }] }])).unwrap();
        assert_eq!(by_value["members"], json!([{ "value": "1" }]));
        assert_eq!(patched(both, json!([{ "op": "remove", "path": "members" }])).unwrap(), json!({}));
    }

    #[test]
    fn what_directories_send_beside_the_rules_is_understood() {
        let user = json!({ "emails": [{ "value": "a@b.c", "type": "work", "primary": true }] });
        let phone = patched(user.clone(), json!([{ "op": "Add", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "1" }])).unwrap();
        assert_eq!(phone["phoneNumbers"], json!([{ "type": "mobile", "value": "1" }]));
        let street = json!([{ "op": "Add", "path": "addresses[type eq \"work\"]", "value": { "locality": "Turin" } }]);
        assert_eq!(patched(user.clone(), street).unwrap()["addresses"], json!([{ "type": "work", "locality": "Turin" }]));
        let primary = json!([{ "op": "add", "path": "emails", "value": [{ "value": "new@b.c", "primary": true }] }]);
        let both = patched(user.clone(), primary).unwrap();
        assert_eq!((&both["emails"][0]["primary"], &both["emails"][1]["primary"]), (&json!(false), &json!(true)), "one primary at most");
        let gone = json!([{ "op": "Remove", "path": "emails", "value": { "value": "new@b.c" } }]);
        assert_eq!(patched(both, gone).unwrap()["emails"].as_array().unwrap().len(), 1);
        let nothing = json!([{ "op": "add", "path": "emails[type ne \"work\"].value", "value": "x" }]);
        assert_eq!(patched(user.clone(), nothing), Err(PatchError::NoTarget), "no element is described");
        for path in ["id", "META.created", "urn:ietf:params:scim:schemas:core:2.0:User:id"] {
            assert_eq!(patched(user.clone(), json!([{ "op": "replace", "path": path, "value": "x" }])), Err(PatchError::ReadOnly), "{path}");
        }
        assert!(patched(user, json!([{ "op": "replace", "value": { "id": "x", "displayName": "A" } }])).is_ok(), "beside others it is passed over");
    }

    #[test]
    fn paths_reach_parts_and_elements_in_any_case() {
        let user = json!({ "userName": "ada", "active": true, "name": { "familyName": "K" }, "emails": [{ "type": "work", "value": "a@b.c" }] });
        let operations = json!([
            { "op": "replace", "path": "ACTIVE", "value": false },
            { "op": "replace", "path": "name.familyName", "value": "King" },
            { "op": "replace", "path": "emails[type eq \"work\"].value", "value": "ada@example.org" },
            { "op": "add", "value": { "displayName": "Ada", "urn:ietf:params:scim:schemas:core:2.0:User:title": "Countess" } },
        ]);
        let changed = patched(user.clone(), operations).unwrap();
        assert_eq!((&changed["active"], &changed["name"]["familyName"], &changed["title"]), (&json!(false), &json!("King"), &json!("Countess")));
        assert_eq!(changed["emails"][0], json!({ "type": "work", "value": "ada@example.org" }));
        assert_eq!(patched(user.clone(), json!([{ "op": "replace", "path": "emails[type eq \"x\"].value", "value": 1 }])), Err(PatchError::NoTarget));
        assert_eq!(patched(user.clone(), json!([{ "op": "remove" }])), Err(PatchError::NoTarget));
        assert!(matches!(patched(user.clone(), json!([{ "op": "move", "path": "a" }])), Err(PatchError::Operation(_))));
        assert!(matches!(patched(user, json!([{ "op": "add", "path": "userName.x", "value": 1 }])), Err(PatchError::Value(_))));
    }

    #[test]
    fn extensions_are_reached_by_path_by_their_schema_and_among_the_values() {
        const URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        let user = json!({ "userName": "ada", URN: { "department": "Engines", "division": "X" } });
        let path = |part: &str| format!("{URN}:{part}");
        let by_path = json!([
            { "op": "Replace", "path": path("department"), "value": "Looms" },
            { "op": "Remove", "path": path("division") },
            { "op": "Add", "path": path("manager"), "value": [{ "value": "7" }] },
        ]);
        assert_eq!(patched(user.clone(), by_path).unwrap(), json!({ "userName": "ada", "department": "Looms", "manager": [{ "value": "7" }] }));
        let inner = json!({ "department": "Looms" });
        for operation in [
            json!({ "op": "replace", "value": { URN: inner.clone(), "title": "C" } }),
            json!({ "op": "replace", "path": URN, "value": { "department": "Looms", "title": "C" } }),
            json!({ "op": "add", "path": "", "value": { path("department"): "Looms", "title": "C" } }),
        ] {
            let changed = patched(user.clone(), json!([operation])).unwrap();
            assert_eq!((&changed["department"], &changed["division"], &changed["title"]), (&json!("Looms"), &json!("X"), &json!("C")), "{operation}");
        }
        assert_eq!(patched(user.clone(), json!([{ "op": "add", "path": "groups", "value": [{ "value": "7" }] }])), Err(PatchError::ReadOnly));
        let primary = json!([{ "op": "Add", "path": "emails", "value": [{ "value": "b", "primary": "True" }] }]);
        let both = patched(json!({ "emails": [{ "value": "a", "primary": true }] }), primary).unwrap();
        assert_eq!(both["emails"][0]["primary"], false, "a truth value as text");
    }

    proptest! {
        #[test]
        fn no_path_makes_it_panic(op in prop::sample::select(vec!["add", "replace", "remove"]), path in "[a-c.\\[\\]\" eq1]{0,20}", value in prop::option::of("[a-c]{0,3}")) {
            let mut resource = json!({ "a": [{ "b": 1, "value": "c" }], "b": { "c": "x" }, "c": 1 });
            let _ = apply(&mut resource, &[Operation { op: op.to_owned(), path: Some(path), value: json!(value) }]);
        }
    }
}
