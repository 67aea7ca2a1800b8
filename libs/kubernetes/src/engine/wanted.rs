//! What one owner shall have on a cluster: its objects with our labels, and how each is compared with what is there.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cache::{self, Held, Key};
use crate::kinds::{KINDS, Kind};
use crate::pod::{OWNER, REVISION};

/// The label of everything that one import of a cluster has made.
pub const SCOPE: &str = "gantry.io/cluster";
/// What of an object was asked for last, as an annotation: a field that is asked for no more shows by it.
pub const HASH: &str = "gantry.io/applied";
/// An object with this annotation stays when it has left the model (volumes of a workload that is still there), until its owner goes.
pub const KEEP: &str = "gantry.io/keep";

/// A claim with this annotation, or that names no storage class, keeps the class that it was made with: the choice was the cluster's.
pub const OPEN_CLASS: &str = "gantry.io/open-class";

/// Objects that one owner shall have, complete but for our labels.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// In the order of [`KINDS`].
    pub(super) objects: Vec<One>,
    pub(super) hash: String,
    /// What is labelled with one of these revisions stays as it is, though it is not asked for any more; so do Deployments by name.
    spared: BTreeSet<String>,
    spared_names: BTreeSet<String>,
}

#[derive(Clone, Debug)]
pub(super) struct One {
    pub kind: &'static Kind,
    pub key: Key,
    pub body: Value,
    /// As the cache would hold it.
    pub compared: Value,
    pub hash: String,
    /// An autoscaler that is wanted, too, sets its replicas.
    pub scaled: bool,
    /// See [`OPEN_CLASS`].
    pub open_class: bool,
}

impl Wanted {
    /// Objects of kinds that are not known here are left out; namespaces must be named.
    pub fn new(scope: &str, owner: &str, objects: Vec<Value>) -> Self {
        let mut all: Vec<One> = objects.into_iter().filter_map(|object| one(scope, owner, object)).collect();
        all.sort_by_key(|o| o.key.0);
        let targets: Vec<(String, Value)> = all.iter().filter(|o| o.kind.kind == AUTOSCALER).map(|o| (o.key.1.clone(), target(&o.body))).collect();
        for object in &mut all {
            let itself = json!([object.kind.kind, object.key.2]);
            object.scaled = targets.iter().any(|(namespace, target)| *namespace == object.key.1 && *target == itself);
            if object.scaled {
                object.compared["spec"].as_object_mut().map(|spec| spec.remove("replicas"));
            }
        }
        let mut whole = Sha256::new();
        for object in &all {
            whole.update(object.hash.as_bytes());
            whole.update(format!("{:?}", object.key).as_bytes());
        }
        Self { objects: all, hash: hex::encode(whole.finalize()), spared: BTreeSet::new(), spared_names: BTreeSet::new() }
    }

    /// Objects of these revisions, by their label, and Deployments of these names are left alone for now: requests may still be on
    /// their way to them.
    #[must_use]
    pub fn sparing(mut self, revisions: &BTreeSet<u64>, deployments: &BTreeSet<String>) -> Self {
        self.spared = revisions.iter().map(u64::to_string).collect();
        self.spared_names.clone_from(deployments);
        for one in self.spared.iter().chain(&self.spared_names) {
            self.hash.push('-');
            self.hash.push_str(one);
        }
        self
    }

    /// What pods of a spared revision may read stays with them.
    pub(super) fn spares(&self, key: &Key, held: &Held) -> bool {
        let kind = KINDS.get(key.0).map_or("", |k| k.kind);
        let labelled = held.object["metadata"]["labels"][REVISION].as_str().is_some_and(|r| self.spared.contains(r));
        let named = kind == "Deployment" && self.spared_names.contains(&key.2);
        let read = matches!(kind, "ConfigMap" | "Secret") && !(self.spared.is_empty() && self.spared_names.is_empty());
        labelled || named || read
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.objects.iter().any(|o| o.key == *key)
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// As they are sent.
    pub fn bodies(&self) -> impl Iterator<Item = &Value> {
        self.objects.iter().map(|o| &o.body)
    }
}

const AUTOSCALER: &str = "HorizontalPodAutoscaler";

/// Kind and name of what an autoscaler scales.
pub(super) fn target(autoscaler: &Value) -> Value {
    let target = &autoscaler["spec"]["scaleTargetRef"];
    json!([target["kind"], target["name"]])
}

fn one(scope: &str, owner: &str, mut body: Value) -> Option<One> {
    let kind = Kind::of(body["apiVersion"].as_str()?, body["kind"].as_str()?)?;
    without_nothing(&mut body);
    let metadata = body.get_mut("metadata")?;
    metadata["labels"][SCOPE] = scope.into();
    metadata["labels"][OWNER] = owner.into();
    metadata["labels"]["app.kubernetes.io/managed-by"] = "gantry".into();
    let hash = hex::encode(&Sha256::digest(body.to_string())[..12]);
    body["metadata"]["annotations"][HASH] = hash.as_str().into();
    let key = cache::key_of(kind.rank(), &body)?;
    let mut compared = body.clone();
    // The items of a list do not say what they are.
    if let Some(fields) = compared.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    if kind.kind == "Secret" {
        compared["data"] = cache::fingerprints(&compared["data"]);
    }
    let named = |text: &Value| text.as_str().is_some_and(|t| !t.is_empty());
    let open_class = kind.kind == "PersistentVolumeClaim" && (!named(&body["spec"]["storageClassName"]) || named(&body["metadata"]["annotations"][OPEN_CLASS]));
    if open_class && let Some(spec) = compared.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("storageClassName");
    }
    Some(One { kind, key, body, compared, hash, scaled: false, open_class })
}

/// A null would say that we hold a field and want it empty.
fn without_nothing(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, v| !v.is_null());
            fields.values_mut().for_each(without_nothing);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nothing),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_carries_its_own_fingerprint() {
        let object = |replicas: u32| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "x"}, "spec": {"replicas": replicas}});
        let (one, same, other) = (Wanted::new("c", "a", vec![object(1)]), Wanted::new("c", "a", vec![object(1)]), Wanted::new("c", "a", vec![object(2)]));
        assert_eq!(one.hash, same.hash);
        assert_ne!(one.hash, other.hash);
        let body = one.bodies().next().unwrap();
        assert_eq!((body["metadata"]["labels"][OWNER].as_str(), body["metadata"]["labels"][SCOPE].as_str()), (Some("a"), Some("c")));
        assert!(body["metadata"]["annotations"][HASH].is_string());
    }

    #[test]
    fn what_is_needed_comes_first() {
        let named = |api: &str, kind: &str| json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x", "namespace": "x"}});
        let wanted =
            Wanted::new("c", "a", vec![named("apps/v1", "Deployment"), named("v1", "Secret"), named("example.org/v1", "Unknown"), named("v1", "Namespace")]);
        let kinds: Vec<&str> = wanted.bodies().map(|b| b["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["Namespace", "Secret", "Deployment"]);
    }
}
