//! A real node beside the bench's scheduler: a containerd of its own and `gantryd --target=agent` in a process of its own, on this
//! machine. Everything that containers leave on a machine is taken away with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gantry_cri::Cri;
use gantry_scheduler::Config;
use gantry_servers::process::send;
use gantry_servers::server::free_port;
use gantry_servers::{Containerd, Need, Network, PidFile, Server, Signal, busybox, ensure_running, install, is_root, stop};
use gantry_testkit::neighbours::Digests;
use reqwest::Method;

use crate::bench::cloud::{Cloud, until};
use crate::bench::ground::runtime;
use crate::bench::http::Process;
use crate::bench::usage::{cpu_of_trees, processes_with, with_children};

const NEEDS: [Need; 7] = [Need::Haproxy, Need::Containerd, Need::Runc, Need::CniPlugins, Need::Iptables, Need::Nftables, Need::Busybox];
/// Second numbers of the networks `10.x.0.0/16` of its pods and of its services. Suites of `make up` and `make test` have theirs below
/// 112, tests from 140 on.
const PODS: u8 = 125;
const SERVICES: u8 = 126;
const BRIDGE: &str = "gtybench0";
const SPACE: &str = "test";
const IMAGE: &str = "web";
/// The agent's port, counted from the base (`gantry_host::config::PORTS`).
const AGENT: u16 = 8;
/// Until everything that an application consists of runs, or is gone.
const PATIENCE: Duration = Duration::from_secs(180);
/// Until the agent has told the scheduler of itself, and containerd of an image.
const STARTING: Duration = Duration::from_secs(60);
/// Of the agent's log, where it says why nothing comes.
const LAST_LINES: usize = 15;
const INSTANCE: &str = "gantry.io/instance";

pub struct Node {
    agent: Option<Process>,
    agent_url: String,
    containerd: Containerd,
    cri: Cri,
    home: PathBuf,
    /// Where its balancer answers for routes.
    pub http: SocketAddr,
    // Last: servers go when nothing uses them any more.
    pub cloud: Cloud,
}

impl Node {
    /// # Errors
    /// When this is not root, something is missing and cannot be installed, or something does not start.
    pub fn start() -> Result<Self> {
        ensure!(is_root(), "it starts containers, which only root may: run it as root");
        install::ensure(&NEEDS, &mut |line| eprintln!("bench: {line}"))?;
        let name = format!("gantry.bench/{}", Cloud::image(IMAGE));
        let image = busybox::archive(&name, &["/bin/sh"])?;
        let digests = Digests { by_repository: BTreeMap::from([(Cloud::repository(IMAGE), image.digest.clone())]) };
        let cloud = Cloud::start(Config::default(), digests, &[SPACE])?;
        let home = cloud.ground.folder().to_owned();
        let network = Network { bridge: BRIDGE.into(), second: PODS };
        let containerd = Containerd::new(&home, network, "gantry.bench".into(), cloud.ground.platform().ca_dir.join("ca.pem"))?;
        let (http, agent) = (SocketAddr::from(([127, 0, 0, 1], free_port()?)), free_port()?);
        // From here on what was started is taken away, whatever fails.
        let socket = containerd.socket();
        let cri = cloud.run(async { Cri::lazy(&socket) });
        let mut node = Self { agent: None, agent_url: format!("https://127.0.0.1:{agent}"), containerd, cri, home, http, cloud };
        ensure_running(&node.containerd, Duration::from_secs(60))?;
        let archive = node.home.join("image.tar");
        fs::write(&archive, &image.bytes)?;
        let pinned = format!("gantry.bench/{}@{}", Cloud::repository(IMAGE), image.digest);
        node.containerd.import(&archive, &name, &pinned)?;
        let known = until("containerd knows the image", STARTING, async || Ok(node.cri.image(&pinned).await?.is_some()));
        node.cloud.run(known)?;
        node.agent = Some(node.launch(agent)?);
        let known = until("the scheduler knows the node", STARTING, async || {
            node.agent_runs()?;
            Ok(node.cloud.known_nodes().await? == 1)
        });
        node.cloud.run(known).with_context(|| node.agent_said())?;
        Ok(node)
    }

    fn launch(&self, port: u16) -> Result<Process> {
        let more = [
            ("PLATFORM__CONTAINERD", self.containerd.socket().display().to_string()),
            ("PLATFORM__PEERS__SCHEDULER", self.cloud.host.url_of("scheduler")?),
            ("PLATFORM__PORT_BASE", port.checked_sub(AGENT).context("a port that is too low")?.to_string()),
            ("AGENT__NODE", "bench".to_owned()),
            ("AGENT__HTTP_LISTEN", self.http.to_string()),
            ("AGENT__SERVICE_NETWORK", format!("10.{SERVICES}.0.0")),
            ("AGENT__IMAGE_GC_PERCENT", "0".to_owned()),
        ];
        let program = std::env::current_exe()?.with_file_name("gantryd");
        Process::start(&program, &["--target=agent"], &self.cloud.ground.platform(), &self.home.join("log/agent.log"), &more)
    }

    pub fn agent(&self) -> u32 {
        self.agent.as_ref().map_or(0, Process::pid)
    }

    /// # Errors
    /// When the agent has ended: whoever waits for it would wait in vain.
    pub fn agent_runs(&self) -> Result<()> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.agent())).unwrap_or_default();
        let state = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or_default().trim();
        // One that has ended is a zombie until it is waited for.
        ensure!(!state.is_empty() && !state.starts_with(['Z', 'X']), "the agent has ended\n{}", self.agent_said());
        Ok(())
    }

    /// The end of its log.
    pub fn agent_said(&self) -> String {
        let log = fs::read_to_string(self.home.join("log/agent.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("the agent said last:\n{}", lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"))
    }

    /// What the scheduler says of an application, for whoever waits for it in vain.
    pub async fn said_of(&self, name: &str) -> String {
        match self.cloud.call(Method::GET, &format!("{}/{name}", Cloud::apps(SPACE)), None).await {
            Ok(app) => format!("{name} is {}: {}", app["state"], app["reason"]),
            Err(error) => format!("{error:#}"),
        }
    }

    /// Where its figures are read.
    pub fn metrics_url(&self) -> String {
        format!("{}/metrics", self.agent_url)
    }

    /// Seconds of processor time of the agent, containerd, and all that both have started, in containers too.
    ///
    /// # Errors
    /// When containerd has ended.
    pub fn cpu(&self) -> Result<f64> {
        let containerd = self.containerd.pid_file().alive().context("containerd has ended")?;
        // Shims are nobody's children: containerd lets them go, so that they outlive it.
        let shims = processes_with(&self.containerd.socket().display().to_string());
        Ok(cpu_of_trees(&[vec![self.agent(), containerd], shims].concat()))
    }

    /// The same without the agent: containerd and what it starts.
    ///
    /// # Errors
    /// As [`Node::cpu`].
    pub fn cpu_of_runtime(&self) -> Result<f64> {
        Ok(self.cpu()? - cpu_of_trees(&[self.agent()]))
    }

    /// An application of one workload whose shell runs `script`; for documents of another kind there is [`Node::compose`].
    ///
    /// # Errors
    /// When it is refused.
    pub async fn deploy(&self, name: &str, script: &str, replicas: usize) -> Result<u64> {
        let script = serde_json::to_string(script)?;
        let document = format!(
            "services:\n  web:\n    image: {}\n    command: [-c, {script}]\n    stop_grace_period: 1s\n    deploy:\n      replicas: {replicas}\n      \
             resources: {{reservations: {{cpus: '0.005', memory: 4M}}}}\n",
            Cloud::image(IMAGE)
        );
        self.compose(name, &document).await
    }

    /// # Errors
    /// When it is refused.
    pub async fn compose(&self, name: &str, document: &str) -> Result<u64> {
        self.cloud.deploy(SPACE, name, "compose", document).await
    }

    /// Waits until an application runs with this revision.
    ///
    /// # Errors
    /// When it does not.
    pub async fn runs(&self, name: &str, revision: u64) -> Result<()> {
        self.cloud.runs(SPACE, name, revision, PATIENCE).await.with_context(|| self.agent_said())
    }

    /// Deletes an application and waits until nothing of it is left on the node.
    ///
    /// # Errors
    /// When something stays.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.cloud.delete(SPACE, name).await?;
        let gone = until("no pod is left", PATIENCE, async || {
            self.agent_runs()?;
            Ok(self.cri.list_pods(&BTreeMap::new()).await?.is_empty())
        });
        gone.await.with_context(|| format!("{name} was deleted; {}", self.agent_said()))
    }

    /// The image that documents name.
    pub fn image() -> String {
        Cloud::image(IMAGE)
    }

    /// Instances that have printed something, in the container that is the `attempt`th of theirs (from 0).
    pub fn printed(&self, attempt: u32) -> BTreeSet<String> {
        let instances = fs::read_dir(self.home.join("agent/logs")).into_iter().flatten().flatten();
        let spoke = |folder: &Path| fs::metadata(folder.join(format!("{attempt}.log"))).is_ok_and(|m| m.len() > 0);
        instances.filter(|e| spoke(&e.path())).filter_map(|e| e.file_name().into_string().ok()).collect()
    }

    /// The process of each instance's container, by instance.
    ///
    /// # Errors
    /// When containerd does not answer.
    pub async fn processes(&self) -> Result<BTreeMap<String, u32>> {
        let mut found = BTreeMap::new();
        for container in self.cri.list_containers(&BTreeMap::new()).await? {
            let Some(instance) = container.labels.get(INSTANCE) else { continue };
            if let Some(pid) = self.cri.container_status(&container.id).await?.pid {
                found.insert(instance.clone(), pid);
            }
        }
        Ok(found)
    }

    /// Whatever a broken-off measurement left behind, too.
    fn clear(&mut self) -> Result<()> {
        // First, or it would put back what is taken away.
        self.agent = None;
        stop_haproxy(&self.home)?;
        if self.containerd.pid_file().alive().is_some() {
            if let Err(error) = self.cloud.run(remove_pods(&self.cri)) {
                eprintln!("bench: pods are left: {error:#}");
            }
            stop(&self.containerd)?;
        }
        clear_machine(&self.home, &self.containerd.socket())
    }
}

async fn remove_pods(cri: &Cri) -> Result<()> {
    for pod in cri.list_pods(&BTreeMap::new()).await? {
        cri.stop_pod(&pod.id).await?;
        cri.remove_pod(&pod.id).await?;
        if let Some(instance) = pod.labels.get(INSTANCE) {
            remove_cgroups(instance);
        }
    }
    Ok(())
}

/// What is left once containerd has ended.
fn clear_machine(home: &Path, socket: &Path) -> Result<()> {
    // Those of pods that could not be removed, with what they hold.
    for pid in processes_with(&socket.display().to_string()).into_iter().flat_map(with_children) {
        send(pid, Signal::Kill);
    }
    remove_addresses()?;
    // Absent where no pod ever ran.
    let _ = Command::new("ip").args(["link", "delete", BRIDGE]).output();
    unmount_below(home)
}

/// Takes away what a node has left whose bench was killed: its balancer, and if it had a containerd in `home`, the pods and their traces.
/// Its agent must have ended.
///
/// # Errors
/// When something stays.
pub fn clear_after(home: &Path) -> Result<()> {
    stop_haproxy(home)?;
    let socket = home.join("containerd/containerd.sock");
    if !home.join("containerd").is_dir() {
        return Ok(());
    }
    let containerd = PidFile::new(home.join("run/containerd.pid"));
    if containerd.alive().is_some() {
        let removed = runtime()?.block_on(async {
            let cri = Cri::lazy(&socket);
            tokio::time::timeout(Duration::from_secs(120), remove_pods(&cri)).await?
        });
        if let Err(error) = removed {
            eprintln!("bench: pods are left: {error:#}");
        }
        containerd.stop(Signal::Term, Duration::from_secs(20))?;
    }
    clear_machine(home, &socket)
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            eprintln!("bench: something of the node is left: {error:#}");
        }
    }
}

fn stop_haproxy(home: &Path) -> Result<()> {
    let folder = home.join("haproxy");
    let Ok(text) = fs::read_to_string(folder.join("haproxy.pid")) else { return Ok(()) };
    let Some(pid) = text.lines().next().and_then(|l| l.trim().parse::<u32>().ok()) else { return Ok(()) };
    let ours = || processes_with(&folder.display().to_string()).contains(&pid);
    if ours() {
        send(pid, Signal::Term);
    }
    let end = Instant::now() + Duration::from_secs(10);
    while ours() {
        ensure!(Instant::now() < end, "HAProxy still runs as {pid}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Each service had one on `lo`.
fn remove_addresses() -> Result<()> {
    let shown = Command::new("ip").args(["-o", "-4", "address", "show", "dev", "lo"]).output().context("cannot run ip")?;
    let own = format!("10.{SERVICES}.");
    for address in String::from_utf8_lossy(&shown.stdout).split_whitespace().filter(|w| w.starts_with(&own)) {
        let _ = Command::new("ip").args(["address", "delete", address, "dev", "lo"]).output();
    }
    Ok(())
}

/// The runtime removes the containers' groups, not the one above them that the agent named.
fn remove_cgroups(instance: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let controllers = fs::read_dir(root).into_iter().flatten().flatten().map(|e| e.path());
    for place in controllers.chain([root.to_owned()]) {
        let _ = fs::remove_dir(place.join("gantry").join(instance));
    }
}

fn unmount_below(root: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mounts")?;
    let mounted: Vec<String> = table.lines().filter_map(|l| l.split(' ').nth(1)).map(|m| m.replace("\\040", " ")).collect();
    // Inner ones first.
    for place in mounted.iter().rev().filter(|m| Path::new(m).starts_with(root)) {
        let done = Command::new("umount").args(["-l", place]).output().context("cannot run umount")?;
        ensure!(done.status.success(), "{place}: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}
