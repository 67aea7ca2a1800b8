//! Where an object that is there differs from what is wanted of it. What the server has filled in beside that, or others have
//! added, is no difference. Pure.

use serde_json::Value;

use crate::quantity;

/// By these the items of lists are told from each other, as the API's own merge keys
/// (kubernetes.io/docs/reference/using-api/server-side-apply, "merge strategy").
const KEYS: [&str; 8] = ["mountPath", "name", "containerPort", "port", "ip", "devicePath", "topologyKey", "key"];
/// More than these tell nobody more.
const MOST: usize = 20;

/// Paths such as `.spec.replicas`, of at most 20 differences.
pub fn between(wanted: &Value, there: &Value) -> Vec<String> {
    let mut out = Vec::new();
    walk(wanted, Some(there), &mut String::new(), false, &mut out);
    // Fields stand in the order in which they were set.
    out.sort();
    out
}

fn between_within(wanted: &Value, there: &Value, quantities: bool) -> Vec<String> {
    let mut out = Vec::new();
    walk(wanted, Some(there), &mut String::new(), quantities, &mut out);
    out
}

fn walk(wanted: &Value, there: Option<&Value>, path: &mut String, quantities: bool, out: &mut Vec<String>) {
    if out.len() >= MOST {
        return;
    }
    match (wanted, there) {
        (Value::Object(fields), Some(Value::Object(have))) => {
            for (name, value) in fields {
                let deeper =
                    quantities || matches!(name.as_str(), "requests" | "limits" | "hard" | "capacity" | "sizeLimit" | "default" | "defaultRequest" | "target");
                let length = path.len();
                path.push('.');
                path.push_str(name);
                walk(value, have.get(name), path, deeper, out);
                path.truncate(length);
            }
        }
        (Value::Array(items), Some(Value::Array(have))) => match items.first().and_then(key) {
            Some(key) => {
                for item in items {
                    // A port may be there for TCP and for UDP, a taint be tolerated for two effects: the one that is as wanted counts.
                    let alike: Vec<&Value> = have.iter().filter(|h| h.get(key) == item.get(key)).collect();
                    let exact = alike.iter().find(|h| between_within(item, h, quantities).is_empty());
                    let found = exact.or(alike.first()).copied();
                    let length = path.len();
                    path.push_str(&format!("[{key}={}]", item[key].as_str().map_or_else(|| item[key].to_string(), str::to_owned)));
                    walk(item, found, path, quantities, out);
                    path.truncate(length);
                }
            }
            None if items.len() == have.len() => {
                for (n, (item, have)) in items.iter().zip(have).enumerate() {
                    let length = path.len();
                    path.push_str(&format!("[{n}]"));
                    walk(item, Some(have), path, quantities, out);
                    path.truncate(length);
                }
            }
            None => out.push(path.clone()),
        },
        (wanted, there) if same(wanted, there, quantities) => {}
        _ => out.push(path.clone()),
    }
}

fn key(item: &Value) -> Option<&'static str> {
    let fields = item.as_object()?;
    KEYS.into_iter().find(|k| fields.get(*k).is_some_and(|v| v.is_string() || v.is_number()))
}

fn same(wanted: &Value, there: Option<&Value>, quantities: bool) -> bool {
    let Some(there) = there else { return is_nothing(wanted) };
    if wanted == there {
        return true;
    }
    quantities && quantity::of(wanted).is_some_and(|amount| quantity::of(there) == Some(amount))
}

/// The server leaves out what is empty.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_nothing),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_and_what_others_added_are_no_difference() {
        let wanted = json!({"spec": {"replicas": 2, "paused": false, "template": {"spec": {
            "containers": [{"name": "web", "image": "a", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}, "ports": [{"containerPort": 8080}]}]}}}});
        let there = json!({"spec": {"replicas": 2, "revisionHistoryLimit": 10, "template": {"spec": {"dnsPolicy": "ClusterFirst", "containers": [
            {"name": "istio", "image": "b"},
            {"name": "web", "image": "a", "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}}, "ports": [{"containerPort": 8080, "protocol": "TCP"}]}]}}},
            "status": {"replicas": 2}});
        assert_eq!(between(&wanted, &there), Vec::<String>::new());
    }

    #[test]
    fn what_was_changed_is_named_by_its_path() {
        let wanted = json!({"spec": {"replicas": 2, "ports": [{"port": 53, "protocol": "UDP", "name": "dns"}], "args": ["a", "b"], "containers": [{"name": "web", "image": "a"}]}});
        let there = json!({"spec": {"replicas": 3, "ports": [{"port": 53, "protocol": "TCP", "name": "dns"}], "args": ["a"], "containers": [{"name": "web", "image": "x"}]}});
        assert_eq!(
            between(&wanted, &there),
            [".spec.args", ".spec.containers[name=web].image", ".spec.ports[name=dns].protocol", ".spec.replicas"].map(String::from).to_vec()
        );
        assert_eq!(between(&json!({"a": {"b": 1}}), &json!({})), [".a"]);
    }

    #[test]
    fn what_an_autoscaler_aims_at_is_an_amount() {
        let at = |amount: &str| json!({"spec": {"metrics": [{"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": amount}}}]}});
        assert_eq!(between(&at("0.5"), &at("500m")), Vec::<String>::new());
        assert_eq!(between(&at("0.5"), &at("600m")), [".spec.metrics[0].pods.target.averageValue"]);
    }
}
