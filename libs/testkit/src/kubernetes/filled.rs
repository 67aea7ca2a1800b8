//! What an API server fills in where nobody says it. Nobody holds these fields: who says something else beside them does not take
//! them away (kubernetes.io/docs/reference/using-api/server-side-apply, "field management").

use serde_json::{Value, json};

pub fn fill(plural: &str, object: &mut Value) {
    if let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) {
        match plural {
            "services" if spec["sessionAffinity"] == "ClientIP" => put(&mut spec["sessionAffinityConfig"]["clientIP"], "timeoutSeconds", json!(10_800)),
            "statefulsets" if spec["updateStrategy"]["type"] != "OnDelete" => {
                put(&mut spec["updateStrategy"], "type", json!("RollingUpdate"));
                put(&mut spec["updateStrategy"]["rollingUpdate"], "partition", json!(0));
            }
            _ => {}
        }
    }
    if let Some(pod) = pod(plural, object) {
        fill_pod(pod);
    }
}

/// The pods' part of a workload.
pub fn pod<'a>(plural: &str, object: &'a mut Value) -> Option<&'a mut Value> {
    let at = match plural {
        "deployments" | "statefulsets" | "daemonsets" | "jobs" => "/spec/template/spec",
        "cronjobs" => "/spec/jobTemplate/spec/template/spec",
        _ => return None,
    };
    object.pointer_mut(at)
}

fn fill_pod(pod: &mut Value) {
    for list in ["containers", "initContainers"] {
        for container in pod.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            for name in ["startupProbe", "livenessProbe", "readinessProbe"] {
                let Some(probe) = container.get_mut(name).filter(|p| p.is_object()) else { continue };
                for (field, number) in [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)] {
                    put(probe, field, json!(number));
                }
                under(probe, "httpGet", "scheme", json!("HTTP"));
                under(probe, "grpc", "service", json!(""));
            }
            for variable in container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(from) = variable.get_mut("valueFrom") {
                    under(from, "fieldRef", "apiVersion", json!("v1"));
                    under(from, "resourceFieldRef", "divisor", json!("0"));
                }
            }
        }
    }
    for volume in pod.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        for source in ["configMap", "secret", "projected"] {
            under(volume, source, "defaultMode", json!(420));
        }
    }
}

fn under(of: &mut Value, name: &str, field: &str, value: Value) {
    if let Some(inner) = of.get_mut(name).filter(|inner| inner.is_object()) {
        put(inner, field, value);
    }
}

fn put(of: &mut Value, field: &str, value: Value) {
    if of.get(field).is_none_or(Value::is_null) {
        of[field] = value;
    }
}
