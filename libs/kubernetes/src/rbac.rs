//! The least rights that the engine needs, as objects for `kubectl apply`.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::kinds::{KINDS, POD};

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

/// YAML: a namespace, a service account with a token of its own, the role, and its binding. `scheduler` also gives what the
/// custom scheduler needs.
pub fn manifest(account: &Account, scheduler: bool) -> String {
    let mut rules: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for kind in &KINDS {
        let verbs = "get, list, watch, create, patch, delete";
        rules.entry((kind.group, verbs)).or_default().push(kind.plural);
    }
    rules.insert((POD.group, "get, list, watch"), vec![POD.plural, "pods/log", "nodes", "events"]);
    rules.insert((POD.group, "create, get"), vec!["pods/exec", "pods/portforward"]);
    rules.insert(("storage.k8s.io", "get, list, watch"), vec!["storageclasses"]);
    rules.insert(("metrics.k8s.io", "get, list"), vec!["pods", "nodes"]);
    if scheduler {
        rules.insert((POD.group, "create"), vec!["pods/binding", "pods/eviction"]);
        rules.insert((POD.group, "patch, update"), vec!["pods/status"]);
        rules.insert((POD.group, "delete"), vec!["pods"]);
        rules.insert(("coordination.k8s.io", "get, create, update, patch"), vec!["leases"]);
        rules.insert(("events.k8s.io", "create, patch"), vec!["events"]);
        rules.insert(("scheduling.k8s.io", "get, list, watch"), vec!["priorityclasses"]);
        rules.insert(("policy", "get, list, watch"), vec!["poddisruptionbudgets"]);
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
    let _ = write!(
        out,
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata:\n  name: {name}\nroleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: ClusterRole\n  name: {name}\n\
         subjects:\n- kind: ServiceAccount\n  name: {name}\n  namespace: {namespace}\n"
    );
    out
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_kind_that_is_made_may_be_made_and_nothing_is_a_star() {
        let text = manifest(&Account::default(), false);
        assert!(!text.contains('*'), "{text}");
        let documents: Vec<Value> = serde_saphyr::from_str_multiple(&text).unwrap();
        let role = documents.iter().find(|d| d["kind"] == "ClusterRole").unwrap();
        for kind in &KINDS {
            let rule = role["rules"]
                .as_array()
                .unwrap()
                .iter()
                .find(|r| r["apiGroups"][0] == kind.group && r["resources"].as_array().unwrap().iter().any(|p| p == kind.plural));
            let verbs = rule.unwrap_or_else(|| panic!("{} is not in the role", kind.plural))["verbs"].as_array().unwrap();
            assert!(["get", "list", "watch", "patch", "create", "delete"].iter().all(|v| verbs.iter().any(|w| w == v)), "{}", kind.plural);
        }
        assert!(!text.contains("pods/binding") && manifest(&Account::default(), true).contains("pods/binding"));
    }
}
