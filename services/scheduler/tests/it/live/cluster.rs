//! One real cluster, and what a test does with it.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use gantry_kernel::{Env, Role, Scope};
use gantry_kubernetes::{Client, Found, Options, Trouble};
use reqwest::Method;
use serde_json::{Value, json};

use crate::place::Place;

/// Images are pulled, and a node's heartbeat is slow.
const PATIENCE: Duration = Duration::from_secs(300);

pub struct Live {
    pub place: Place,
    pub token: String,
    pub client: Client,
    pub found: Found,
    image: String,
    pub namespace: String,
    pub kubeconfig: String,
    /// In the names of all namespaces that this test makes, and of no other's.
    pub mark: String,
}

#[allow(clippy::disallowed_methods, reason = "what the suite is given by the shell")]
fn wanted(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: `make test-kubernetes` says what it needs"))
}

impl Live {
    pub async fn started(name: &str) -> Self {
        let file = wanted("GANTRY_TEST_KUBECONFIG");
        let kubeconfig = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
        Self::on(&kubeconfig, wanted("GANTRY_TEST_IMAGE"), name).await
    }

    pub async fn on(kubeconfig: &str, image: String, name: &str) -> Self {
        let access = gantry_kubernetes::parse(kubeconfig, None).unwrap_or_else(|e| panic!("the kubeconfig: {e}"));
        let client = Client::new(access, Options::new(Env::system())).expect("the access is usable");
        let found = gantry_kubernetes::discover(&client).await.unwrap_or_else(|e| panic!("the cluster: {e}"));
        let place = Place::new().await;
        let operator = place.world.user();
        place.world.identity.grant(&format!("user:{operator}"), Role::Admin, Scope::Platform).await;
        place.world.identity.grant(&place.subject, Role::Admin, place.space.scope()).await;
        place.world.identity.settle(&place.host).await;
        let token = place.world.token(operator, "op");
        let mark: String = place.host.uuid().simple().to_string().chars().rev().take(5).collect();
        let prefix = format!("gantry-live-{name}{mark}-");
        let namespace = format!("{prefix}acme-shop-test");
        let own = Self { place, token, client, found, image, namespace, kubeconfig: kubeconfig.to_owned(), mark };
        let body = json!({ "name": "east", "access": { "kubeconfig": kubeconfig }, "settings": { "namespace_prefix": prefix } });
        let (status, answer) = own.call(Method::POST, "/api/v1/clusters", Some(body)).await;
        assert_eq!(status, 201, "{answer}");
        let placement = own.place.apps().replace("/apps", "/placement");
        let (status, answer) = own.call(Method::PUT, &placement, Some(json!({ "cluster": "east" }))).await;
        assert_eq!(status, 200, "{answer}");
        own
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let place = &self.place;
        place.world.call(&place.host, method, path, Some(&self.token), body.as_ref()).await
    }

    /// A Kubernetes document, deployed.
    pub async fn deploy(&self, name: &str, document: &str) {
        let document = document.replace("IMAGE", &self.image);
        let body = json!({ "name": name, "document": document, "format": "kubernetes", "reason": "live" });
        let (status, answer) = self.place.post(&self.place.apps(), body).await;
        assert!(status == 201 || status == 200, "{status} {answer}");
    }

    pub async fn reaches(&self, name: &str, state: &str, revision: u64) {
        let holds = async || {
            let app = self.place.app(name).await;
            app["state"] == state && app["revision"] == revision
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !holds().await {
            assert!(tokio::time::Instant::now() < deadline, "not {state} at {revision}: {:#}\n{:#}", self.place.app(name).await, self.why(name).await);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !holds().await {
            assert!(tokio::time::Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub async fn why(&self, name: &str) -> Value {
        self.place.get(&format!("{}/{name}/why", self.place.apps())).await.1
    }

    pub async fn object(&self, api: &str, plural: &str, name: &str) -> Option<Value> {
        match self.client.get(&format!("/{api}/namespaces/{}/{plural}/{name}", self.namespace)).await {
            Ok(object) => Some(object),
            Err(Trouble::NotFound(_)) => None,
            Err(trouble) => panic!("{plural}/{name}: {trouble}"),
        }
    }

    /// Somebody else changes an object.
    pub async fn meddle(&self, api: &str, plural: &str, name: &str, change: impl Fn(&mut Value)) {
        let path = format!("/{api}/namespaces/{}/{plural}/{name}", self.namespace);
        for _ in 0..20 {
            let mut object = self.client.get(&path).await.expect("the object");
            change(&mut object);
            match self.client.put(&format!("{path}?fieldManager=somebody"), &object).await {
                Ok(_) => return,
                Err(Trouble::Conflict(_)) => {}
                Err(trouble) => panic!("{path}: {trouble}"),
            }
        }
        panic!("{path} is changed all the time");
    }

    pub async fn deletes(&self, apps: &[&str]) {
        for app in apps {
            let (status, answer) =
                self.place.world.call(&self.place.host, Method::DELETE, &format!("{}/{app}", self.place.apps()), Some(&self.place.token), None).await;
            assert_eq!(status / 100, 2, "{answer}");
        }
    }

    /// Deletes the applications, and holds that nothing is left on the cluster.
    pub async fn leaves_nothing(&self, apps: &[&str]) {
        self.deletes(apps).await;
        let gone = async || matches!(self.client.get(&format!("/api/v1/namespaces/{}", self.namespace)).await, Err(Trouble::NotFound(_)));
        self.until("the namespace is gone with all that was in it", gone).await;
    }

    /// Other settings of the cluster than the default, beside the names of its namespaces.
    pub async fn set(&self, mut settings: Value) {
        settings["namespace_prefix"] = self.namespace.trim_end_matches("acme-shop-test").into();
        let (status, answer) = self.call(Method::PUT, "/api/v1/clusters/east/settings", Some(settings)).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// The namespaces of this test that are there.
    async fn namespaces(&self) -> Vec<String> {
        let selector = gantry_kubernetes::SCOPE.replace('/', "%2F");
        let list = self.client.get(&format!("/api/v1/namespaces?labelSelector={selector}")).await.unwrap_or_default();
        let names = list["items"].as_array().into_iter().flatten().filter_map(|n| n["metadata"]["name"].as_str());
        names.filter(|name| name.starts_with("gantry-live-") && name.contains(&self.mark)).map(str::to_owned).collect()
    }

    /// Takes away what a test that failed has left, when nobody makes it anew any more.
    async fn sweep(self) {
        self.place.world.running.stop().await;
        let all = self.namespaces().await;
        for name in &all {
            if let Err(trouble) = self.client.delete(&gantry_kubernetes::NAMESPACE, None, name, None).await {
                println!("LEFT the namespace {name} could not be removed: {trouble}");
            }
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.namespaces().await.is_empty() {
            if tokio::time::Instant::now() > deadline {
                println!("LEFT the namespaces {} are still going", self.namespaces().await.join(", "));
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Runs a test, and leaves nothing behind also if it fails.
pub async fn cleanly(live: Live, test: impl AsyncFnOnce(&Live)) {
    let outcome = AssertUnwindSafe(test(&live)).catch_unwind().await;
    if let Err(panic) = outcome {
        live.sweep().await;
        std::panic::resume_unwind(panic);
    }
}
