//! An API server of Kubernetes as its documentation describes it, for tests: objects with versions, lists in pages, watches
//! with bookmarks, server-side apply with managed fields and conflicts, and faults on demand. With [`ApiServer::controllers`]
//! it also does what controllers and kubelets do, at once. Commands in pods run on the machine of the test.

mod controllers;
mod fields;
mod filled;
mod immutable;
mod inside;
mod invalid;
mod metrics;
mod pods;
mod rights;
mod road;
mod serve;
mod store;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

pub use road::{Road, Way};
pub use store::{Fault, Request, Store};

/// What an API server says against an object that is applied for the first time, beside what its schema says.
pub fn refused(plural: &str, object: &Value) -> Option<String> {
    let mut whole = object.clone();
    filled::fill(plural, &mut whole);
    invalid::twice(plural, object).or_else(|| invalid::refused(plural, &whole))
}

/// All that etcd holds, at one moment.
#[derive(Clone, Debug)]
pub struct Backup {
    objects: BTreeMap<store::Key, store::Object>,
    version: u64,
}

/// Ends with the test's runtime.
#[derive(Clone)]
pub struct ApiServer {
    /// `http://127.0.0.1:<port>`
    pub url: String,
    pub(crate) store: Arc<Mutex<Store>>,
    pub(crate) changed: Arc<watch::Sender<u64>>,
}

impl ApiServer {
    /// With the token `good`.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let own = Self { url, store: Arc::default(), changed: Arc::new(watch::channel(0).0) };
        let app = serve::router(own.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        own
    }

    /// Reached over a road that can be closed.
    pub async fn on_a_road() -> (Self, Road) {
        let own = Self::start().await;
        let server = own.url.trim_start_matches("http://").parse().expect("it is an address");
        let (address, road) = Road::to(server).await;
        (Self { url: format!("http://{address}"), ..own }, road)
    }

    /// Lets a token in, with the rights that a manifest gives and no others.
    pub fn account(&self, token: &str, manifest: &str) {
        let mut store = self.lock();
        store.tokens.insert(token.to_owned());
        store.rights.insert(token.to_owned(), Arc::new(rights::of(manifest)));
    }

    /// Does from now on what a cluster's controllers and kubelets do.
    pub fn controllers(&self) {
        let own = self.clone();
        own.lock().run = true;
        own.touched();
    }

    pub fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches look again; controllers do their work.
    pub fn touched(&self) {
        let mut store = self.lock();
        if store.run {
            controllers::run(&mut store);
        }
        drop(store);
        self.changed.send_modify(|n| *n += 1);
    }

    /// A kubeconfig for it.
    pub fn kubeconfig(&self, token: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: it\ncontexts: [{{name: it, context: {{cluster: it, user: it}}}}]\nclusters: [{{name: it, cluster: {{server: '{}'}}}}]\nusers: [{{name: it, user: {{token: {token}}}}}]\n",
            self.url
        )
    }

    /// An object, as `deployments/<namespace>/<name>`.
    pub fn object(&self, at: &str) -> Option<Value> {
        let store = self.lock();
        store.find(at).map(|key| store.objects[&key].value.clone())
    }

    /// All of a plural.
    pub fn all(&self, plural: &str) -> Vec<Value> {
        let store = self.lock();
        store.of(plural, None).map(|(_, o)| o.value.clone()).collect()
    }

    /// Somebody changes an object, as `kubectl edit` does: the fields are theirs then.
    pub fn edit(&self, at: &str, manager: &str, change: impl FnOnce(&mut Value)) {
        let mut store = self.lock();
        let key = store.find(at).unwrap_or_else(|| panic!("there is no {at}"));
        store.update(&key, manager, change);
        drop(store);
        self.touched();
    }

    pub fn put(&self, plural: &str, value: Value) {
        self.lock().put(plural, value, "kubectl");
        self.touched();
    }

    pub fn remove(&self, at: &str) {
        let mut store = self.lock();
        let key = store.find(at).unwrap_or_else(|| panic!("there is no {at}"));
        store.delete(&key);
        drop(store);
        self.touched();
    }

    /// The next request that fits is answered so instead.
    pub fn fault(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Requests since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.lock().requests)
    }

    /// Watches from before now get 410, and all connections of watches end.
    pub fn forget_history(&self) {
        let mut store = self.lock();
        store.oldest = store.version + 1;
        store.version += 1;
        store.broken += 1;
        drop(store);
        self.touched();
    }

    pub fn backup(&self) -> Backup {
        let store = self.lock();
        Backup { objects: store.objects.clone(), version: store.version }
    }

    /// As after a restore of etcd: all is as it was, versions go on from there, and all connections of watches end.
    pub fn restore(&self, backup: &Backup) {
        let mut store = self.lock();
        store.objects.clone_from(&backup.objects);
        store.version = backup.version;
        store.history.clear();
        store.handled = store.handled.min(backup.version);
        store.oldest = store.oldest.min(backup.version);
        store.broken += 1;
        drop(store);
        self.touched();
    }

    /// All connections of watches end.
    pub fn cut(&self) {
        self.lock().broken += 1;
        self.touched();
    }
}
