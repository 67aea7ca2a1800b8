//! Kubernetes manifests into the model: any number of documents and lists, as `kubectl` and `kustomize build` write them.
//! Objects that belong to a cluster rather than to an application, and fields that the model has no place for, are listed.

mod container;
mod export;
mod objects;
mod placing;
mod pod;
mod policies;
mod quantity;
mod rollouts;
mod routes;
mod serving;
mod storage;
mod workloads;

use std::collections::BTreeMap;

use gantry_kernel::Name;

use super::document::{Document, Reading, Remarks};
use super::model::{Config, Model};
use super::patch;
use super::yaml;
use super::{check, kept};
use objects::Object;

pub use export::{cluster, export, host_name};
pub use quantity::{of_bytes, of_millis, thousandths, whole};

/// The annotation that carries what Kubernetes has no word for, on any object.
pub const MODEL: &str = "gantry.io/model";

pub fn read(document: &Document<'_>) -> Reading {
    let remarks = Remarks::default();
    let mut model = Model::default();
    let mut roots = Vec::new();
    for (n, text) in std::iter::once(document.text).chain(document.overrides.iter().map(String::as_str)).enumerate() {
        match yaml::parse(text) {
            Ok(mut docs) => {
                if n > 0 {
                    let mark = remarks.file(&format!("document {}", n + 1));
                    docs.iter_mut().for_each(|d| d.map_lines(&mark));
                }
                roots.extend(docs);
            }
            Err(broken) => {
                let hint = if text.contains("{{") { "; it looks like a template: render it first, as with `helm template`" } else { "" };
                remarks.wrong("document", broken.line, format!("{}{hint}", broken.detail));
            }
        }
    }
    let objects = objects::gather(&roots, &remarks);
    Reader { document, remarks: &remarks }.all(objects, &mut model);
    Reading { model, remarks }
}

/// The `apiVersion` of kinds that are often written with another one.
const HOMES: [(&str, &str); 14] = [
    ("ConfigMap", "v1"),
    ("CronJob", "batch/v1"),
    ("DaemonSet", "apps/v1"),
    ("Deployment", "apps/v1"),
    ("HorizontalPodAutoscaler", "autoscaling/v2"),
    ("Ingress", "networking.k8s.io/v1"),
    ("Job", "batch/v1"),
    ("NetworkPolicy", "networking.k8s.io/v1"),
    ("PersistentVolumeClaim", "v1"),
    ("Pod", "v1"),
    ("PodDisruptionBudget", "policy/v1"),
    ("Secret", "v1"),
    ("Service", "v1"),
    ("StatefulSet", "apps/v1"),
];

/// What the readers of objects have in common.
struct Reader<'a> {
    document: &'a Document<'a>,
    remarks: &'a Remarks,
}

/// What one object says that others need to know.
#[derive(Default)]
struct Known {
    /// Names of container ports by workload.
    port_names: BTreeMap<Name, BTreeMap<String, u16>>,
    /// Claims of the templates of the workload that is being read, and their volumes.
    claims: Vec<(String, String)>,
}

impl Reader<'_> {
    fn all(&self, objects: Vec<Object<'_>>, model: &mut Model) {
        let mut known = Known::default();
        let mut patches = Vec::new();
        let mut rest = Vec::new();
        // Configs and claims first, then what uses them, then what chooses among workloads.
        for object in objects {
            if let Some(text) = object.annotations.get(MODEL) {
                patches.push((text.clone(), object.path.clone(), object.line));
            }
            match (object.group.as_str(), object.kind.as_str()) {
                ("", "ConfigMap" | "Secret") => storage::config(&object, model),
                ("", "PersistentVolumeClaim") => storage::claim(&object, model),
                _ => rest.push(object),
            }
        }
        self.of_space(model);
        let (runs, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|o| workloads::is_workload(o));
        for object in &runs {
            workloads::read(object, self.document, model, &mut known);
        }
        let (serves, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|o| o.is("", "Service"));
        for object in &serves {
            serving::service(object, model, &known);
        }
        let listeners = routes::listeners(&others);
        for object in &others {
            self.other(object, model, &listeners);
        }
        if model.workloads.is_empty() && model.outside.is_empty() && !self.remarks.any_wrong() {
            self.remarks.wrong("document", 1, "has no workload: a Deployment, StatefulSet, DaemonSet, Job, CronJob or Pod");
        }
        for (text, path, line) in patches {
            let change = serde_json::from_str(&text).map_err(|e| e.to_string());
            if let Err(detail) = change.and_then(|change| patch::apply(model, &change)) {
                self.remarks.wrong(&format!("{path}.metadata.annotations"), line, format!("`{MODEL}` {detail}"));
            }
        }
        let used: Vec<String> = model.configs.keys().filter(|name| kept::uses(model, name) != kept::Uses::default()).cloned().collect();
        model.configs.retain(|name, config| config.external.is_none() || used.contains(name));
        check::complete(model, self.document, self.remarks);
    }

    /// What the space keeps may be named as if it was in the document, which counts more. What nothing names is left out again.
    fn of_space(&self, model: &mut Model) {
        for ((name, secret), keys) in self.document.kept {
            let entries = keys.iter().map(|key| (key.clone(), String::new())).collect();
            let config = Config { secret: *secret, entries, external: Some(name.clone()), ..Config::default() };
            model.configs.entry(storage::config_name(name, *secret)).or_insert(config);
        }
    }

    fn other(&self, object: &Object<'_>, model: &mut Model, listeners: &routes::Listeners) {
        match (object.group.as_str(), object.kind.as_str()) {
            ("networking.k8s.io" | "extensions", "Ingress") => routes::ingress(object, model),
            ("gateway.networking.k8s.io", "HTTPRoute") => routes::http_route(object, model, listeners),
            ("gateway.networking.k8s.io", "Gateway") => routes::gateway(object),
            ("autoscaling", "HorizontalPodAutoscaler") => policies::scaling(object, model),
            ("policy", "PodDisruptionBudget") => policies::budget(object, model),
            ("networking.k8s.io" | "extensions", "NetworkPolicy") => policies::network(object, model),
            ("", "Namespace") => {
                object.all_read();
                object.note("the application lives in the space that it is deployed into");
            }
            ("", "ServiceAccount") => {
                object.all_read();
                object.note("instances get no account of a cluster from the nodes; on a Kubernetes cluster one is made for a workload that names it, unless there is one, and without what else stands here");
            }
            ("kustomize.config.k8s.io", _) => {
                object.all_read();
                object.wrong("is an input of kustomize: deploy what `kustomize build` writes");
            }
            ("gateway.networking.k8s.io", kind @ ("GRPCRoute" | "TLSRoute" | "TCPRoute" | "UDPRoute")) => {
                object.all_read();
                object.unsupported(&format!("{kind}: routes are plain HTTP; publish the port with a Service of type LoadBalancer or NodePort"));
            }
            (group, kind)
                if HOMES.iter().any(|(known, _)| *known == kind)
                    && (group.is_empty() || HOMES.iter().any(|(_, home)| home.starts_with(&format!("{group}/")))) =>
            {
                object.all_read();
                let home = HOMES.iter().find(|(known, _)| *known == kind).map_or("", |(_, home)| *home);
                object.wrong(&format!("a {kind} has the `apiVersion` {home}"));
            }
            (group, kind) => {
                object.all_read();
                let of = if group.is_empty() { String::new() } else { format!(" of {group}") };
                let detail = match kind {
                    "StorageClass"
                    | "PersistentVolume"
                    | "CustomResourceDefinition"
                    | "PriorityClass"
                    | "RuntimeClass"
                    | "IngressClass"
                    | "GatewayClass"
                    | "ClusterRole"
                    | "ClusterRoleBinding"
                    | "Role"
                    | "RoleBinding"
                    | "Node"
                    | "APIService"
                    | "CSIDriver"
                    | "ClusterIssuer"
                    | "MutatingWebhookConfiguration"
                    | "PodSecurityPolicy"
                    | "ValidatingAdmissionPolicy"
                    | "ValidatingAdmissionPolicyBinding"
                    | "ValidatingWebhookConfiguration"
                    | "VolumeSnapshotClass"
                    | "ResourceQuota"
                    | "LimitRange" => "belongs to a cluster, not to an application: operators set its like up on the platform",
                    _ => "is not known",
                };
                object.unsupported(&format!("an object of kind {kind}{of} {detail}"));
            }
        }
    }
}

/// A name of an object as ours.
fn name_of(object: &Object<'_>) -> Option<Name> {
    let name = check::name_of(&object.name);
    match &name {
        None => object.wrong("needs a name of letters and digits"),
        Some(name) if name.as_str() != object.name => object.note(&format!("is called `{name}` here")),
        Some(_) => {}
    }
    name
}

#[cfg(test)]
mod tests;
