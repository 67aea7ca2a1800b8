//! One real cluster, and what a test does with it.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use futures::FutureExt;
use gantry_kernel::{Env, Role};
use gantry_kubernetes::{Client, Credential, Found, Options, Trouble};
use gantry_scheduler::Config;
use reqwest::Method;
use serde_json::{Value, json};

use crate::neighbours::Limits;
use crate::place::{Place, config};

/// Images are pulled, a node's heartbeat is slow, and a namespace takes its time to go.
const PATIENCE: Duration = Duration::from_secs(600);
const BETWEEN: Duration = Duration::from_millis(250);

pub struct Live {
    pub place: Place,
    pub token: String,
    pub client: Client,
    pub found: Found,
    image: String,
    pub namespace: String,
    /// By which the platform has imported the cluster.
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
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
        let folder = Path::new(&file).parent().unwrap_or(Path::new("."));
        let kubeconfig = gantry_kubernetes::flatten(&text, folder).unwrap_or_else(|e| panic!("{file}: {e}"));
        // Real endpoints take their time to be known.
        let mut settings = config();
        settings.kubernetes.drain_seconds = Config::default().kubernetes.drain_seconds;
        let image = wanted("GANTRY_TEST_IMAGE");
        // Three parts without a host are an image of the platform's own registry, which no node of the cluster reaches.
        let host = image.split_once('/').is_none_or(|(first, rest)| first.contains(['.', ':']) || first == "localhost" || !rest.contains('/'));
        assert!(host, "GANTRY_TEST_IMAGE = {image}: name its registry, such as docker.io/{image}");
        Self::with(&kubeconfig, &kubeconfig, settings, image, name).await
    }

    /// `least`: a kubeconfig of an account that has what `gantry cluster manifest` gives, for the platform.
    pub async fn on(kubeconfig: &str, least: &str, image: String, name: &str) -> Self {
        Self::with(kubeconfig, least, config(), image, name).await
    }

    async fn with(kubeconfig: &str, imported: &str, mut settings: Config, image: String, name: &str) -> Self {
        let access = gantry_kubernetes::parse(kubeconfig, None).unwrap_or_else(|e| panic!("the kubeconfig: {e}"));
        let mut options = Options::new(Env::system());
        if let Credential::Exec(exec) = &access.credential {
            // Whoever runs the suite names the program.
            options.plugins.push(exec.command.clone());
            settings.kubernetes.plugins.push(exec.command.clone());
        }
        let client = Client::new(access, options).expect("the access is usable");
        let found = gantry_kubernetes::discover(&client).await.unwrap_or_else(|e| panic!("the cluster: {e}"));
        let place = Place::with(settings, Limits::default()).await;
        place.world.identity.grant(&place.subject, Role::Admin, place.space.scope()).await;
        let token = place.operator().await;
        let mark: String = place.host.uuid().simple().to_string().chars().rev().take(5).collect();
        let prefix = format!("gantry-live-{name}{mark}-");
        let namespace = format!("{prefix}acme-shop-test");
        let own = Self { place, token, client, found, image, namespace, kubeconfig: imported.to_owned(), mark };
        let body = json!({ "name": "east", "access": { "kubeconfig": imported }, "settings": { "namespace_prefix": prefix } });
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
        self.deployed(name, "kubernetes", document).await;
    }

    /// A Compose file, deployed with what a cluster does not do of it.
    pub async fn compose(&self, name: &str, document: &str) {
        self.deployed(name, "compose", document).await;
    }

    async fn deployed(&self, name: &str, format: &str, document: &str) {
        let document = document.replace("IMAGE", &self.image);
        let body = json!({ "name": name, "document": document, "format": format, "allow_unsupported": format == "compose", "reason": "live" });
        let (status, answer) = self.place.post(&self.place.apps(), body).await;
        assert!(status == 201 || status == 200, "{status} {answer}");
    }

    pub async fn reaches(&self, name: &str, state: &str, revision: u64) {
        let holds = async || {
            let app = self.place.app(name).await;
            app["state"] == state && app["revision"] == revision
        };
        self.until(&format!("{name} is {state} at revision {revision}"), holds).await;
    }

    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !holds().await {
            assert!(tokio::time::Instant::now() < deadline, "not within {} s: {what}\n{}", PATIENCE.as_secs(), self.picture().await);
            tokio::time::sleep(BETWEEN).await;
        }
    }

    /// What a person would look at: the platform's words of its applications, and the cluster's of what is in their namespace.
    async fn picture(&self) -> String {
        let mut out = String::new();
        let (_, apps) = self.place.get(&self.place.apps()).await;
        for app in apps["items"].as_array().into_iter().flatten() {
            let name = app["name"].as_str().unwrap_or_default();
            let why = self.why(name).await;
            out.push_str(&format!("{name}: {} at revision {}, why: {why}\n", app["state"], app["revision"]));
        }
        match self.client.get(&format!("/api/v1/namespaces/{}", self.namespace)).await {
            Ok(namespace) => out.push_str(&format!("the namespace {}: {}\n", self.namespace, namespace["status"])),
            Err(trouble) => out.push_str(&format!("the namespace {}: {trouble}\n", self.namespace)),
        }
        for kind in ["pods", "events"] {
            let list = self.client.get(&format!("/api/v1/namespaces/{}/{kind}?limit=200", self.namespace)).await.unwrap_or_default();
            for item in list["items"].as_array().into_iter().flatten() {
                let name = item["metadata"]["name"].as_str().unwrap_or_default();
                match kind {
                    "pods" => out.push_str(&format!("pod {name}: {}\n", item["status"])),
                    _ if item["type"] == "Warning" => {
                        out.push_str(&format!("event of {}: {} {}\n", item["involvedObject"]["name"], item["reason"], item["message"]))
                    }
                    _ => {}
                }
            }
        }
        out
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
    async fn namespaces(&self) -> Result<Vec<String>, Trouble> {
        let selector = gantry_kubernetes::SCOPE.replace('/', "%2F");
        let list = self.client.get(&format!("/api/v1/namespaces?labelSelector={selector}")).await?;
        let names = list["items"].as_array().into_iter().flatten().filter_map(|n| n["metadata"]["name"].as_str());
        Ok(names.filter(|name| name.starts_with("gantry-live-") && name.contains(&self.mark)).map(str::to_owned).collect())
    }

    /// Takes away what a test has left, when nobody makes it anew any more. What was there.
    async fn sweep(self) -> Vec<String> {
        self.place.world.running.stop().await;
        let mut left = Vec::new();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.namespaces().await {
                Ok(all) if all.is_empty() => return left,
                Ok(all) => {
                    for name in all.iter().filter(|name| !left.contains(*name)).cloned().collect::<Vec<_>>() {
                        match self.client.delete(&gantry_kubernetes::NAMESPACE, None, &name, None).await {
                            Ok(()) => left.push(name),
                            Err(trouble) => println!("the namespace {name} cannot be removed now: {trouble}"),
                        }
                    }
                    if tokio::time::Instant::now() > deadline {
                        println!("LEFT the namespaces {}: remove them with kubectl delete namespace", all.join(", "));
                        return left;
                    }
                }
                Err(trouble) => {
                    println!("whether namespaces are left cannot be asked now: {trouble}");
                    if tokio::time::Instant::now() > deadline {
                        println!("LEFT maybe namespaces with {} in their names", self.mark);
                        return left;
                    }
                }
            }
            tokio::time::sleep(BETWEEN * 4).await;
        }
    }
}

/// Runs a test, and leaves nothing behind, however it ends.
pub async fn cleanly(live: Live, test: impl AsyncFnOnce(&Live)) {
    let outcome = AssertUnwindSafe(test(&live)).catch_unwind().await;
    let left = live.sweep().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    assert!(left.is_empty(), "the test has left {}, which the suite has taken away", left.join(", "));
}
