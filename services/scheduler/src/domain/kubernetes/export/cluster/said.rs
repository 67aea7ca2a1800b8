//! What the API server would fill in is said, wherever a field beside it may become another one. Under server-side apply only what
//! was said goes when it is said no more (kubernetes.io/docs/reference/using-api/server-side-apply, "field management"): of a probe
//! that becomes another kind of probe the server's `scheme` would stay, and an object with both is refused as a whole. The values are
//! those that the server fills in itself, so pods that are there stay as they are.

use serde_json::{Value, json};

const LISTS: [&str; 2] = ["containers", "initContainers"];
/// Of files, as the API has it: 0644.
const MODE: u32 = 0o644;
/// Seconds, of a Service that remembers its callers.
const STICKY: u32 = 10_800;

pub(super) fn of_pod(pod: &mut Value) {
    for list in LISTS {
        for container in pod[list].as_array_mut().into_iter().flatten() {
            of_container(container);
        }
    }
    for volume in pod["volumes"].as_array_mut().into_iter().flatten() {
        for kind in ["configMap", "secret"] {
            say(volume.get_mut(kind), "defaultMode", MODE.into());
        }
    }
}

pub(super) fn of_service(service: &mut Value) {
    let spec = &mut service["spec"];
    if spec["sessionAffinity"] == "ClientIP" && spec["sessionAffinityConfig"].is_null() {
        spec["sessionAffinityConfig"] = json!({ "clientIP": { "timeoutSeconds": STICKY } });
    }
}

fn of_container(container: &mut Value) {
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        if let Some(probe) = container.get_mut(probe) {
            say(probe.get_mut("httpGet"), "scheme", "HTTP".into());
            say(probe.get_mut("grpc"), "service", "".into());
        }
    }
    for hook in ["postStart", "preStop"] {
        let hook = container.get_mut("lifecycle").and_then(|lifecycle| lifecycle.get_mut(hook));
        say(hook.and_then(|hook| hook.get_mut("httpGet")), "scheme", "HTTP".into());
    }
    for variable in container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(from) = variable.get_mut("valueFrom") {
            say(from.get_mut("fieldRef"), "apiVersion", "v1".into());
            say(from.get_mut("resourceFieldRef"), "divisor", "0".into());
        }
    }
    // Filled in once, by the image of then: the next image may be another's.
    let policy = container["image"].as_str().filter(|image| !image.is_empty()).map(|image| if is_latest(image) { "Always" } else { "IfNotPresent" });
    if let Some(policy) = policy {
        say(Some(container), "imagePullPolicy", policy.into());
    }
}

fn say(of: Option<&mut Value>, field: &str, value: Value) {
    if let Some(fields) = of.and_then(Value::as_object_mut) {
        fields.entry(field).or_insert(value);
    }
}

/// Without a tag and a digest it is the latest (kubernetes.io/docs/concepts/containers/images "imagePullPolicy defaulting").
fn is_latest(image: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, false), |(name, _)| (name, true));
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => !digest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_become_another_is_said_as_a_whole() {
        let mut pod = json!({
            "containers": [{
                "name": "web", "image": "registry:5000/web",
                "readinessProbe": { "httpGet": { "path": "/", "port": 80 } },
                "livenessProbe": { "grpc": { "port": 80 } },
                "startupProbe": { "httpGet": { "path": "/", "port": 80, "scheme": "HTTPS" } },
                "lifecycle": { "preStop": { "httpGet": { "path": "/", "port": 80 } }, "postStart": { "exec": { "command": ["x"] } } },
                "env": [{ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
                        { "name": "B", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu" } } }, { "name": "C", "value": "c" }],
            }],
            "volumes": [{ "name": "a", "configMap": { "name": "a" } }, { "name": "b", "secret": { "secretName": "b", "defaultMode": 256 } }, { "name": "c", "emptyDir": {} }],
        });
        of_pod(&mut pod);
        let web = &pod["containers"][0];
        assert_eq!((&web["readinessProbe"]["httpGet"]["scheme"], &web["startupProbe"]["httpGet"]["scheme"]), (&json!("HTTP"), &json!("HTTPS")));
        assert_eq!((&web["livenessProbe"]["grpc"]["service"], &web["lifecycle"]["preStop"]["httpGet"]["scheme"]), (&json!(""), &json!("HTTP")));
        assert_eq!(web["lifecycle"]["postStart"], json!({ "exec": { "command": ["x"] } }));
        assert_eq!(
            (&web["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], &web["env"][1]["valueFrom"]["resourceFieldRef"]["divisor"]),
            (&json!("v1"), &json!("0"))
        );
        assert_eq!((&web["env"][2], &web["imagePullPolicy"]), (&json!({ "name": "C", "value": "c" }), &json!("Always")));
        assert_eq!((&pod["volumes"][0]["configMap"]["defaultMode"], &pod["volumes"][1]["secret"]["defaultMode"]), (&json!(420), &json!(256)));
        assert_eq!(pod["volumes"][2], json!({ "name": "c", "emptyDir": {} }));
        let before = pod.clone();
        of_pod(&mut pod);
        assert_eq!(pod, before, "once is enough");
        let mut service = json!({ "spec": { "sessionAffinity": "ClientIP" } });
        of_service(&mut service);
        assert_eq!(service["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10_800);
    }

    #[test]
    fn an_image_is_the_latest_unless_it_says_which_one() {
        let told = ["web", "host:5000/web", "web:latest", "host:5000/a/web:1", "web@sha256:00", "web:latest@sha256:00"].map(is_latest);
        assert_eq!(told, [true, true, true, false, false, true]);
    }
}
