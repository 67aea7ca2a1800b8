//! People's roles as bindings in a space's namespace. A person's groups, as identity puts them into tokens (the claim `groups`),
//! name each role with where it holds: `acme:admin`, `acme/shop:editor`, `acme/shop/test:viewer`.

use gantry_kubernetes::ROLES;
use serde_json::{Value, json};

use crate::domain::app::Home;
use crate::domain::cluster::ClusterSettings;

const GROUP: &str = "rbac.authorization.k8s.io";

/// One binding for each role, for those who have it in the space, its project or its organisation.
pub fn bindings(home: &Home, settings: &ClusterSettings, namespace: &str) -> Vec<Value> {
    let org = home.org_name.to_string();
    let project = format!("{org}/{}", home.project_name);
    let space = format!("{project}/{}", home.space_name);
    let places = [org, project, space];
    let binding = |(role, cluster_role): (&str, &str)| {
        let subject = |place: &String| json!({ "apiGroup": GROUP, "kind": "Group", "name": format!("{}{place}:{role}", settings.groups_prefix) });
        json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "RoleBinding",
            "metadata": { "name": format!("gantry-{role}"), "namespace": namespace },
            "roleRef": { "apiGroup": GROUP, "kind": "ClusterRole", "name": cluster_role },
            "subjects": places.iter().map(subject).collect::<Vec<Value>>(),
        })
    };
    ROLES.into_iter().map(binding).collect()
}
