//! What a cluster is and can do, and whether we may do what we need to.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::Client;
use crate::engine::SCOPE;
use crate::kinds::{ACCOUNT, CLUSTER_ROLE, EVENT, INGRESS_CLASS, KINDS, Kind, NAMESPACE, NODE, NODE_METRICS, POD, POD_METRICS, STORAGE_CLASS, VOLUME_SNAPSHOT};
use crate::trouble::Trouble;
use crate::watch;

/// Kubernetes 1.28 to 1.36; others are told, not refused.
const OLDEST: u32 = 28;
const NEWEST: u32 = 36;

/// What not every cluster has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// HTTPRoutes of the Gateway API at v1.
    pub gateway: bool,
    /// Its HTTPRoutes may have `timeouts`: those of the standard channel have them since Gateway API v1.2.
    pub route_timeouts: bool,
    /// `metrics.k8s.io`: use of processors and memory.
    pub metrics: bool,
    /// CSI snapshots of volumes.
    pub snapshots: bool,
    /// HorizontalPodAutoscaler v2.
    pub autoscaling: bool,
    /// A class that claims without one get.
    pub default_storage_class: bool,
    /// A class that Ingresses without one get; `None`: which classes there are is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_ingress_class: Option<bool>,
    /// Roles of people may be bound in the namespaces (`gantry cluster manifest --roles`).
    pub role_bindings: bool,
    /// Accounts of workloads may be made in the namespaces.
    pub service_accounts: bool,
}

impl Capabilities {
    /// Can objects of this kind be there?
    pub fn has(&self, kind: &Kind) -> bool {
        match kind.kind {
            _ if !kind.optional => true,
            "RoleBinding" => self.role_bindings,
            ACCOUNT => self.service_accounts,
            _ => self.gateway,
        }
    }
}

/// A cluster that answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Found {
    /// As it calls itself: `v1.33.1`.
    pub version: String,
    pub minor: u32,
    pub platform: String,
    pub capabilities: Capabilities,
    /// What a person should know.
    pub remarks: Vec<String>,
}

/// # Errors
/// When it does not answer, or does not let us in.
pub async fn discover(client: &Client) -> Result<Found, Trouble> {
    let version = client.get("/version").await?;
    let text = version["gitVersion"].as_str().ok_or_else(|| Trouble::Malformed("/version names no gitVersion: is this a Kubernetes API server?".into()))?;
    // Some distributions write "28+".
    let digits: String = version["minor"].as_str().unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
    let minor = digits.parse().unwrap_or(0);
    let groups = client.get("/apis").await?;
    let has = |group: &str, wanted: &str| {
        let of = groups["groups"].as_array().into_iter().flatten().find(|g| g["name"] == group);
        of.is_some_and(|g| g["versions"].as_array().into_iter().flatten().any(|v| v["version"] == wanted))
    };
    let mut remarks = Vec::new();
    let gateway = has("gateway.networking.k8s.io", "v1") && {
        // A server that is busy now is no cluster without routes.
        let resources = match client.get("/apis/gateway.networking.k8s.io/v1").await {
            Err(Trouble::NotFound(_)) => Value::Null,
            answered => answered?,
        };
        resources["resources"].as_array().into_iter().flatten().any(|r| r["name"] == "httproutes")
    };
    let route_timeouts = gateway && has_timeouts(client).await?;
    if gateway && !route_timeouts {
        remarks
            .push("the HTTPRoutes of its Gateway API have no `timeouts` (the standard channel has them since v1.2): time limits of routes are left out".into());
    }
    let default_storage_class = match client.get("/apis/storage.k8s.io/v1/storageclasses").await {
        Ok(classes) => has_default(&classes, "storageclass.kubernetes.io/is-default-class"),
        Err(trouble) => {
            remarks.push(format!("storage classes cannot be read: {trouble}"));
            false
        }
    };
    // An account of an older manifest may not ask, and is none the worse for it.
    let default_ingress_class = match client.get(&INGRESS_CLASS.path(None)).await {
        Ok(classes) => Some(has_default(&classes, "ingressclass.kubernetes.io/is-default-class")),
        Err(Trouble::Forbidden(_) | Trouble::NotFound(_)) => None,
        Err(trouble) => return Err(trouble),
    };
    if default_ingress_class == Some(false) {
        remarks.push("there is no default IngressClass: routes need an `ingress_class` in the cluster's settings or, with the Gateway API, a `gateway`, unless a controller there takes Ingresses without a class".into());
    }
    if minor > 0 && !(OLDEST..=NEWEST).contains(&minor) {
        remarks.push(format!("Kubernetes 1.{minor} is outside of 1.{OLDEST} to 1.{NEWEST}, which this engine is made for"));
    }
    if !default_storage_class {
        remarks.push("there is no default storage class: volumes need one of their own".into());
    }
    let metrics = has("metrics.k8s.io", "v1beta1");
    if !metrics {
        remarks.push("there is no metrics.k8s.io/v1beta1 (metrics-server): what instances and nodes use is not told, and autoscalers by processors or memory stand still".into());
    }
    let capabilities = Capabilities {
        gateway,
        route_timeouts,
        metrics,
        snapshots: has("snapshot.storage.k8s.io", "v1"),
        autoscaling: has("autoscaling", "v2"),
        default_storage_class,
        default_ingress_class,
        role_bindings: may_list(client, "RoleBinding").await?,
        service_accounts: may_list(client, ACCOUNT).await?,
    };
    if !capabilities.service_accounts {
        remarks.push("service accounts that documents name have to be there: the right to make them is missing, which `gantry cluster manifest` gives".into());
    }
    let platform = version["platform"].as_str().unwrap_or_default().to_owned();
    Ok(Found { version: text.to_owned(), minor, platform, capabilities, remarks })
}

/// By the schema that the cluster publishes of its routes (kubernetes.io/docs/concepts/overview/kubernetes-api "OpenAPI V3"), which
/// everybody may read who is let in. A route with a field that the schema has not is refused as a whole. Where it cannot be read
/// they are taken to have all fields of the API.
async fn has_timeouts(client: &Client) -> Result<bool, Trouble> {
    match client.get("/openapi/v3/apis/gateway.networking.k8s.io/v1").await {
        Ok(document) => Ok(declares_timeouts(&document)),
        Err(Trouble::NotFound(_) | Trouble::Forbidden(_)) => Ok(true),
        Err(trouble) => Err(trouble),
    }
}

fn declares_timeouts(document: &Value) -> bool {
    let is_route = |schema: &Value| schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten().any(|of| of["kind"] == "HTTPRoute");
    let mut schemas = document["components"]["schemas"].as_object().into_iter().flatten().map(|(_, schema)| schema);
    let rule = |schema: &Value| schema["properties"]["spec"]["properties"]["rules"]["items"]["properties"].clone();
    match schemas.find(|s| is_route(s)).map(rule) {
        Some(Value::Object(fields)) => fields.contains_key("timeouts"),
        _ => true,
    }
}

/// Who may list a kind that not everybody has been given the rights to has the others, too; what is missing of these
/// [`missing_rights`] tells.
async fn may_list(client: &Client, kind: &str) -> Result<bool, Trouble> {
    let Some(kind) = KINDS.iter().find(|k| k.kind == kind) else { return Ok(false) };
    match allowed(client, kind, "", "list").await {
        Ok(missing) => Ok(missing.is_none()),
        // It is not said who may what.
        Err(Trouble::NotFound(_) | Trouble::Forbidden(_)) => Ok(false),
        Err(trouble) => Err(trouble),
    }
}

/// `mark`: the annotation that makes one of them the default.
fn has_default(classes: &Value, mark: &str) -> bool {
    classes["items"].as_array().into_iter().flatten().any(|class| class["metadata"]["annotations"][mark] == "true")
}

/// The scopes under which namespaces were made here, by any import of any installation.
///
/// # Errors
/// When the cluster does not answer.
pub async fn scopes(client: &Client) -> Result<BTreeSet<String>, Trouble> {
    let (all, _) = watch::whole(client, &NAMESPACE, None, SCOPE).await?;
    Ok(all.iter().filter_map(|n| n["metadata"]["labels"][SCOPE].as_str()).map(str::to_owned).collect())
}

/// The rights that are needed and not given, as `patch deployments.apps`; asked of the cluster itself.
///
/// # Errors
/// When the cluster does not answer.
pub async fn missing_rights(client: &Client, found: &Found) -> Result<Vec<String>, Trouble> {
    let kinds = KINDS.iter().filter(|k| found.capabilities.has(k));
    let mut asked: Vec<(&Kind, &str, &str)> = kinds.flat_map(|k| ["get", "list", "watch", "create", "patch", "delete"].map(|v| (k, "", v))).collect();
    asked.extend([(&POD, "", "get"), (&POD, "", "list"), (&POD, "", "watch"), (&POD, "", "delete"), (&POD, "log", "get")]);
    // A WebSocket is a GET, and since 1.35 the right to create is asked for, too.
    for part in ["exec", "attach", "portforward"] {
        asked.extend([(&POD, part, "get"), (&POD, part, "create")]);
    }
    asked.extend([(&EVENT, "", "list"), (&STORAGE_CLASS, "", "list")]);
    if found.capabilities.metrics {
        asked.extend([(&POD_METRICS, "", "list"), (&NODE_METRICS, "", "list"), (&NODE, "", "list")]);
    }
    if found.capabilities.snapshots {
        asked.extend(["get", "list", "create", "delete"].map(|verb| (&VOLUME_SNAPSHOT, "", verb)));
    }
    if found.capabilities.role_bindings {
        asked.push((&CLUSTER_ROLE, "", "bind"));
    }
    let mut missing = Vec::new();
    for some in asked.chunks(8) {
        let mut questions = Vec::new();
        for (kind, part, verb) in some {
            questions.push(allowed(client, kind, part, verb));
        }
        for answer in join_all(questions).await {
            missing.extend(answer?);
        }
    }
    Ok(missing)
}

/// `part`: of the object, such as a pod's `log`; empty: itself.
async fn allowed(client: &Client, kind: &Kind, part: &str, verb: &str) -> Result<Option<String>, Trouble> {
    let mut review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": { "group": kind.group, "version": kind.version, "resource": kind.plural, "subresource": part, "verb": verb } },
    });
    if *kind == CLUSTER_ROLE {
        // Only of these.
        review["spec"]["resourceAttributes"]["name"] = "admin".into();
    }
    let answer = client.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review).await?;
    let dot = if kind.group.is_empty() { "" } else { "." };
    let slash = if part.is_empty() { "" } else { "/" };
    Ok((answer["status"]["allowed"] != true).then(|| format!("{verb} {}{slash}{part}{dot}{}", kind.plural, kind.group)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_the_default_by_its_own_mark() {
        let mark = "ingressclass.kubernetes.io/is-default-class";
        let list = |marks: Value| json!({ "items": [{ "metadata": { "name": "a" } }, { "metadata": { "name": "b", "annotations": marks } }] });
        assert!(has_default(&list(json!({ mark: "true" })), mark));
        assert!(!has_default(&list(json!({ mark: "false" })), mark) && !has_default(&list(json!({})), mark) && !has_default(&json!({}), mark));
    }

    #[test]
    fn a_route_has_the_fields_that_its_schema_declares() {
        let document = |fields: Value| {
            let spec = json!({ "properties": { "rules": { "type": "array", "items": { "properties": fields } } } });
            let route = json!({ "properties": { "spec": spec }, "x-kubernetes-group-version-kind": [{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "version": "v1" }] });
            json!({ "components": { "schemas": { "io.k8s.networking.gateway.v1.HTTPRoute": route, "io.k8s.networking.gateway.v1.Gateway": {} } } })
        };
        assert!(declares_timeouts(&document(json!({ "matches": {}, "timeouts": {} }))));
        assert!(!declares_timeouts(&document(json!({ "matches": {} }))));
        assert!(declares_timeouts(&json!({})) && declares_timeouts(&json!("text")), "nothing is known");
    }
}
