//! What the API server holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::fields::{self, Managers};
use super::rights::Rights;
use super::{filled, immutable, invalid};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub plural: String,
    pub namespace: String,
    pub name: String,
}

#[derive(Clone, Debug)]
pub struct Object {
    pub value: Value,
    pub managers: Managers,
}

/// One event of a watch.
#[derive(Clone, Debug)]
pub struct Change {
    pub version: u64,
    pub plural: String,
    pub kind: &'static str,
    pub object: Value,
}

/// An answer instead of the right one.
#[derive(Clone, Debug)]
pub struct Fault {
    pub method: &'static str,
    /// Found in path and query.
    pub path: &'static str,
    pub status: u16,
    pub retry_after: Option<u64>,
    /// For a watch with status 200: a line that is sent.
    pub body: String,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
}

pub struct Store {
    pub objects: BTreeMap<Key, Object>,
    pub version: u64,
    pub history: Vec<Change>,
    /// Older versions get 410.
    pub oldest: u64,
    /// Moves when watches are to end.
    pub broken: u64,
    pub faults: Vec<Fault>,
    pub requests: Vec<Request>,
    pub tokens: BTreeSet<String>,
    /// Of tokens that may not do everything.
    pub(super) rights: BTreeMap<String, Arc<Rights>>,
    /// `patch deployments`
    pub denied: BTreeSet<String>,
    pub gateway: bool,
    /// HTTPRoutes have `timeouts`.
    pub route_timeouts: bool,
    /// The cluster has a metrics server: every pod uses a quarter of a core and 64 MiB per container.
    pub metrics: bool,
    /// Of Kubernetes 1.<minor>.
    pub minor: u32,
    /// An apply that says nothing more of a part leaves it there without anything in it, as early servers of 1.36 do
    /// (structured-merge-diff's issue 331).
    pub hollow: bool,
    /// What every apply is warned of.
    pub warning: Option<String>,
    /// Where a pod's port is on the machine of the test, if it is not the same.
    pub ports: BTreeMap<u16, u16>,
    /// Of terminals, as they were told.
    pub sizes: Vec<(u64, u64)>,
    /// The CSI snapshot API is there.
    pub snapshots: bool,
    /// Send a bookmark after so many changes of other kinds.
    pub bookmarks: bool,
    pub run: bool,
    /// Up to where controllers have looked.
    pub(super) handled: u64,
    uids: u64,
    server: u64,
}

/// How many have been made in this process.
static SERVERS: AtomicU64 = AtomicU64::new(0);

impl Default for Store {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            version: 100,
            history: Vec::new(),
            oldest: 0,
            broken: 0,
            faults: Vec::new(),
            requests: Vec::new(),
            tokens: BTreeSet::from(["good".to_owned()]),
            rights: BTreeMap::new(),
            // What an account of `gantry cluster manifest` has not got unless it is asked for.
            denied: BTreeSet::from(["list rolebindings".to_owned()]),
            gateway: false,
            route_timeouts: true,
            metrics: false,
            minor: 36,
            hollow: true,
            warning: None,
            ports: BTreeMap::new(),
            sizes: Vec::new(),
            snapshots: false,
            bookmarks: true,
            run: false,
            handled: 0,
            uids: 0,
            server: SERVERS.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl Store {
    /// By `plural/namespace/name` or `plural/name`.
    pub fn find(&self, at: &str) -> Option<Key> {
        let parts: Vec<&str> = at.split('/').collect();
        let (plural, namespace, name) = match parts[..] {
            [plural, namespace, name] => (plural, namespace, name),
            [plural, name] => (plural, "", name),
            _ => return None,
        };
        let key = Key { plural: plural.into(), namespace: namespace.into(), name: name.into() };
        self.objects.contains_key(&key).then_some(key)
    }

    /// Those of a plural, in a namespace or in all.
    pub fn of<'a>(&'a self, plural: &'a str, namespace: Option<&'a str>) -> impl Iterator<Item = (&'a Key, &'a Object)> {
        let from = Key { plural: plural.to_owned(), namespace: namespace.unwrap_or_default().to_owned(), name: String::new() };
        self.objects.range(from..).take_while(move |(key, _)| key.plural == plural && namespace.is_none_or(|n| n == key.namespace))
    }

    /// What has happened after a version.
    pub fn since(&self, version: u64) -> &[Change] {
        &self.history[self.history.partition_point(|c| c.version <= version)..]
    }

    pub fn uid(&mut self) -> String {
        self.uids += 1;
        // Of no other server's objects.
        format!("00000000-0000-4000-{:04x}-{:012x}", 0x8000 | (self.server & 0x3fff), self.uids)
    }

    /// Keeps a new or changed object, if anything but its version has changed.
    pub fn keep(&mut self, key: Key, mut value: Value, managers: Managers) -> Value {
        let before = self.objects.get(&key).map(|o| o.value.clone());
        if value["metadata"]["uid"].is_null() {
            value["metadata"]["uid"] = self.uid().into();
            value["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
            value["metadata"]["generation"] = 1.into();
        }
        value["metadata"]["managedFields"] = fields::managed(&managers, value["apiVersion"].as_str().unwrap_or_default());
        if let Some(before) = &before {
            value["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            value["metadata"]["generation"] = before["metadata"]["generation"].clone();
            if *before == value {
                return value;
            }
            if before["spec"] != value["spec"] {
                value["metadata"]["generation"] = (before["metadata"]["generation"].as_u64().unwrap_or(1) + 1).into();
            }
        }
        self.version += 1;
        value["metadata"]["resourceVersion"] = self.version.to_string().into();
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.history.push(Change { version: self.version, plural: key.plural.clone(), kind, object: value.clone() });
        self.objects.insert(key, Object { value: value.clone(), managers });
        value
    }

    pub fn put(&mut self, plural: &str, value: Value, manager: &str) -> Value {
        let text = |field: &str| value["metadata"][field].as_str().unwrap_or_default().to_owned();
        let key = Key { plural: plural.into(), namespace: text("namespace"), name: text("name") };
        let managers = Managers::from([(manager.to_owned(), fields::leaves(&value).into_keys().collect())]);
        self.keep(key, value, managers)
    }

    pub fn update(&mut self, key: &Key, manager: &str, change: impl FnOnce(&mut Value)) {
        let Some(Object { mut value, mut managers }) = self.objects.get(key).cloned() else { return };
        let before = fields::leaves(&value);
        change(&mut value);
        let after = fields::leaves(&value);
        let changed: BTreeSet<String> = after.iter().filter(|(path, v)| before.get(*path) != Some(v)).map(|(path, _)| path.clone()).collect();
        for held in managers.values_mut() {
            held.retain(|path| after.contains_key(path) && !changed.contains(path));
        }
        managers.entry(manager.to_owned()).or_default().extend(changed);
        self.keep(key.clone(), value, managers);
    }

    /// Who is not named holds nothing any more.
    pub fn let_go(&mut self, key: &Key, named: &[Value]) {
        if let Some(Object { value, mut managers }) = self.objects.get(key).cloned() {
            managers.retain(|manager, _| named.iter().any(|entry| entry["manager"] == manager.as_str()));
            self.keep(key.clone(), value, managers);
        }
    }

    /// The status alone: nobody's fields.
    pub fn status(&mut self, key: &Key, status: Value) {
        if let Some(Object { mut value, managers }) = self.objects.get(key).cloned() {
            value["status"] = status;
            self.keep(key.clone(), value, managers);
        }
    }

    /// Without what it owns, which belongs to nobody then.
    pub fn orphan(&mut self, key: &Key) {
        let Some(uid) = self.objects.get(key).map(|o| o.value["metadata"]["uid"].clone()) else { return };
        let owned = |o: &Object| o.value["metadata"]["ownerReferences"].as_array().is_some_and(|all| all.iter().any(|r| r["uid"] == uid));
        let left: Vec<Key> = self.objects.iter().filter(|(_, o)| owned(o)).map(|(k, _)| k.clone()).collect();
        for one in left {
            if let Some(Object { mut value, managers }) = self.objects.get(&one).cloned() {
                if let Some(metadata) = value["metadata"].as_object_mut() {
                    metadata.remove("ownerReferences");
                }
                self.keep(one, value, managers);
            }
        }
        self.delete(key);
    }

    /// With everything that it owns.
    pub fn delete(&mut self, key: &Key) {
        let Some(Object { mut value, .. }) = self.objects.remove(key) else { return };
        self.version += 1;
        value["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.history.push(Change { version: self.version, plural: key.plural.clone(), kind: "DELETED", object: value.clone() });
        let uid = value["metadata"]["uid"].clone();
        let owned = |v: &Value| v["metadata"]["ownerReferences"].as_array().is_some_and(|all| all.iter().any(|o| o["uid"] == uid));
        let inside = |k: &Key| key.plural == "namespaces" && k.namespace == key.name;
        let more: Vec<Key> = self.objects.iter().filter(|(k, o)| owned(&o.value) || inside(k)).map(|(k, _)| k.clone()).collect();
        more.iter().for_each(|k| self.delete(k));
    }

    /// Server-side apply; a Status with its code if it is refused.
    ///
    /// # Errors
    /// Conflicts, and what the API refuses.
    pub fn apply(&mut self, key: &Key, body: &Value, manager: &str, force: bool) -> Result<Value, (u16, Value)> {
        if let Some(wrong) = immutable::misnamed(&key.name, body) {
            return Err((422, status(422, &format!("{} \"{}\" is invalid: {wrong}", key.plural, key.name))));
        }
        if let Some(wrong) = invalid::twice(&key.plural, body) {
            return Err((500, status(500, &format!("failed to create typed patch object ({}/{}): {wrong}", key.namespace, key.name))));
        }
        let mut wanted = fields::leaves(body);
        wanted.retain(|path, _| !path.starts_with(".metadata.name") && path != ".apiVersion" && path != ".kind");
        let Some(Object { mut value, mut managers }) = self.objects.get(key).cloned() else {
            if key.plural != "namespaces" && self.find(&format!("namespaces/{}", key.namespace)).is_none() {
                return Err((404, status(404, &format!("namespaces \"{}\" not found", key.namespace))));
            }
            let managers = Managers::from([(manager.to_owned(), wanted.into_keys().collect())]);
            let mut made = body.clone();
            if key.plural == "services" && made["spec"].get("clusterIP").is_none() && made["spec"]["type"] != "ExternalName" {
                made["spec"]["clusterIP"] = "10.96.0.1".into();
            }
            if key.plural == "persistentvolumeclaims" && made["spec"].get("storageClassName").is_none() {
                // The default class is written into a claim that names none.
                made["spec"]["storageClassName"] = "std".into();
            }
            filled::fill(&key.plural, &mut made);
            if let Some(wrong) = invalid::refused(&key.plural, &made) {
                return Err((422, status(422, &format!("{} \"{}\" is invalid: {wrong}", key.plural, key.name))));
            }
            return Ok(self.keep(key.clone(), made, managers));
        };
        let there = fields::leaves(&value);
        let mut causes = Vec::new();
        for (path, want) in &wanted {
            for (other, held) in managers.iter().filter(|(m, _)| *m != manager) {
                if held.contains(path) && there.get(path) != Some(want) {
                    let message = format!("conflict with \"{other}\" using {}", body["apiVersion"].as_str().unwrap_or_default());
                    causes.push(json!({ "reason": "FieldManagerConflict", "message": message, "field": path }));
                }
            }
        }
        if !causes.is_empty() && !force {
            let mut refused = status(409, &format!("Apply failed with {} conflict", causes.len()));
            refused["reason"] = "Conflict".into();
            refused["details"] = json!({ "causes": causes });
            return Err((409, refused));
        }
        let mine = managers.remove(manager).unwrap_or_default();
        for (_, held) in managers.iter_mut() {
            held.retain(|path| there.get(path) == wanted.get(path) || !wanted.contains_key(path));
        }
        // What was ours and is asked for no more goes, unless others hold it, too.
        for gone in mine.iter().filter(|path| !wanted.contains_key(*path) && !managers.values().any(|m| m.contains(*path))) {
            fields::remove(&mut value, gone, self.hollow);
        }
        fields::merge(&mut value, body);
        if key.plural == "services" && value["spec"].get("clusterIP").is_none() && value["spec"]["type"] != "ExternalName" {
            // Given once, and kept.
            value["spec"]["clusterIP"] = self.objects[key].value["spec"].get("clusterIP").cloned().unwrap_or_else(|| "10.96.0.1".into());
        }
        filled::fill(&key.plural, &mut value);
        if let Some(wrong) = invalid::refused(&key.plural, &value) {
            return Err((422, status(422, &format!("{} \"{}\" is invalid: {wrong}", key.plural, key.name))));
        }
        if let Some(refused) = immutable::refused(&key.plural, &self.objects[key].value, &value) {
            return Err((422, status(422, &format!("{} \"{}\" is invalid: {refused}", key.plural, key.name))));
        }
        managers.insert(manager.to_owned(), wanted.into_keys().collect());
        Ok(self.keep(key.clone(), value, managers))
    }
}

pub fn status(code: u16, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code })
}
