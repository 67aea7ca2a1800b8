//! Which fields a manager holds, as `managedFields` says it in the form FieldsV1 (kubernetes.io/docs/reference/using-api/
//! server-side-apply, "field management"): `f:<name>` is a field, `k:<keys>` an item of a list that has keys, and what has nothing
//! below it is held as a whole.

use serde_json::Value;

/// `fields`: FieldsV1 as text; `path`: as differences are told, `.spec.template.spec.containers[name=web].image`. False where it
/// cannot be told: lists whose items are called by other keys than the API's, and sets.
pub fn hold(fields: &str, path: &str) -> bool {
    let fields: Value = serde_json::from_str(fields).unwrap_or_default();
    fields.as_object().is_some_and(|all| !all.is_empty()) && has(&fields, path)
}

fn has(fields: &Value, path: &str) -> bool {
    let Some(below) = fields.as_object() else { return false };
    path.is_empty() || below.is_empty() || below.iter().any(|(name, inner)| behind(name, path).is_some_and(|rest| has(inner, rest)))
}

/// What is left of the path behind a field or an item of that name. Names of labels have dots in them, so there may be several that
/// it could begin with.
fn behind<'a>(name: &str, path: &'a str) -> Option<&'a str> {
    if let Some(field) = name.strip_prefix("f:") {
        let rest = path.strip_prefix('.')?.strip_prefix(field)?;
        return Some(rest).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    }
    let keys: Value = serde_json::from_str(name.strip_prefix("k:")?).ok()?;
    keys.as_object()?.iter().find_map(|(key, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        path.strip_prefix(format!("[{key}={text}]").as_str())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_items_and_what_is_held_as_a_whole_are_found() {
        let fields = json!({
            "f:metadata": { "f:labels": { "f:app.kubernetes.io/name": {} } },
            "f:spec": { "f:replicas": {}, "f:template": { "f:spec": { "f:containers": {
                "k:{\"name\":\"web\"}": {
                    ".": {}, "f:name": {}, "f:image": {}, "f:args": {},
                    "f:ports": { "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:containerPort": {} } },
                },
            } } } },
        })
        .to_string();
        let web = ".spec.template.spec.containers[name=web]";
        let ours = [".image", ".args", ".args[1]", "", ".ports[containerPort=80].containerPort"];
        assert!(ours.iter().all(|of| hold(&fields, &format!("{web}{of}"))));
        assert!(hold(&fields, ".metadata.labels.app.kubernetes.io/name") && hold(&fields, ".spec.replicas"));
        let others = [".spec.paused", ".spec.rep", ".spec.template.spec.containers[name=other].image", ".metadata.labels.app", ".status"];
        assert!(!others.iter().any(|path| hold(&fields, path)));
        assert!(!hold(&fields, &format!("{web}.ports[containerPort=81].containerPort")));
        assert!(!hold("{}", ".spec") && !hold("no JSON", ".spec"));
    }
}
