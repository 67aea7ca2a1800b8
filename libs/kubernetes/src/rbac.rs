//! The least rights that the engine needs, as objects for `kubectl apply`.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use crate::kinds::{KINDS, POD, VOLUME_SNAPSHOT};

/// Who is given the rights.
#[derive(Clone, Debug)]
pub struct Account {
    /// The namespace of the service account that is made.
    pub namespace: String,
    pub name: String,
}

impl Default for Account {
    fn default() -> Self {
        Self { namespace: "gantry-system".into(), name: "gantry".into() }
    }
}

/// What else is wanted beside applications.
#[derive(Clone, Copy, Debug, Default)]
pub struct More {
    /// The custom scheduler.
    pub scheduler: bool,
    /// People's roles, bound in the namespaces of spaces.
    pub roles: bool,
}

/// Roles of people as roles that every cluster has (kubernetes.io/docs/reference/access-authn-authz/rbac "user-facing roles").
pub const ROLES: [(&str, &str); 3] = [("viewer", "view"), ("editor", "edit"), ("admin", "admin")];

/// YAML: a namespace, a service account with a token of its own, the role, and its binding.
pub fn manifest(account: &Account, more: More) -> String {
    let mut rules: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for kind in KINDS.iter().filter(|k| more.roles || k.kind != "RoleBinding") {
        let verbs = "get, list, watch, create, patch, delete";
        rules.entry((kind.group, verbs)).or_default().push(kind.plural);
    }
    let mut add = |group: &'static str, verbs: &'static str, resources: &[&'static str]| rules.entry((group, verbs)).or_default().extend(resources);
    // One that never comes up is taken away, where a StatefulSet would wait for it without end.
    add(POD.group, "delete, get, list, watch", &[POD.plural]);
    add(POD.group, "get", &["pods/log"]);
    // A WebSocket is a GET, and since 1.35 the right to create is asked for, too.
    add(POD.group, "create, get", &["pods/exec", "pods/attach", "pods/portforward"]);
    add(POD.group, "list", &["events", "nodes"]);
    add("storage.k8s.io", "list", &["storageclasses"]);
    // Whether somebody serves routes that name no class.
    add("networking.k8s.io", "list", &["ingressclasses"]);
    add(VOLUME_SNAPSHOT.group, "get, list, create, delete", &[VOLUME_SNAPSHOT.plural]);
    add("metrics.k8s.io", "list", &["pods", "nodes"]);
    if more.scheduler {
        add(POD.group, "get, list, watch", &["nodes"]);
        // Volumes that wait for a pod's node.
        add(POD.group, "get, list, watch, patch", &["persistentvolumes"]);
        add("storage.k8s.io", "get, list, watch", &["storageclasses", "csinodes"]);
        add(POD.group, "create", &["pods/binding", "pods/eviction"]);
        add(POD.group, "patch", &["pods/status"]);
        add("coordination.k8s.io", "get, create, update", &["leases"]);
        add("events.k8s.io", "create", &["events"]);
    }
    let Account { namespace, name } = account;
    let mut out = String::new();
    let _ = write!(
        out,
        "# The least rights that Gantry needs to run applications on this cluster.\n\
         apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {namespace}\n---\n\
         apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: {name}\n  namespace: {namespace}\n---\n\
         # A token that does not expire; delete the Secret to revoke it.\n\
         apiVersion: v1\nkind: Secret\ntype: kubernetes.io/service-account-token\nmetadata:\n  name: {name}\n  namespace: {namespace}\n  annotations:\n    kubernetes.io/service-account.name: {name}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: {name}\nrules:\n"
    );
    for ((group, verbs), resources) in &rules {
        let _ = write!(out, "- apiGroups: [\"{group}\"]\n  resources: [{}]\n  verbs: [{verbs}]\n", resources.join(", "));
    }
    if more.roles {
        // Nobody may give what he has not; `bind` lets him give these three, and no others.
        let names: Vec<&str> = ROLES.iter().map(|(_, role)| *role).collect();
        let _ = write!(
            out,
            "- apiGroups: [\"rbac.authorization.k8s.io\"]\n  resources: [clusterroles]\n  resourceNames: [{}]\n  verbs: [bind]\n",
            names.join(", ")
        );
    }
    let _ = write!(
        out,
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata:\n  name: {name}\nroleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: ClusterRole\n  name: {name}\n\
         subjects:\n- kind: ServiceAccount\n  name: {name}\n  namespace: {namespace}\n"
    );
    out
}

/// The same as objects, for who applies them by himself.
pub fn objects(account: &Account, more: More) -> Vec<Value> {
    serde_saphyr::from_str_multiple(&manifest(account, more)).expect("it is written above")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_that_is_made_may_be_made_and_nothing_is_a_star() {
        let text = manifest(&Account::default(), More::default());
        assert!(!text.contains('*'), "{text}");
        let documents: Vec<Value> = serde_saphyr::from_str_multiple(&text).unwrap();
        let role = documents.iter().find(|d| d["kind"] == "ClusterRole").unwrap();
        for kind in KINDS.iter().filter(|k| k.kind != "RoleBinding") {
            let rule = role["rules"]
                .as_array()
                .unwrap()
                .iter()
                .find(|r| r["apiGroups"][0] == kind.group && r["resources"].as_array().unwrap().iter().any(|p| p == kind.plural));
            let verbs = rule.unwrap_or_else(|| panic!("{} is not in the role", kind.plural))["verbs"].as_array().unwrap();
            assert!(["get", "list", "watch", "patch", "create", "delete"].iter().all(|v| verbs.iter().any(|w| w == v)), "{}", kind.plural);
        }
        let scheduler = manifest(&Account::default(), More { scheduler: true, ..More::default() });
        assert!(!text.contains("pods/binding") && scheduler.contains("pods/binding"));
    }

    #[test]
    fn each_object_says_what_it_is_and_where() {
        let account = Account { namespace: "here".into(), name: "us".into() };
        let all = objects(&account, More::default());
        let kinds: Vec<&str> = all.iter().map(|o| o["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["Namespace", "ServiceAccount", "Secret", "ClusterRole", "ClusterRoleBinding"]);
        assert_eq!((&all[1]["metadata"]["namespace"], &all[4]["subjects"][0]["name"]), (&Value::from("here"), &Value::from("us")));
    }

    /// Group, resource and verb.
    fn rights(text: &str) -> BTreeSet<[String; 3]> {
        let documents: Vec<Value> = serde_saphyr::from_str_multiple(text).unwrap();
        let words = |value: &Value| value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect::<Vec<_>>();
        let role = documents.iter().find(|d| d["kind"] == "ClusterRole").unwrap();
        let mut out = BTreeSet::new();
        for rule in role["rules"].as_array().unwrap() {
            for group in words(&rule["apiGroups"]) {
                for resource in words(&rule["resources"]) {
                    out.extend(words(&rule["verbs"]).into_iter().map(|verb| [group.clone(), resource.clone(), verb]));
                }
            }
        }
        out
    }

    fn component(name: &str) -> BTreeSet<[String; 3]> {
        rights(&std::fs::read_to_string(format!("{}/../../k8s/components/{name}/account.yaml", env!("CARGO_MANIFEST_DIR"))).unwrap())
    }

    #[test]
    fn the_suite_in_a_cluster_has_the_same_rights() {
        assert_eq!(component("engine"), rights(&manifest(&Account::default(), More::default())));
    }

    #[test]
    fn the_scheduler_in_a_cluster_has_what_it_needs_and_nothing_else() {
        let ours = component("kube-scheduler");
        let (all, engine) = (rights(&manifest(&Account::default(), More { scheduler: true, ..More::default() })), component("engine"));
        assert!(ours.is_subset(&all), "{:?}", ours.difference(&all));
        let own: BTreeSet<_> = all.difference(&engine).cloned().collect();
        assert!(own.is_subset(&ours), "{:?}", own.difference(&ours));
        // Of what the engine has, too, it reads what decisions depend on and changes claims.
        let right = |group: &str, resource: &str, verb: &str| [group.to_owned(), resource.to_owned(), verb.to_owned()];
        for (group, resource) in [("", "pods"), ("", "persistentvolumeclaims"), ("", "namespaces"), ("policy", "poddisruptionbudgets")] {
            assert!(["get", "list", "watch"].iter().all(|verb| ours.contains(&right(group, resource, verb))), "{resource}");
        }
        assert!(ours.contains(&right("", "persistentvolumeclaims", "patch")));
        assert!(!ours.iter().any(|[_, resource, verb]| resource == "secrets" || (verb == "delete" && resource != "pods")), "{ours:?}");
    }

    #[test]
    fn roles_may_be_bound_only_if_that_is_wanted_and_only_the_three() {
        let text = manifest(&Account::default(), More::default());
        assert!(!text.contains("rolebindings") && !text.contains("bind]"), "{text}");
        let text = manifest(&Account::default(), More { roles: true, ..More::default() });
        let documents: Vec<Value> = serde_saphyr::from_str_multiple(&text).unwrap();
        let role = documents.iter().find(|d| d["kind"] == "ClusterRole").unwrap();
        let bind = role["rules"].as_array().unwrap().iter().find(|r| r["verbs"] == serde_json::json!(["bind"])).unwrap();
        assert_eq!(bind["resourceNames"], serde_json::json!(["view", "edit", "admin"]));
        assert!(!text.contains("escalate"), "{text}");
    }
}
