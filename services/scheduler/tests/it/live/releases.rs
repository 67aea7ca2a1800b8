//! Releases: two sets beside each other, with requests all the time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use gantry_kubernetes::{Client, Trouble};
use serde_json::{Value, json};

use super::cluster::Live;
use super::documents::WEB;

/// The Deployment as an Argo Rollout, which says how it is released.
fn rollout(round: &str, strategy: &str) -> String {
    let web = WEB.replace("apiVersion: apps/v1\nkind: Deployment", "apiVersion: argoproj.io/v1alpha1\nkind: Rollout").replace("'one'", &format!("'{round}'"));
    web.replace("  progressDeadlineSeconds: 120\n", &format!("  progressDeadlineSeconds: 120\n  strategy: {strategy}\n"))
}

/// Asks the service through the API server, all the time.
struct Asking {
    asked: Arc<AtomicU32>,
    failed: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Asking {
    /// Nothing, if they are not reached so, or the cluster has no way to lose none.
    async fn start(live: &Live, test: &str) -> Option<Self> {
        if live.found.minor < 30 {
            println!(
                "SKIPPED the requests of {test}: Kubernetes 1.{} ends pods while they are still sent some, unless their image waits itself",
                live.found.minor
            );
            return None;
        }
        let path = format!("/api/v1/namespaces/{}/services/web-web:80/proxy/", live.namespace);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while let Err(trouble) = ask(&live.client, &path).await {
            // Its endpoints are not known to the API server at once.
            if matches!(trouble, Trouble::Unavailable { .. }) && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
            println!("SKIPPED the requests of {test}: services are not reached through the API server: {trouble}");
            return None;
        }
        let (asked, failed): (Arc<AtomicU32>, Arc<Mutex<Vec<String>>>) = Default::default();
        let (client, counted, told) = (live.client.clone(), asked.clone(), failed.clone());
        let task = tokio::spawn(async move {
            loop {
                if let Err(trouble) = ask(&client, &path).await {
                    told.lock().unwrap().push(trouble.to_string());
                }
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Some(Self { asked, failed, task })
    }

    fn end(self) {
        self.task.abort();
        let (asked, failed) = (self.asked.load(Ordering::SeqCst), self.failed.lock().unwrap().clone());
        println!("{asked} requests, {} failed", failed.len());
        assert!(asked > 0 && failed.is_empty(), "{} of {asked} failed, such as {:?}", failed.len(), failed.first());
    }
}

/// Whatever the image says to it is an answer.
async fn ask(client: &Client, path: &str) -> Result<(), Trouble> {
    let answer = match client.stream(path).await {
        Err(Trouble::NotFound(told)) if !told.starts_with("services \"") => return Ok(()),
        answered => answered?,
    };
    let mut answer = std::pin::pin!(answer);
    while let Some(piece) = answer.next().await {
        piece.map_err(|e| Trouble::Malformed(e.to_string()))?;
    }
    Ok(())
}

impl Live {
    async fn waits_for_promotion(&self, step: u64) {
        let waits = async || {
            let app = self.place.app("web").await;
            app["release"]["waits_for"] == "promotion" && app["release"]["step"] == step
        };
        self.until("the step waits for a promotion", waits).await;
    }

    async fn verb(&self, verb: &str, body: Value) {
        let (status, answer) = self.place.post(&format!("{}/web/release/{verb}", self.place.apps()), body).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn replicas(&self, name: &str) -> Option<u64> {
        self.object("apis/apps/v1", "deployments", name).await?["spec"]["replicas"].as_u64()
    }

    async fn selected(&self, service: &str) -> Value {
        self.object("api/v1", "services", service).await.expect("the service")["spec"]["selector"]["gantry.io/revision"].clone()
    }
}

pub async fn blue_green(live: &Live) {
    // The API server, through which the service is asked, is elsewhere than the space.
    live.set(json!({ "isolate": false })).await;
    let held = "{blueGreen: {activeService: web, previewService: seen, autoPromotionEnabled: false, scaleDownDelaySeconds: 600}}";
    live.deploy("web", &rollout("one", held)).await;
    live.reaches("web", "running", 1).await;
    let asking = Asking::start(live, "blue_green").await;
    live.deploy("web", &rollout("two", held)).await;
    live.waits_for_promotion(1).await;
    assert_eq!((live.selected("web-web").await, live.selected("web-web-preview").await), (json!("1"), json!("2")));
    assert_eq!((live.replicas("web-web-r1").await, live.replicas("web-web-r2").await), (Some(2), Some(2)));
    live.verb("promote", json!({})).await;
    live.until("the new one has the requests", async || live.selected("web-web").await == "2").await;
    // Back, while the old ones are kept.
    live.verb("abort", json!({ "reason": "live" })).await;
    live.until("the old one has the requests", async || live.selected("web-web").await == "1").await;
    live.reaches("web", "running", 1).await;
    live.until("the new ones are gone", async || live.replicas("web-web-r2").await.is_none()).await;
    live.deploy("web", &rollout("three", &held.replace("autoPromotionEnabled: false, scaleDownDelaySeconds: 600", "scaleDownDelaySeconds: 1"))).await;
    live.reaches("web", "running", 3).await;
    assert_eq!((live.replicas("web-web-r1").await, live.replicas("web-web-r3").await), (None, Some(2)));
    asking.into_iter().for_each(Asking::end);
    live.leaves_nothing(&["web"]).await;
}

pub async fn canary(live: &Live) {
    // The API server, through which the service is asked, is elsewhere than the space.
    live.set(json!({ "isolate": false })).await;
    let plain = WEB.replace("replicas: 2", "replicas: 4");
    live.deploy("web", &plain).await;
    live.reaches("web", "running", 1).await;
    let asking = Asking::start(live, "canary").await;
    let steps = "{canary: {steps: [{setWeight: 25}, {pause: {}}, {setWeight: 50}, {pause: {}}]}}";
    live.deploy("web", &rollout("two", steps).replace("replicas: 2", "replicas: 4")).await;
    live.waits_for_promotion(1).await;
    live.until("a quarter is new", async || (live.replicas("web-web").await, live.replicas("web-web-r2").await) == (Some(3), Some(1))).await;
    assert_eq!(live.why("web").await["cluster"]["drift"], json!([]), "what the release does is no drift");
    live.verb("promote", json!({})).await;
    live.waits_for_promotion(2).await;
    live.until("half is new", async || (live.replicas("web-web").await, live.replicas("web-web-r2").await) == (Some(2), Some(2))).await;
    live.verb("promote", json!({ "full": true })).await;
    live.reaches("web", "running", 2).await;
    assert_eq!((live.replicas("web-web").await, live.replicas("web-web-r2").await), (None, Some(4)));
    // Back to a Deployment that rolls.
    live.deploy("web", &plain.replace("'one'", "'three'")).await;
    live.reaches("web", "running", 3).await;
    assert_eq!((live.replicas("web-web").await, live.replicas("web-web-r2").await), (Some(4), None));
    asking.into_iter().for_each(Asking::end);
    live.leaves_nothing(&["web"]).await;
}

pub async fn gateway(live: &Live) {
    if !live.found.capabilities.gateway {
        println!("SKIPPED a_canary_shares_by_the_weights_of_a_route: the cluster has no Gateway API");
        return;
    }
    // The route's objects are looked at: no gateway has to be there for it.
    live.set(json!({ "gateway": "gantry-live/none" })).await;
    let route = "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\nspec: {rules: [{host: live.example.org, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}\n";
    let steps = "{canary: {steps: [{setWeight: 25}, {pause: {}}]}}";
    live.deploy("web", &format!("{}{route}", rollout("one", steps))).await;
    live.reaches("web", "running", 1).await;
    live.deploy("web", &format!("{}{route}", rollout("two", steps))).await;
    live.waits_for_promotion(1).await;
    let weights = async || {
        let route = live.object("apis/gateway.networking.k8s.io/v1", "httproutes", "web-web-0-0").await.unwrap_or_default();
        route["spec"]["rules"][0]["backendRefs"].as_array().into_iter().flatten().map(|b| b["weight"].as_u64().unwrap_or(0)).collect::<Vec<_>>()
    };
    live.until("a quarter goes to the new one", async || weights().await == [75, 25]).await;
    live.verb("abort", json!({})).await;
    live.reaches("web", "running", 1).await;
    live.leaves_nothing(&["web"]).await;
}
