//! What is on the cluster of ours: one store for all who ask, filled by the watches. Objects are kept without what nobody
//! reads; secrets only as fingerprints.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::fields;
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
    /// Who has set replicas through the part that is for that alone (`kubectl scale`, autoscalers), the latest first.
    pub scalers: Vec<String>,
    /// What we hold by having applied it, as FieldsV1; text, because it is seldom asked for.
    ours: Option<Box<str>>,
    /// One of them (an autoscaler) has set `.spec.replicas`.
    pub scaled_by_others: bool,
}

impl Held {
    /// Has nobody else set any of these fields since we have applied them? Then it is the cluster's way of writing what we have
    /// asked for (a mutating webhook, a field that the server leaves out), and no change: who changes a field, or takes it away,
    /// takes it from us.
    pub fn are_as_applied(&self, paths: &[String]) -> bool {
        self.ours.as_deref().is_some_and(|ours| paths.iter().all(|path| fields::hold(ours, path)))
    }

    /// Who may have set these fields beside us.
    pub fn setters(&self, fields: &[String]) -> Vec<String> {
        let scaled = fields.iter().any(|field| field == ".spec.replicas");
        let mut out: Vec<String> = self.scalers.iter().filter(|_| scaled).cloned().collect();
        let more: Vec<String> = self.others.iter().filter(|other| !out.contains(other)).cloned().collect();
        out.extend(more);
        out
    }
}

#[derive(Default)]
pub struct Cache {
    objects: BTreeMap<Key, Held>,
    pods: BTreeMap<(String, String), Pod>,
    by_owner: BTreeMap<String, BTreeSet<Key>>,
    pods_by_owner: BTreeMap<String, BTreeSet<(String, String)>>,
    /// What was taken in since a list of its kind was asked for, by kind: it may be newer than the list.
    since_asked: BTreeMap<usize, BTreeSet<Key>>,
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
        if let Some(keys) = self.since_asked.get_mut(&rank) {
            keys.insert(key.clone());
        }
        Some(self.insert(key, held))
    }

    fn insert(&mut self, key: Key, held: Held) -> String {
        let owner = held.owner.clone();
        if let Some(before) = self.objects.insert(key.clone(), held)
            && before.owner != owner
            && let Some(keys) = self.by_owner.get_mut(&before.owner)
        {
            keys.remove(&key);
        }
        self.by_owner.entry(owner.clone()).or_default().insert(key);
        owner
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

    /// A list of a kind is being asked for: what is held by now is not newer than it will be.
    pub fn asked(&mut self, rank: usize) {
        self.since_asked.insert(rank, BTreeSet::new());
    }

    /// All objects of a kind as a list has them: what is not in it is gone. Versions count only against what was taken in while the
    /// list was under way: after etcd was restored all that there is has lower ones than before.
    pub fn replace(&mut self, rank: usize, objects: Vec<Value>) -> BTreeSet<String> {
        let newer = self.since_asked.remove(&rank).unwrap_or_default();
        let there: BTreeSet<Key> = objects.iter().filter_map(|o| key_of(rank, o)).collect();
        let gone: Vec<Key> = self.objects.keys().filter(|k| k.0 == rank && !there.contains(*k)).cloned().collect();
        let mut owners: BTreeSet<String> = gone.iter().filter_map(|key| self.forget(key)).collect();
        for object in objects {
            if key_of(rank, &object).is_some_and(|key| newer.contains(&key)) {
                owners.extend(self.put(rank, object));
            } else if let Some((key, held)) = hold(rank, object)
                && self.objects.get(&key).is_none_or(|before| before.uid != held.uid || before.resource_version != held.resource_version)
            {
                owners.insert(self.insert(key, held));
            }
        }
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
    let (others, scalers) = (setters(&managed, ""), setters(&managed, "scale"));
    let applied =
        |entry: &&Value| entry["manager"] == crate::MANAGER && entry["operation"] == "Apply" && entry["subresource"].as_str().is_none_or(str::is_empty);
    let ours = managed.as_array().into_iter().flatten().find(applied).filter(|_| !controlled);
    let ours = ours.map(|entry| entry["fieldsV1"].to_string().into_boxed_str());
    Some((key, Held { owner, uid, object, resource_version, controlled, deleting, others, scalers, ours, scaled_by_others }))
}

/// Each value's fingerprint: enough to see that it has changed.
pub fn fingerprints(data: &Value) -> Value {
    let of = |value: &Value| Value::from(hex::encode(&Sha256::digest(value.as_str().unwrap_or_default())[..8]));
    let fields = data.as_object().into_iter().flatten();
    Value::Object(fields.map(|(k, v)| (k.clone(), of(v))).collect::<Map<_, _>>())
}

/// Managers other than us who have set something by the object itself (`part` is empty) or by a part of it, the latest first. What
/// is said by its status is no wish of anybody.
fn setters(managed: &Value, part: &str) -> Vec<String> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    for entry in managed.as_array().into_iter().flatten() {
        let manager = entry["manager"].as_str().unwrap_or_default();
        if manager != crate::MANAGER && entry["subresource"].as_str().unwrap_or_default() == part {
            found.push((entry["time"].as_str().unwrap_or_default(), manager));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, manager)| manager.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, version: u64) -> Value {
        json!({"metadata": {"name": name, "namespace": "x", "uid": name, "resourceVersion": version.to_string(), "labels": {OWNER: "a"}}})
    }

    fn version(cache: &Cache, name: &str) -> Option<u64> {
        cache.get(&(1, "x".into(), name.into())).map(|held| held.resource_version)
    }

    #[test]
    fn a_list_counts_whatever_its_versions_but_for_what_came_while_it_was_under_way() {
        let mut cache = Cache::default();
        assert_eq!(cache.put(1, object("web", 900)), Some("a".into()));
        assert_eq!(cache.put(1, object("web", 500)), None, "an old event");
        // Its versions are those of a backup by now.
        cache.asked(1);
        assert_eq!(cache.replace(1, vec![object("web", 500)]), BTreeSet::from(["a".to_owned()]));
        assert_eq!(version(&cache, "web"), Some(500));
        assert_eq!(cache.put(1, object("web", 501)), Some("a".into()), "events go on from there");
        // The answer to a request of ours is newer than the list that was asked for before it.
        cache.asked(1);
        cache.put(1, object("web", 510));
        assert_eq!(cache.replace(1, vec![object("web", 505)]), BTreeSet::new());
        assert_eq!(version(&cache, "web"), Some(510));
        cache.asked(1);
        assert_eq!(cache.replace(1, vec![object("web", 510)]), BTreeSet::new(), "nothing is new");
        assert_eq!(cache.replace(1, Vec::new()), BTreeSet::from(["a".to_owned()]));
        assert_eq!(version(&cache, "web"), None);
    }

    #[test]
    fn what_a_webhook_has_written_over_is_as_applied_and_what_somebody_has_changed_is_not() {
        let of = |ours: Value| {
            let mut web = object("web", 1);
            web["metadata"]["managedFields"] = json!([
                {"manager": crate::MANAGER, "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}},
                {"manager": crate::MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": ours}},
            ]);
            hold(1, web).unwrap().1
        };
        let (image, paused) = (".spec.image".to_owned(), ".spec.paused".to_owned());
        // A webhook writes under the name of who asks: the field stays that one's (only requests change whose it is).
        assert!(of(json!({"f:image": {}, "f:replicas": {}})).are_as_applied(std::slice::from_ref(&image)));
        assert!(!of(json!({"f:replicas": {}})).are_as_applied(std::slice::from_ref(&image)), "it was taken from us");
        assert!(!of(json!({"f:image": {}})).are_as_applied(&[image, paused]), "what is not applied is not as applied");
        assert!(!hold(1, object("web", 1)).unwrap().1.are_as_applied(&[".spec".to_owned()]));
    }

    #[test]
    fn who_scales_is_named_for_replicas_and_for_nothing_else() {
        let by = |manager: &str, part: &str, time: &str| json!({"manager": manager, "operation": "Update", "subresource": part, "time": time, "fieldsV1": {"f:spec": {"f:replicas": {}}}});
        let mut web = object("web", 1);
        web["metadata"]["managedFields"] = json!([
            {"manager": crate::MANAGER, "operation": "Apply", "time": "2026-01-09T00:00:00Z"},
            {"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-02T00:00:00Z"},
            by("kubectl", "scale", "2026-01-01T00:00:00Z"),
            by("kube-controller-manager", "status", "2026-01-03T00:00:00Z"),
        ]);
        let (_, held) = hold(1, web).unwrap();
        assert_eq!(held.setters(&[".spec.replicas".to_owned()]), ["kubectl", "kubectl-edit"]);
        assert_eq!(held.setters(&[".spec.paused".to_owned()]), ["kubectl-edit"]);
    }
}
