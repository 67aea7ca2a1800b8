//! What is on the cluster of ours: one store for all who ask, filled by the watches. Objects are kept without what nobody
//! reads; secrets only as fingerprints.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::kinds::Kind;
use crate::pod::{self, OWNER, Pod};

/// Kind (by its place in `KINDS`), namespace, name.
pub type Key = (usize, String, String);

/// An object of ours.
#[derive(Clone, Debug)]
pub struct Held {
    pub owner: String,
    pub uid: String,
    pub object: Value,
    pub resource_version: u64,
    /// Made by a controller for another object of ours, and its concern.
    pub controlled: bool,
    pub deleting: bool,
    /// Who else has set fields, the latest first.
    pub others: Vec<String>,
    /// One of them (an autoscaler) has set `.spec.replicas`.
    pub scaled_by_others: bool,
}

#[derive(Default)]
pub struct Cache {
    objects: BTreeMap<Key, Held>,
    pods: BTreeMap<(String, String), Pod>,
    by_owner: BTreeMap<String, BTreeSet<Key>>,
    pods_by_owner: BTreeMap<String, BTreeSet<(String, String)>>,
}

impl Cache {
    pub fn get(&self, key: &Key) -> Option<&Held> {
        self.objects.get(key)
    }

    pub fn of<'a>(&'a self, owner: &str) -> impl Iterator<Item = (&'a Key, &'a Held)> {
        self.by_owner.get(owner).into_iter().flatten().filter_map(|key| self.objects.get_key_value(key))
    }

    pub fn owners(&self) -> impl Iterator<Item = &String> {
        self.by_owner.keys()
    }

    pub fn uids(&self) -> impl Iterator<Item = &str> {
        self.objects.values().map(|held| held.uid.as_str())
    }

    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    pub fn pods_of<'a>(&'a self, owner: &str) -> impl Iterator<Item = &'a Pod> {
        self.pods_by_owner.get(owner).into_iter().flatten().filter_map(|key| self.pods.get(key))
    }

    pub fn len(&self) -> (usize, usize) {
        (self.objects.len(), self.pods.len())
    }

    /// Takes an object in, if it is not older than what is held. The owner that it concerns, if something has changed.
    pub fn put(&mut self, rank: usize, object: Value) -> Option<String> {
        let (key, held) = hold(rank, object)?;
        if self.objects.get(&key).is_some_and(|before| before.uid == held.uid && before.resource_version >= held.resource_version) {
            return None;
        }
        let owner = held.owner.clone();
        if let Some(before) = self.objects.insert(key.clone(), held)
            && before.owner != owner
            && let Some(keys) = self.by_owner.get_mut(&before.owner)
        {
            keys.remove(&key);
        }
        self.by_owner.entry(owner.clone()).or_default().insert(key);
        Some(owner)
    }

    pub fn remove(&mut self, rank: usize, object: &Value) -> Option<String> {
        let key = key_of(rank, object)?;
        let uid = object["metadata"]["uid"].as_str();
        // It may be there again already, known from the answer to our own request.
        if self.objects.get(&key).is_none_or(|held| uid.is_some_and(|uid| uid != held.uid)) {
            return None;
        }
        self.forget(&key)
    }

    fn forget(&mut self, key: &Key) -> Option<String> {
        let owner = self.objects.remove(key)?.owner;
        if let Some(keys) = self.by_owner.get_mut(&owner) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_owner.remove(&owner);
            }
        }
        Some(owner)
    }

    /// All objects of a kind as a list has them: what is not in it is gone.
    pub fn replace(&mut self, rank: usize, objects: Vec<Value>) -> BTreeSet<String> {
        let there: BTreeSet<Key> = objects.iter().filter_map(|o| key_of(rank, o)).collect();
        let gone: Vec<Key> = self.objects.keys().filter(|k| k.0 == rank && !there.contains(*k)).cloned().collect();
        let mut owners: BTreeSet<String> = gone.iter().filter_map(|key| self.forget(key)).collect();
        owners.extend(objects.into_iter().filter_map(|o| self.put(rank, o)));
        owners
    }

    pub fn put_pod(&mut self, pod: Pod) -> Option<String> {
        let key = (pod.namespace.clone(), pod.name.clone());
        if self.pods.get(&key).is_some_and(|before| *before == pod || (before.uid == pod.uid && before.resource_version > pod.resource_version)) {
            return None;
        }
        let owner = pod.owner.clone();
        self.pods_by_owner.entry(owner.clone()).or_default().insert(key.clone());
        self.pods.insert(key, pod);
        Some(owner)
    }

    pub fn remove_pod(&mut self, namespace: &str, name: &str, uid: &str) -> Option<String> {
        let key = (namespace.to_owned(), name.to_owned());
        if self.pods.get(&key).is_none_or(|p| p.uid != uid) {
            return None;
        }
        let owner = self.pods.remove(&key)?.owner;
        if let Some(keys) = self.pods_by_owner.get_mut(&owner) {
            keys.remove(&key);
            if keys.is_empty() {
                self.pods_by_owner.remove(&owner);
            }
        }
        Some(owner)
    }

    pub fn replace_pods(&mut self, pods: Vec<Pod>) -> BTreeSet<String> {
        let before = std::mem::take(&mut self.pods);
        self.pods_by_owner.clear();
        let mut owners: BTreeSet<String> = before.into_values().map(|p| p.owner).collect();
        owners.extend(pods.into_iter().filter_map(|p| self.put_pod(p)));
        owners
    }
}

pub fn key_of(rank: usize, object: &Value) -> Option<Key> {
    let metadata = &object["metadata"];
    Some((rank, metadata["namespace"].as_str().unwrap_or_default().to_owned(), metadata["name"].as_str()?.to_owned()))
}

/// `None`: it has no name or version, and is no object.
pub fn hold(rank: usize, mut object: Value) -> Option<(Key, Held)> {
    let key = key_of(rank, &object)?;
    let resource_version = pod::version(&object);
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    let uid = metadata.get("uid")?.as_str()?.to_owned();
    let managed = metadata.remove("managedFields").unwrap_or_default();
    let owners = metadata.get("ownerReferences").and_then(Value::as_array);
    let controlled = owners.is_some_and(|all| all.iter().any(|o| o["controller"] == true));
    let deleting = metadata.get("deletionTimestamp").is_some_and(|t| !t.is_null());
    let owner = metadata.get("labels").and_then(|l| l[OWNER].as_str()).unwrap_or_default().to_owned();
    if object.get("kind").is_some_and(|k| k == "Secret") || Kind::is_secret(rank) {
        object["data"] = fingerprints(&object["data"]);
    }
    let scaled_by_others =
        managed.as_array().into_iter().flatten().any(|entry| entry["manager"] != crate::MANAGER && entry["fieldsV1"]["f:spec"].get("f:replicas").is_some());
    Some((key, Held { owner, uid, object, resource_version, controlled, deleting, others: others(&managed), scaled_by_others }))
}

/// Each value's fingerprint: enough to see that it has changed.
pub fn fingerprints(data: &Value) -> Value {
    let of = |value: &Value| Value::from(hex::encode(&Sha256::digest(value.as_str().unwrap_or_default())[..8]));
    let fields = data.as_object().into_iter().flatten();
    Value::Object(fields.map(|(k, v)| (k.clone(), of(v))).collect::<Map<_, _>>())
}

/// Managers other than us who set more than the status, the latest first.
fn others(managed: &Value) -> Vec<String> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    for entry in managed.as_array().into_iter().flatten() {
        let manager = entry["manager"].as_str().unwrap_or_default();
        if manager != crate::MANAGER && entry["subresource"].as_str().is_none_or(str::is_empty) {
            found.push((entry["time"].as_str().unwrap_or_default(), manager));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, manager)| manager.to_owned()).collect()
}
