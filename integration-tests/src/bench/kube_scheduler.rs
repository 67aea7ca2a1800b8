//! Pods bound per second by `gantryd --target=kube-scheduler`: a thousand nodes, five thousand pods that wait, and a scheduler that
//! is started; the time runs from the first binding to the last, as a watch tells them. The anchor is the kube-scheduler that
//! `GANTRY_BENCH_KUBE_SCHEDULER` names, against the same API server and without limits to its requests. Without one ours stands
//! alone and has no goal: how fast a scheduler binds is a matter of the API server before it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use gantry_kubernetes::{Client, Kind, NAMESPACE, NODE, POD, Seen, Sink, Trouble, follow};
use gantry_servers::text_from_env;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::bench::cloud::until;
use crate::bench::clusters::Cluster;
use crate::bench::figure::{Figure, Goal};
use crate::bench::ground::runtime;
use crate::bench::http::Process;
use crate::bench::rounds::Round;
use crate::bench::{Options, former};

pub const FIGURES: &[&str] = &["kube-scheduler-bound"];

const ANCHOR: &str = "GANTRY_BENCH_KUBE_SCHEDULER";
const GOAL: f64 = 1.5;
const NODES: usize = 1_000;
const PODS: usize = 5_000;
/// Of a quick look.
const FEW: (usize, usize) = (50, 250);
/// Writes under way at once while the ground is laid.
const AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_secs(600);

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    let folder = Path::new("target/bench/kube-scheduler");
    std::fs::create_dir_all(folder)?;
    let folder = folder.canonicalize()?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let cluster = Cluster::find().await?;
        let kubeconfig = folder.join("kubeconfig");
        std::fs::write(&kubeconfig, cluster.kubeconfig())?;
        let (nodes, pods) = if options.quick { FEW } else { (NODES, PODS) };
        let field = Field { client: cluster.client()?, folder, kubeconfig, namespace: format!("gantry-bench-pods-{}", std::process::id()), nodes, pods };
        former::say(&format!("a namespace and {nodes} nodes without machines"));
        if let Err(error) = field.lay().await {
            field.clear().await;
            return Err(error);
        }
        let unit = cluster.unit("pods bound/s, 1,000 nodes, the given cluster", "pods bound/s, 1,000 nodes, pretended API server");
        let figure = match text_from_env(ANCHOR) {
            Some(peer) => {
                let rounds = field.rounds(options.rounds, Path::new(&peer)).await;
                rounds.map(|rounds| Figure::compared(FIGURES[0], unit, "kube-scheduler, unthrottled", rounds, Goal::AtLeast(GOAL)))
            }
            None => field.alone(options.rounds).await.map(|rates| Figure::alone(FIGURES[0], unit, rates)),
        };
        field.clear().await;
        Ok(vec![figure?])
    })
}

struct Field {
    client: Client,
    folder: PathBuf,
    kubeconfig: PathBuf,
    namespace: String,
    nodes: usize,
    /// Of one round.
    pods: usize,
}

impl Field {
    /// A namespace, and nodes without machines.
    async fn lay(&self) -> Result<()> {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": self.namespace } });
        self.client.post(&NAMESPACE.path(None), &namespace).await?;
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default", "namespace": self.namespace } });
        // The cluster makes it, too; without it pods are refused.
        match self.client.post(&format!("/api/v1/namespaces/{}/serviceaccounts", self.namespace), &account).await {
            Ok(_) | Err(Trouble::Conflict(_)) => {}
            Err(trouble) => return Err(trouble.into()),
        }
        let room = json!({ "cpu": "32", "memory": "256Gi", "pods": "110", "ephemeral-storage": "1Ti" });
        let node = |n: usize| {
            let name = self.node(n);
            json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": format!("zone-{}", n % 3) } },
                "status": { "capacity": room, "allocatable": room, "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }] },
            })
        };
        self.make(&NODE.path(None), (0..self.nodes).map(node)).await
    }

    fn node(&self, n: usize) -> String {
        format!("{}-{n:04}", self.namespace)
    }

    async fn make(&self, path: &str, objects: impl Iterator<Item = Value>) -> Result<()> {
        let one = |object: Value| async move { self.client.post(path, &object).await.map(drop) };
        stream::iter(objects.map(one)).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        Ok(())
    }

    async fn rounds(&self, count: usize, peer: &Path) -> Result<Vec<Round>> {
        let mut rounds = Vec::new();
        for n in 0..count {
            let anchor = async || self.bound(&format!("anchor-{n}"), |name| self.peer(peer, name)).await.context("the anchor");
            // Whoever comes second finds an API server that has more behind it.
            rounds.push(if n % 2 == 0 {
                let anchor = anchor().await?;
                Round { ours: self.round(n).await?, anchor }
            } else {
                Round { ours: self.round(n).await?, anchor: anchor().await? }
            });
        }
        Ok(rounds)
    }

    async fn alone(&self, count: usize) -> Result<Vec<f64>> {
        let mut rates = Vec::new();
        for n in 0..count {
            rates.push(self.round(n).await?);
        }
        Ok(rates)
    }

    async fn round(&self, n: usize) -> Result<f64> {
        self.bound(&format!("gantry-{n}"), |name| self.ours(name)).await.context("ours")
    }

    fn ours(&self, name: &str) -> Result<Process> {
        let mut command = Command::new(std::env::current_exe()?.with_file_name("gantryd"));
        command.args(["--target=kube-scheduler", "--scheduler-name", name, "--lease-namespace", &self.namespace, "--kubeconfig"]).arg(&self.kubeconfig);
        // Nothing of the platform is needed; it is told by its absence.
        command.env("GANTRYD__PLATFORM__HOME", &self.folder).env("GANTRYD__PLATFORM__LOG", "info");
        Process::spawn(command, &self.folder.join(format!("{name}.log")))
    }

    fn peer(&self, program: &Path, name: &str) -> Result<Process> {
        let settings = json!({
            "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
            "leaderElection": { "leaderElect": false },
            "clientConnection": { "kubeconfig": self.kubeconfig, "qps": 100_000, "burst": 100_000, "contentType": "application/json", "acceptContentTypes": "application/json" },
            "profiles": [{ "schedulerName": name }],
        });
        let file = self.folder.join(format!("{name}.json"));
        std::fs::write(&file, settings.to_string())?;
        let mut command = Command::new(program);
        command.arg("--config").arg(&file).args(["--secure-port=0", "--authentication-skip-lookup=true"]);
        Process::spawn(command, &self.folder.join(format!("{name}.log")))
    }

    /// Pods a second. The pods wait before the scheduler is started, and are gone when this returns.
    async fn bound(&self, scheduler: &str, start: impl Fn(&str) -> Result<Process>) -> Result<f64> {
        let pod = |n: usize| {
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": format!("{scheduler}-{n:05}"), "namespace": self.namespace, "labels": { "bench": scheduler } },
                "spec": {
                    "schedulerName": scheduler, "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false,
                    // Nodes without kubelets are found to be away after a while.
                    "tolerations": [{ "operator": "Exists" }],
                    "containers": [{ "name": "c", "image": "registry.k8s.io/pause:3.10", "resources": { "requests": { "cpu": "100m", "memory": "200Mi" } } }],
                },
            })
        };
        let path = POD.path(Some(&self.namespace));
        former::say(&format!("{} pods for {scheduler}", self.pods));
        self.make(&path, (0..self.pods).map(pod)).await?;
        let seen = Arc::new(Bindings::default());
        let (client, sink, over) = (self.client.clone(), Arc::clone(&seen), CancellationToken::new());
        let (selector, stop) = (format!("bench={scheduler}"), over.clone());
        let watch = tokio::spawn(async move { follow(client, &POD, selector, &*sink, stop).await });
        let rate = self.first_to_last(scheduler, start, &seen).await;
        over.cancel();
        watch.await?;
        let rate = rate?;
        let gone = |n: usize| async move { self.client.delete(&POD, Some(&self.namespace), &format!("{scheduler}-{n:05}"), None).await };
        stream::iter((0..self.pods).map(gone)).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        Ok(rate)
    }

    /// Starts the scheduler once all of its pods are seen waiting (one that was bound before would be told of when the list comes, as if it
    /// had been bound then) and ends it when all are bound.
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    async fn first_to_last(&self, scheduler: &str, start: impl Fn(&str) -> Result<Process>, seen: &Bindings) -> Result<f64> {
        let (log, deadline) = (self.folder.join(format!("{scheduler}.log")), Instant::now() + PATIENCE);
        until("all pods are listed", PATIENCE, async || Ok(seen.listed() >= self.pods)).await?;
        let mut process = start(scheduler)?;
        former::doing(&format!("{scheduler} binds its pods"));
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let (bound, first, last) = seen.so_far();
            if bound >= self.pods {
                return Ok(bound as f64 / (last - first).as_secs_f64().max(0.001));
            }
            if let Some(status) = process.ended() {
                bail!("the scheduler ended with {status} after {bound} of {} pods; see {}", self.pods, log.display());
            }
            ensure!(Instant::now() < deadline, "{bound} of {} pods are bound; see {}", self.pods, log.display());
        }
    }

    async fn clear(&self) {
        let gone = |n: usize| async move { self.client.delete(&NODE, None, &self.node(n), None).await };
        let nodes = stream::iter((0..self.nodes).map(gone)).buffer_unordered(AT_ONCE).try_collect::<()>().await;
        let namespace = self.client.delete(&NAMESPACE, None, &self.namespace, None).await;
        if let Err(trouble) = nodes.and(namespace) {
            eprintln!("bench: something may be left on the cluster: {trouble}");
        }
    }
}

/// Which pods there are, which have a node, and when the first and the last of these was told of.
#[derive(Default)]
struct Bindings(Mutex<Told>);

#[derive(Default)]
struct Told {
    /// In the first list.
    listed: usize,
    bound: HashSet<String>,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Bindings {
    fn listed(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).listed
    }

    /// How many are bound; since when, and until when.
    fn so_far(&self) -> (usize, Instant, Instant) {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        (told.bound.len(), told.first.unwrap_or(now), told.last.unwrap_or(now))
    }
}

impl Sink for Bindings {
    fn see(&self, _: &Kind, seen: Seen) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let objects = match seen {
            Seen::All(all) => {
                told.listed = all.len();
                all
            }
            Seen::There(one) => vec![one],
            Seen::Gone(_) => return,
        };
        for pod in objects {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            if pod["spec"]["nodeName"].as_str().is_some_and(|n| !n.is_empty()) && told.bound.insert(name.to_owned()) {
                let now = Instant::now();
                told.first.get_or_insert(now);
                told.last = Some(now);
            }
        }
    }

    fn trouble(&self, _: &Kind, trouble: Option<&Trouble>) {
        if let Some(trouble) = trouble {
            eprintln!("bench: the pods cannot be watched now: {trouble}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_runs_from_the_first_binding_that_was_told_to_the_last() {
        let bindings = Bindings::default();
        let pod = |name: &str, node: Option<&str>| json!({ "metadata": { "name": name }, "spec": { "nodeName": node } });
        bindings.see(&POD, Seen::All(vec![pod("a", None), pod("b", None), pod("c", Some(""))]));
        assert_eq!((bindings.listed(), bindings.so_far().0), (3, 0));
        bindings.see(&POD, Seen::There(pod("a", Some("node-1"))));
        let (_, first, _) = bindings.so_far();
        // Told once more, as after each change of it.
        bindings.see(&POD, Seen::There(pod("a", Some("node-1"))));
        bindings.see(&POD, Seen::There(pod("b", Some("node-1"))));
        bindings.see(&POD, Seen::Gone(pod("a", Some("node-1"))));
        let seen = bindings.so_far();
        assert_eq!((seen.0, seen.1), (2, first));
        assert!(seen.2 >= first);
    }
}
