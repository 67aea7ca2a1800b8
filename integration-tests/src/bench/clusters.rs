//! Applications on a Kubernetes cluster: what the engine writes for one, that it asks for nothing while nothing happens, what it
//! takes to watch thousands of pods, and how soon a change in the cluster is told by our API. Against the cluster of
//! `GANTRY_TEST_KUBECONFIG` if that is set, else against the testkit's API server; each figure says which.

mod cluster;
mod served;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use gantry_host::{Pki, client_config};
use gantry_kubernetes::{OWNER, POD};
use reqwest::Method;
use serde_json::{Value, json};

pub use cluster::Cluster;
pub use served::serve;

use self::served::{SPACES, Served, space};
use crate::bench::Options;
use crate::bench::figure::Figure;
use crate::bench::ground::{Ground, runtime};
use crate::bench::results::Figures;
use crate::bench::rounds::quantile_ms;
use crate::bench::usage::resident_mib;

pub const FIGURES: &[&str] = &["cluster-writes", "cluster-steady", "cluster-memory", "cluster-change"];

/// Deploys under way at once.
const AT_ONCE: usize = 8;
/// For all applications to run; images are pulled.
const PATIENCE: Duration = Duration::from_secs(1_800);
/// Nothing has been asked of the cluster for so long: what was deployed has settled.
const QUIET: Duration = Duration::from_secs(10);
const STEADY: Duration = Duration::from_secs(60);
/// Changes of one round.
const CHANGES: usize = 100;
/// Longer than any change should take; what takes longer counts as this.
const LONGEST: Duration = Duration::from_secs(30);

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    let ground = Ground::start()?;
    let pki = Pki::open(&ground.platform().ca_dir)?;
    let tls = client_config(&pki, &pki.leaf("gateway", &[])?)?;
    let http = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(Duration::from_secs(60)).build()?;
    let served = Served::start(&ground)?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let cluster = Cluster::find().await?;
        let bench = Bench { served: &served, cluster: &cluster, http, each: options.pods.div_ceil(options.applications.max(1)).max(1) };
        let measured = bench.measure(options).await;
        bench.leave().await;
        measured
    })
}

struct Bench<'a> {
    served: &'a Served,
    cluster: &'a Cluster,
    http: reqwest::Client,
    /// Pods of each application.
    each: usize,
}

/// An application by its id: its space and name.
type Applications = BTreeMap<String, (usize, String)>;

fn apps(n: usize) -> String {
    format!("/api/v1/orgs/acme/projects/bench/spaces/{}/apps", space(n))
}

impl Bench<'_> {
    async fn call(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Result<(u16, Value)> {
        let mut request = self.http.request(method, format!("{}{path}", self.served.url)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_slice(&answer.bytes().await?).unwrap_or(Value::Null)))
    }

    async fn done(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let (status, answer) = self.call(token, method, path, body).await?;
        ensure!((200..300).contains(&status), "{path}: {status} {answer}");
        Ok(answer)
    }

    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    async fn measure(&self, options: &Options) -> Result<Vec<Figure>> {
        let wants = |figure| options.wants("clusters", figure);
        let mut figures = Figures::default();
        self.import().await?;
        self.cluster.asked();
        let count = options.applications.max(1);
        self.deploy(count).await?;
        let running = self.running(count).await?;
        let mut asked = self.cluster.asked();
        asked.extend(self.quiet().await?);
        if wants("cluster-writes") {
            let writes = asked.iter().filter(|a| a.writes()).count();
            let unit = self.cluster.unit("API writes per application, the given cluster", "API writes per application, pretended API server");
            figures.push(Figure::at_most("cluster-writes", unit, vec![writes as f64 / count as f64], 3.0));
        }
        if wants("cluster-memory") {
            let pods = self.pods().await?;
            eprintln!("bench: {pods} pods are watched");
            let mut memory = Vec::new();
            for _ in 0..options.rounds {
                memory.push(resident_mib(self.served.pid())?);
                // Looked at over a while: it breathes.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let unit = self.cluster.unit("MiB resident with all pods watched, the given cluster", "MiB resident with all pods watched, pretended API server");
            figures.push(Figure::at_most("cluster-memory", unit, memory, 200.0));
        }
        if wants("cluster-steady") {
            self.cluster.asked();
            tokio::time::sleep(STEADY).await;
            let asked = self.cluster.asked();
            let busy: Vec<_> = asked.iter().filter(|a| a.writes() || a.lists()).collect();
            if let Some(first) = busy.first() {
                eprintln!("bench: asked of the cluster while nothing happened: {} {}, and {} more", first.method, first.path, busy.len() - 1);
            }
            let unit = self.cluster.unit("writes and lists of a quiet minute, the given cluster", "writes and lists of a quiet minute, pretended API server");
            figures.push(Figure::none("cluster-steady", unit, vec![busy.len() as f64]));
        }
        if wants("cluster-change") {
            let mut rounds = Vec::new();
            for n in 0..options.rounds {
                rounds.push(quantile_ms(self.changes(&running, n).await?, 0.99));
            }
            let unit = self
                .cluster
                .unit("ms p99 from a pod's deletion to our API, the given cluster", "ms p99 from a pod's deletion to our API, pretended API server");
            figures.push(Figure::at_most("cluster-change", unit, rounds, 500.0));
        }
        figures.all()
    }

    /// The cluster, with a prefix of our own, and the spaces on it.
    async fn import(&self) -> Result<()> {
        let token = self.served.token()?;
        let settings = json!({ "namespace_prefix": format!("gantry-bench-{}-", std::process::id()) });
        let body = json!({ "name": "east", "access": { "kubeconfig": self.cluster.kubeconfig() }, "settings": settings });
        self.done(&token, Method::POST, "/api/v1/clusters", Some(body)).await?;
        for n in 0..SPACES {
            let path = apps(n).replace("/apps", "/placement");
            self.done(&token, Method::PUT, &path, Some(json!({ "cluster": "east" }))).await?;
        }
        Ok(())
    }

    fn document(&self) -> Result<String> {
        Ok(format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: {}\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n      terminationGracePeriodSeconds: 1\n      containers:\n      - name: web\n        image: {}\n        ports: [{{containerPort: 8080}}]\n        resources: {{requests: {{cpu: 1m, memory: 4Mi}}}}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}\n",
            self.each,
            self.cluster.image()?
        ))
    }

    async fn deploy(&self, count: usize) -> Result<()> {
        let document: Arc<str> = self.document()?.into();
        // A token holds ten minutes.
        for from in (0..count).step_by(100) {
            let token = self.served.token()?;
            let one = |n: usize| {
                let (token, document) = (token.clone(), document.clone());
                async move {
                    let body = json!({ "name": format!("app-{n:05}"), "document": &*document, "format": "kubernetes", "reason": "bench" });
                    self.done(&token, Method::POST, &apps(n % SPACES), Some(body)).await.map(drop)
                }
            };
            stream::iter((from..count.min(from + 100)).map(one)).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        }
        Ok(())
    }

    /// Waits until all of them run.
    async fn running(&self, count: usize) -> Result<Applications> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let token = self.served.token()?;
            let (mut running, mut other) = (Applications::new(), None);
            for n in 0..SPACES {
                for app in self.all(&token, &apps(n)).await? {
                    let text = |key: &str| app[key].as_str().unwrap_or_default().to_owned();
                    if app["state"] == "running" {
                        running.insert(text("id"), (n, text("name")));
                    } else {
                        other = Some(format!("{}: {} ({})", text("name"), text("state"), text("reason")));
                    }
                }
            }
            if running.len() == count {
                return Ok(running);
            }
            if Instant::now() > deadline {
                bail!("{} of {count} applications run; {}", running.len(), other.unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }

    /// All pages of a list.
    async fn all(&self, token: &str, path: &str) -> Result<Vec<Value>> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let mut page = self.done(token, Method::GET, &format!("{path}?limit=100{cursor}"), None).await?;
            all.append(page["items"].as_array_mut().context("a list has items")?);
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(all),
            }
        }
    }

    /// Waits until nothing is changed or listed any more; what was asked meanwhile.
    async fn quiet(&self) -> Result<Vec<cluster::Asked>> {
        let (mut all, mut since, deadline) = (Vec::new(), Instant::now(), Instant::now() + PATIENCE);
        while since.elapsed() < QUIET {
            ensure!(Instant::now() < deadline, "the cluster is asked for something all the time");
            tokio::time::sleep(Duration::from_secs(1)).await;
            let asked = self.cluster.asked();
            if asked.iter().any(|a| a.writes() || a.lists()) {
                since = Instant::now();
            }
            all.extend(asked);
        }
        Ok(all)
    }

    /// How many pods of ours the cluster has.
    async fn pods(&self) -> Result<usize> {
        let (client, mut count, mut next) = (self.cluster.client()?, 0, String::new());
        loop {
            let page = client.get(&format!("{}?labelSelector={OWNER}&limit=500{next}", POD.path(None))).await?;
            count += page["items"].as_array().map_or(0, Vec::len);
            match page["metadata"]["continue"].as_str().filter(|c| !c.is_empty()) {
                Some(more) => next = format!("&continue={more}"),
                None => return Ok(count),
            }
        }
    }

    /// Pods are deleted, one after the other; how long it took until our API told each as on its way out or gone.
    async fn changes(&self, running: &Applications, round: usize) -> Result<Vec<Duration>> {
        let (client, token) = (self.cluster.client()?, self.served.token()?);
        let page = client.get(&format!("{}?labelSelector={OWNER}&limit=500", POD.path(None))).await?;
        let pods = page["items"].as_array().context("a list has items")?;
        ensure!(!pods.is_empty(), "there are no pods");
        let mut times = Vec::with_capacity(CHANGES);
        // Others in every round: those that came instead of deleted ones may not be ready yet.
        for pod in pods.iter().skip(round).step_by((pods.len() / CHANGES).max(1)).take(CHANGES) {
            let text = |key: &str| pod["metadata"][key].as_str().unwrap_or_default().to_owned();
            let (namespace, name, uid) = (text("namespace"), text("name"), text("uid"));
            let Some((space, app)) = running.get(pod["metadata"]["labels"][OWNER].as_str().unwrap_or_default()) else { continue };
            let path = format!("{}/{app}/instances", apps(*space));
            client.delete(&POD, Some(&namespace), &name, Some(&uid)).await?;
            let since = Instant::now();
            while since.elapsed() < LONGEST {
                let list = self.done(&token, Method::GET, &path, None).await?;
                let there = list["items"].as_array().into_iter().flatten().find(|i| i["id"] == uid.as_str());
                if there.is_none_or(|i| i["state"] != "running" && i["state"] != "unhealthy") {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            times.push(since.elapsed());
            // One after the other: what the one before has set off is no part of the next one's time.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        ensure!(times.len() >= CHANGES.min(pods.len()) / 2, "{} of {} pods are of applications that run", times.len(), pods.len());
        Ok(times)
    }

    /// Nothing is left behind on a real cluster.
    async fn leave(&self) {
        if !self.cluster.is_real() {
            return;
        }
        let left = async {
            for n in 0..SPACES {
                let token = self.served.token()?;
                for app in self.all(&token, &apps(n)).await? {
                    let path = format!("{}/{}", apps(n), app["name"].as_str().unwrap_or_default());
                    self.done(&token, Method::DELETE, &path, None).await?;
                }
            }
            let deadline = Instant::now() + PATIENCE;
            while self.pods().await? > 0 && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            self.done(&self.served.token()?, Method::DELETE, "/api/v1/clusters/east", None).await.map(drop)
        };
        if let Err(error) = left.await {
            eprintln!("bench: something may be left on the cluster: {error:#}");
        }
    }
}
