//! What an account may (kubernetes.io/docs/reference/access-authn-authz/rbac), by the rules of the manifest that makes it.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use serde_json::Value;

use super::serve::place;
use super::store::{Key, Store};

/// Group, resource with its part, and verb.
pub type Right = [String; 3];
pub type Rights = BTreeSet<Right>;

/// By the rules of a manifest whose lists stand in one line each, as `gantry cluster manifest` and k8s/components write them.
pub fn of(manifest: &str) -> Rights {
    let words = |list: &str| list.trim().trim_matches(['[', ']']).split(',').map(|word| word.trim().trim_matches('"').to_owned()).collect::<Vec<String>>();
    let (mut groups, mut resources, mut out) = (Vec::new(), Vec::new(), Rights::new());
    for line in manifest.lines().map(str::trim) {
        if let Some(list) = line.strip_prefix("- apiGroups:") {
            groups = words(list);
        } else if let Some(list) = line.strip_prefix("resources:") {
            resources = words(list);
        } else if let Some(list) = line.strip_prefix("verbs:") {
            for verb in words(list) {
                for group in &groups {
                    out.extend(resources.iter().map(|resource| [group.clone(), resource.clone(), verb.clone()]));
                }
            }
        }
    }
    out
}

/// Of a service account, by the ClusterRoles that are bound to it.
pub fn bound(store: &Store, namespace: &str, name: &str) -> Rights {
    let words = |list: &Value| list.as_array().into_iter().flatten().filter_map(|w| w.as_str().map(str::to_owned)).collect::<Vec<String>>();
    let mut out = Rights::new();
    for (_, binding) in store.of("clusterrolebindings", None) {
        let subjects = binding.value["subjects"].as_array().into_iter().flatten();
        if !subjects.into_iter().any(|s| s["kind"] == "ServiceAccount" && s["name"] == name && s["namespace"] == namespace) {
            continue;
        }
        let Some(role) = store.find(&format!("clusterroles/{}", binding.value["roleRef"]["name"].as_str().unwrap_or_default())) else { continue };
        for rule in store.objects[&role].value["rules"].as_array().into_iter().flatten() {
            for group in words(&rule["apiGroups"]) {
                for resource in words(&rule["resources"]) {
                    out.extend(words(&rule["verbs"]).into_iter().map(|verb| [group.clone(), resource.clone(), verb]));
                }
            }
        }
    }
    out
}

/// What a request needs; nothing for what everybody may who is let in.
pub fn needed(store: &Store, method: &Method, path: &str, query: &BTreeMap<String, String>) -> Vec<Right> {
    let Some((plural, namespace, name, part)) = place(path).filter(|(plural, ..)| plural != "selfsubjectaccessreviews") else { return Vec::new() };
    let group = path.strip_prefix("/apis/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let resource = part.as_ref().map_or_else(|| plural.clone(), |part| format!("{plural}/{part}"));
    let watched = query.get("watch").is_some_and(|w| w == "true" || w == "1");
    let verbs: &[&str] = match (method.as_str(), &name, part.as_deref()) {
        // A WebSocket is a GET; since 1.35 the right to create is asked for, too.
        ("GET", Some(_), Some("exec" | "attach" | "portforward")) if store.minor >= 35 => &["get", "create"],
        ("GET", Some(_), _) => &["get"],
        ("GET", None, _) if watched => &["watch"],
        ("GET", None, _) => &["list"],
        ("POST", ..) => &["create"],
        ("PUT", ..) => &["update"],
        // What an apply makes it has to be allowed to create.
        ("PATCH", Some(name), None) if query.contains_key("force") => {
            let key = Key { plural: plural.clone(), namespace: namespace.unwrap_or_default(), name: name.clone() };
            if store.objects.contains_key(&key) { &["patch"] } else { &["patch", "create"] }
        }
        ("PATCH", ..) => &["patch"],
        ("DELETE", Some(_), _) => &["delete"],
        ("DELETE", None, _) => &["deletecollection"],
        _ => &[],
    };
    verbs.iter().map(|verb| [group.to_owned(), resource.clone(), (*verb).to_owned()]).collect()
}

/// As an API server says it.
pub fn refusal([group, resource, verb]: &Right) -> String {
    format!(
        "{resource} is forbidden: User \"system:serviceaccount:gantry-system:gantry\" cannot {verb} resource \"{resource}\" in API group \"{group}\" at the cluster scope"
    )
}
