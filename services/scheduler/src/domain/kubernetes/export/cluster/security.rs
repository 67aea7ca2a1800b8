//! What keeps a pod within the Pod Security level of its namespace where its document says nothing
//! (kubernetes.io/docs/concepts/security/pod-security-standards). What the document does say stays, and is refused with the
//! cluster's own words if the level forbids it.

use serde_json::{Value, json};

/// `restricted`: the level asks that containers do not run as root and have no capabilities.
pub(super) fn harden(pod: &mut Value, privileged: bool, restricted: bool) {
    if pod["securityContext"]["seccompProfile"].is_null() && !privileged {
        pod["securityContext"]["seccompProfile"] = json!({ "type": "RuntimeDefault" });
    }
    for list in ["containers", "initContainers"] {
        for container in pod[list].as_array_mut().into_iter().flatten() {
            let security = &mut container["securityContext"];
            let added: Vec<&str> = security["capabilities"]["add"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let administers = added.iter().any(|c| *c == "SYS_ADMIN" || *c == "CAP_SYS_ADMIN");
            // The one that the level lets a container have.
            let few = added.iter().all(|c| *c == "NET_BIND_SERVICE");
            let free = security["privileged"] != true;
            if security["allowPrivilegeEscalation"].is_null() && free && !administers {
                security["allowPrivilegeEscalation"] = false.into();
            }
            if !restricted || !free {
                continue;
            }
            if security["runAsNonRoot"].is_null() && security["runAsUser"] != 0 {
                security["runAsNonRoot"] = true.into();
            }
            let drops_all = security["capabilities"]["drop"].as_array().is_some_and(|d| d.iter().any(|c| c == "ALL"));
            if few && !drops_all {
                security["capabilities"]["drop"] = json!(["ALL"]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restricted_namespace_takes_pods_that_say_nothing() {
        let mut pod = json!({ "containers": [{ "name": "a" }, { "name": "b", "securityContext": { "capabilities": { "add": ["NET_BIND_SERVICE"], "drop": ["CHOWN"] } } }], "initContainers": [{ "name": "c" }] });
        harden(&mut pod, false, true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for container in pod["containers"].as_array().unwrap().iter().chain(pod["initContainers"].as_array().unwrap()) {
            let security = &container["securityContext"];
            assert_eq!(
                (&security["runAsNonRoot"], &security["allowPrivilegeEscalation"], &security["capabilities"]["drop"]),
                (&json!(true), &json!(false), &json!(["ALL"]))
            );
        }
        assert_eq!(pod["containers"][1]["securityContext"]["capabilities"]["add"], json!(["NET_BIND_SERVICE"]));
    }

    #[test]
    fn what_is_said_stays_and_other_levels_ask_for_less() {
        let said = json!({ "containers": [{ "name": "a", "securityContext": { "runAsUser": 0, "capabilities": { "add": ["NET_ADMIN"] } } }] });
        let mut pod = said.clone();
        harden(&mut pod, false, true);
        let security = &pod["containers"][0]["securityContext"];
        assert!(security.get("runAsNonRoot").is_none() && security["capabilities"].get("drop").is_none(), "{security}");
        let mut pod = said;
        harden(&mut pod, false, false);
        assert_eq!(pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"], false);
        let mut pod = json!({ "containers": [{ "name": "a", "securityContext": { "privileged": true } }] });
        harden(&mut pod, true, true);
        assert!(pod["containers"][0]["securityContext"].get("allowPrivilegeEscalation").is_none(), "{pod}");
    }
}
