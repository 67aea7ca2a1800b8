//! What an API server refuses of an object whoever sends it: two of what there may be one of, and items of a list that it cannot
//! tell apart.

use serde_json::Value;

use super::filled;

/// As the server tells it. `object`: with what the server has filled in.
pub fn refused(plural: &str, object: &Value) -> Option<String> {
    let spec = &object["spec"];
    let wrong = match plural {
        "statefulsets" if spec["updateStrategy"]["type"] == "OnDelete" && !spec["updateStrategy"]["rollingUpdate"].is_null() => {
            "spec.updateStrategy.rollingUpdate: Invalid value: {}: only allowed for updateStrategy 'RollingUpdate'"
        }
        "deployments" if spec["strategy"]["type"] == "Recreate" && !spec["strategy"]["rollingUpdate"].is_null() => {
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"
        }
        "services" if spec["sessionAffinity"] != "ClientIP" && !spec["sessionAffinityConfig"].is_null() => {
            "spec.sessionAffinityConfig: Forbidden: must not be set when session affinity is None"
        }
        _ => "",
    };
    if !wrong.is_empty() {
        return Some(wrong.to_owned());
    }
    let mut object = object.clone();
    filled::pod(plural, &mut object).and_then(|pod| of_pod(pod))
}

fn of_pod(pod: &Value) -> Option<String> {
    let list = |of: &Value, name: &str| of[name].as_array().cloned().unwrap_or_default();
    for container in list(pod, "containers").iter().chain(&list(pod, "initContainers")) {
        let name = container["name"].as_str().unwrap_or_default();
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let at = format!("spec.template.spec.containers[{name}].{probe}");
            match count(&container[probe], &["exec", "httpGet", "tcpSocket", "grpc"]) {
                0 if container[probe].is_object() => return Some(format!("{at}: Required value: must specify a handler type")),
                0 | 1 => {}
                _ => return Some(format!("{at}: Forbidden: may not specify more than 1 handler type")),
            }
        }
        let hook = &container["lifecycle"]["preStop"];
        for of in
            ["startupProbe", "livenessProbe", "readinessProbe"].map(|probe| &container[probe]).into_iter().chain([hook, &container["lifecycle"]["postStart"]])
        {
            let lacks = |handler: &str, field: &str| of[handler].is_object() && of[handler][field].is_null();
            if lacks("exec", "command") || lacks("sleep", "seconds") || ["httpGet", "tcpSocket", "grpc"].iter().any(|handler| lacks(handler, "port")) {
                return Some(format!("spec.template.spec.containers[{name}]: Required value: {of}"));
            }
        }
        for variable in list(container, "env") {
            let from = &variable["valueFrom"];
            let value = variable["value"].as_str().is_some_and(|v| !v.is_empty());
            if from.is_object() && value {
                return Some(format!(
                    "spec.template.spec.containers[{name}].env.valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"
                ));
            }
            if from.as_object().is_some_and(|fields| fields.values().filter(|v| !v.is_null()).count() > 1) {
                return Some(format!(
                    "spec.template.spec.containers[{name}].env.valueFrom: Invalid value: \"\": may not have more than one field specified at a time"
                ));
            }
        }
        let (sleep, grace) = (&container["lifecycle"]["preStop"]["sleep"]["seconds"], pod["terminationGracePeriodSeconds"].as_u64().unwrap_or(30));
        if sleep.as_u64().is_some_and(|s| s == 0 || s > grace) {
            return Some(format!(
                "spec.template.spec.containers[{name}].lifecycle.preStop.sleep: Invalid value: {sleep}: must be greater than 0 and less than terminationGracePeriodSeconds ({grace})"
            ));
        }
    }
    let many = |volume: &Value| volume.as_object().is_some_and(|fields| fields.iter().filter(|(key, v)| *key != "name" && !v.is_null()).count() > 1);
    let volume = list(pod, "volumes").into_iter().find(many)?;
    Some(format!("spec.template.spec.volumes[{}]: Forbidden: may not specify more than 1 volume type", volume["name"].as_str().unwrap_or_default()))
}

fn count(of: &Value, names: &[&str]) -> usize {
    names.iter().filter(|name| !of[**name].is_null()).count()
}

/// Items with the same keys, which no apply takes (kubernetes.io/docs/reference/using-api/server-side-apply, "merge strategy").
pub fn twice(plural: &str, body: &Value) -> Option<String> {
    if plural == "services" {
        return same(".spec.ports", &body["spec"]["ports"], &["port", "protocol"]);
    }
    let mut body = body.clone();
    let pod = &*filled::pod(plural, &mut body)?;
    for (list, key) in [("containers", "name"), ("initContainers", "name"), ("volumes", "name"), ("imagePullSecrets", "name"), ("hostAliases", "ip")] {
        if let Some(told) = same(&format!(".spec.template.spec.{list}"), &pod[list], &[key]) {
            return Some(told);
        }
    }
    let lists = ["containers", "initContainers"].into_iter().flat_map(|list| pod[list].as_array().into_iter().flatten());
    for container in lists {
        let keyed: [(&str, &[&str]); 3] = [("env", &["name"]), ("volumeMounts", &["mountPath"]), ("ports", &["containerPort", "protocol"])];
        for (list, keys) in keyed {
            if let Some(told) = same(&format!(".spec.template.spec.containers.{list}"), &container[list], keys) {
                return Some(told);
            }
        }
    }
    None
}

fn same(at: &str, items: &Value, keys: &[&str]) -> Option<String> {
    let all = items.as_array()?;
    let one = |item: &Value, key: &str| item.get(key).cloned().unwrap_or_else(|| if key == "protocol" { "TCP".into() } else { Value::Null });
    let key = |n: usize| keys.iter().map(|key| one(&all[n], key)).collect::<Vec<Value>>();
    let found = (0..all.len()).find(|n| (0..*n).any(|other| key(other) == key(*n)))?;
    Some(format!("{at}: duplicate entries for key {:?}", key(found)))
}
