//! What older versions of Kubernetes have no word for, in the words that they have. An object with a field that the API server does
//! not know is refused as a whole (`fieldValidation=Strict`), and of a field whose feature is off nothing is left.

use serde_json::{Value, json};

/// Init containers that go on running (kubernetes.io/docs/concepts/workloads/pods/sidecar-containers).
const SIDECARS: u32 = 29;
/// A hook that sleeps, and AppArmor as a field.
const SLEEP: u32 = 30;
const APPARMOR: u32 = 30;
/// A stop signal of a container's own, for pods that name their system; before, the image's counts.
const SIGNALS: u32 = 33;
/// Pods of a StatefulSet that are replaced together: before, the feature is off where nobody has switched it on (KEP-961).
pub const TOGETHER: u32 = 35;
/// AppArmor's profile of a container, before it was a field.
const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io";
const LISTS: [&str; 2] = ["containers", "initContainers"];

/// `template`: metadata and spec of a pod. `signals`: stop signals may be said.
pub(super) fn fit(template: &mut Value, minor: u32, signals: bool) {
    let mut profiles = Vec::new();
    let mut signalled = false;
    let spec = &mut template["spec"];
    for list in LISTS {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            if let Some(lifecycle) = container.get_mut("lifecycle").and_then(Value::as_object_mut) {
                if minor < SIGNALS || !signals {
                    lifecycle.remove("stopSignal");
                }
                if minor < SLEEP {
                    lifecycle.retain(|_, hook| hook.get("sleep").is_none());
                }
                signalled |= lifecycle.get("stopSignal").is_some_and(Value::is_string);
            }
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            let security = container.get_mut("securityContext").and_then(Value::as_object_mut).filter(|_| minor < APPARMOR);
            profiles.extend(security.and_then(|s| s.remove("appArmorProfile")).and_then(|profile| Some((name, word(&profile)?))));
        }
    }
    if signalled {
        spec["os"] = json!({ "name": "linux" });
    }
    if minor < SIDECARS {
        beside(spec);
    }
    for (container, profile) in profiles {
        template["metadata"]["annotations"][format!("{ANNOTATION}/{container}")] = profile.into();
    }
}

/// `spec`: of a StatefulSet. What the server drops would look as if somebody had taken it away.
pub(super) fn fit_set(spec: &mut Value, minor: u32) {
    let Some(strategy) = spec.get_mut("updateStrategy").and_then(Value::as_object_mut).filter(|_| minor < TOGETHER) else { return };
    let empty = strategy.get_mut("rollingUpdate").and_then(Value::as_object_mut).map(|rolling| {
        rolling.remove("maxUnavailable");
        rolling.is_empty()
    });
    if empty == Some(true) {
        strategy.remove("rollingUpdate");
    }
}

fn word(profile: &Value) -> Option<String> {
    Some(match profile["type"].as_str()? {
        "RuntimeDefault" => "runtime/default".to_owned(),
        "Localhost" => format!("localhost/{}", profile["localhostProfile"].as_str()?),
        _ => "unconfined".to_owned(),
    })
}

/// An init container that goes on would be waited for without end: it runs beside the others, and does not begin before them.
fn beside(spec: &mut Value) {
    let Some(init) = spec.get_mut("initContainers").and_then(Value::as_array_mut) else { return };
    let (mut stay, first): (Vec<Value>, Vec<Value>) = std::mem::take(init).into_iter().partition(|c| c["restartPolicy"] == "Always");
    *init = first;
    if init.is_empty()
        && let Some(fields) = spec.as_object_mut()
    {
        fields.remove("initContainers");
    }
    stay.iter_mut().filter_map(Value::as_object_mut).for_each(|c| drop(c.remove("restartPolicy")));
    if let Some(containers) = spec.get_mut("containers").and_then(Value::as_array_mut) {
        containers.extend(stay);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({ "metadata": {}, "spec": {
            "containers": [{ "name": "web", "lifecycle": { "stopSignal": "SIGQUIT", "preStop": { "sleep": { "seconds": 3 } } },
                             "securityContext": { "appArmorProfile": { "type": "Localhost", "localhostProfile": "tight" } } }],
            "initContainers": [{ "name": "proxy", "restartPolicy": "Always" }, { "name": "migrate" }],
        } })
    }

    #[test]
    fn each_version_is_told_what_it_knows() {
        let fitted = |minor: u32, signals: bool| {
            let mut pod = pod();
            fit(&mut pod, minor, signals);
            pod
        };
        let new = fitted(36, true);
        assert_eq!((&new["spec"]["os"]["name"], &new["spec"]["containers"]), (&json!("linux"), &pod()["spec"]["containers"]));
        assert!(fitted(36, false)["spec"]["containers"][0]["lifecycle"].get("stopSignal").is_none(), "pods that are there without it stay");
        let middle = fitted(30, true);
        assert!(middle["spec"].get("os").is_none() && middle["spec"]["containers"][0]["lifecycle"].get("preStop").is_some(), "{middle}");
        let old = fitted(29, true);
        assert_eq!(old["spec"]["containers"][0]["lifecycle"], json!({}));
        assert_eq!(old["metadata"]["annotations"]["container.apparmor.security.beta.kubernetes.io/web"], "localhost/tight");
        assert!(old["spec"]["containers"][0]["securityContext"].get("appArmorProfile").is_none());
        assert_eq!(old["spec"]["initContainers"], pod()["spec"]["initContainers"]);
    }

    #[test]
    fn a_set_replaces_one_after_the_other_where_it_knows_no_other_way() {
        let set = |rolling: Value| json!({ "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": rolling } });
        let fitted = |rolling: Value, minor: u32| {
            let mut spec = set(rolling);
            fit_set(&mut spec, minor);
            spec
        };
        let both = json!({ "maxUnavailable": 2, "partition": 1 });
        assert_eq!(fitted(both.clone(), 35), set(both.clone()));
        assert_eq!(fitted(both, 34), set(json!({ "partition": 1 })));
        assert_eq!(fitted(json!({ "maxUnavailable": 2 }), 34), json!({ "updateStrategy": { "type": "RollingUpdate" } }));
        assert_eq!(fitted(json!({ "partition": 1 }), 34), set(json!({ "partition": 1 })));
    }

    #[test]
    fn a_container_that_stays_is_waited_for_by_nobody() {
        let mut pod = pod();
        fit(&mut pod, 28, true);
        assert_eq!(pod["spec"]["initContainers"], json!([{ "name": "migrate" }]));
        assert_eq!(pod["spec"]["containers"][1], json!({ "name": "proxy" }));
        pod["spec"]["initContainers"] = json!([{ "name": "proxy2", "restartPolicy": "Always" }]);
        fit(&mut pod, 28, true);
        assert!(pod["spec"].get("initContainers").is_none(), "{pod}");
    }
}
