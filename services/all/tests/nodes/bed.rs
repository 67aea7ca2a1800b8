//! A scheduler, its neighbours, and nodes on one wire; what tests ask them, and what must be left at the end: nothing.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gantry_auth::SpaceRef;
use gantry_host::Host;
use gantry_kernel::{Role, Scope};
use gantry_testkit::{World, free_port};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::identity::{Identity, Keys};
use crate::machine::{Machine, Seen, Surroundings, cgroups};
use crate::neighbours::{Billing, Limits, Registry};
use crate::network::{Wire, door};
use crate::{containerd, load};

/// A node that is silent for so long is lost. What must not run twice is stopped three seconds earlier.
/// Long enough that nobody takes a busy machine's node for lost.
pub const TIMEOUT: Duration = Duration::from_secs(20);
pub const LONG: Duration = Duration::from_secs(120);

pub struct Bed {
    pub nodes: Vec<Machine>,
    pub wire: Wire,
    world: World,
    /// Of a neighbour, which knows where the others are.
    host: Host,
    space: SpaceRef,
    /// Of an editor of the project.
    token: String,
    /// Of an operator of the platform.
    operator: String,
    scheduler: Option<Child>,
    port: u16,
    folder: TempDir,
    /// Every instance that was ever there.
    seen: std::sync::Mutex<BTreeSet<String>>,
}

/// An instance as the scheduler has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance {
    pub id: String,
    pub workload: String,
    pub node: String,
    pub state: String,
    pub available: bool,
    pub restarts: u64,
}

fn missing() -> Option<String> {
    let needed = ["haproxy", "nsenter", "unshare", "setpriv", "ip", "iptables-save"];
    let there = |name: &str| ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].iter().any(|d| std::path::Path::new(d).join(name).exists());
    containerd::missing().or_else(|| needed.into_iter().find(|n| !there(n)).map(|n| format!("not installed: {n}")))
}

impl Bed {
    /// `None` (and the reason printed) where such a test cannot run.
    pub async fn new(nodes: u8) -> Option<Self> {
        if let Some(why) = missing() {
            eprintln!("skipped: the tests with several nodes did not run: {why}");
            return None;
        }
        let began = Instant::now();
        let world = World::new().await;
        world.start::<Billing>(Limits::default()).await;
        world.start::<Registry>(Default::default()).await;
        let host = world.start::<Identity>(Keys(world.keys())).await;
        let org = world.identity.org("acme").await;
        let project = world.identity.project(&org, "shop", false).await;
        let space = world.identity.space(&project, "test").await;
        let (editor, operator) = (world.user(), world.user());
        world.identity.grant(&format!("user:{editor}"), Role::Editor, project.scope()).await;
        world.identity.grant(&format!("user:{operator}"), Role::Admin, Scope::Platform).await;
        let (token, operator) = (world.token(editor, "ada"), world.token(operator, "op"));
        let folder = tempfile::Builder::new().prefix("gantry-nodes-").tempdir().unwrap();
        let wire = Wire::new();
        // Nobody else takes it as long as it is held; the scheduler's own port lies three above its base.
        let port = free_port();
        let mut bed = Self { nodes: Vec::new(), wire, world, host, space, token, operator, scheduler: None, port, folder, seen: Default::default() };
        bed.write_config();
        bed.start_scheduler();
        bed.until("the scheduler answers and knows the rights", LONG, async || bed.get(&bed.apps()).await.0 == 200).await;
        let around = bed.surroundings().await;
        for number in 1..=nodes {
            let mut machine = Machine::new(&bed.wire, bed.folder.path(), number, &around);
            machine.boot(&mut bed.wire);
            machine.start_containerd();
            bed.nodes.push(machine);
        }
        for node in &bed.nodes {
            bed.until("containerd is ready", LONG, async || node.containerd_is_ready().await).await;
            node.import_images();
        }
        bed.nodes.iter_mut().for_each(Machine::start_agent);
        bed.until("all nodes are known", LONG, async || bed.ready_nodes().await.len() == usize::from(nodes)).await;
        eprintln!("{nodes} nodes are there after {:?}", began.elapsed());
        Some(bed)
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("scheduler.toml")
    }

    fn write_config(&self) {
        let platform = &self.world.running.platform;
        let mut peers = String::new();
        for (name, url) in ["identity", "registry", "billing"].map(|name| (name, self.host.url_of(name).unwrap())) {
            peers += &format!("{name} = \"{url}\"\n");
        }
        let text = format!(
            r#"[platform]
home = "{home}"
public_url = "{public}"
listen = "127.0.0.1"
port_base = {base}
database_url = "{database}"
nats_url = "{nats}"
redis_url = "{redis}"
prefix = "{prefix}"
ca_dir = "{ca}"
master_key_file = "{key}"
database_connections = 6
log = "info"
[platform.peers]
{peers}
[scheduler]
node_timeout_seconds = {timeout}
"#,
            home = self.folder.path().join("scheduler").display(),
            public = platform.public_url,
            base = self.port - 3,
            database = platform.database_url.expose(),
            nats = platform.nats_url.expose(),
            redis = platform.redis_url.expose(),
            prefix = platform.prefix,
            ca = platform.ca_dir.display(),
            key = platform.master_key_file.display(),
            timeout = TIMEOUT.as_secs(),
        );
        std::fs::write(self.config(), text).unwrap();
    }

    async fn surroundings(&self) -> Surroundings {
        let (platform, machine): (_, Ipv4Addr) = (&self.world.running.platform, self.wire.machine());
        Surroundings {
            prefix: platform.prefix.clone(),
            nats_url: door(machine, platform.nats_url.expose()).await,
            redis_url: door(machine, platform.redis_url.expose()).await,
            scheduler_url: door(machine, &format!("https://127.0.0.1:{}", self.port)).await,
            ca: platform.ca_dir.clone(),
        }
    }

    pub fn start_scheduler(&mut self) {
        let log = || File::options().create(true).append(true).open(self.folder.path().join("scheduler.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gantryd"));
        command.args(["--target=scheduler", "--config"]).arg(self.config()).stdin(Stdio::null()).stdout(log()).stderr(log());
        self.scheduler = Some(command.spawn().unwrap());
    }

    /// Without a word, as by a crash.
    pub fn kill_scheduler(&mut self) {
        let mut child = self.scheduler.take().expect("the scheduler runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Status and body; 0 if nobody answers.
    async fn call(&self, method: Method, path: &str, token: &str, body: Option<Value>) -> (u16, Value) {
        let request = self.world.http.request(method, format!("https://127.0.0.1:{}{path}", self.port)).bearer_auth(token);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let Ok(response) = request.send().await else { return (0, Value::Null) };
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, &self.token, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, &self.token, Some(body)).await
    }

    pub fn apps(&self) -> String {
        let (org, project) = (&self.space.project.org.name, &self.space.project.name);
        format!("/api/v1/orgs/{org}/projects/{project}/spaces/{}/apps", self.space.name)
    }

    pub async fn deploy(&self, name: &str, document: &Value) {
        let body = json!({"name": name, "document": document.to_string(), "reason": "test"});
        let (status, answer) = self.call(Method::POST, &self.apps(), &self.token, Some(body)).await;
        assert_eq!(status, 201, "{answer:#}");
    }

    /// Those that have not ended.
    pub async fn instances(&self, app: &str) -> Vec<Instance> {
        let (_, list) = self.get(&format!("{}/{app}/instances", self.apps())).await;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let text = |v: &Value, key: &str| v[key].as_str().unwrap_or_default().to_owned();
        let mut seen = self.seen.lock().unwrap();
        seen.extend(items.iter().map(|v| text(v, "id")));
        let one = |v: &Value| Instance {
            id: text(v, "id"),
            workload: text(v, "workload"),
            node: text(v, "node"),
            state: text(v, "state"),
            available: v["available"].as_bool().unwrap_or(false),
            restarts: v["restarts"].as_u64().unwrap_or(0),
        };
        items.iter().filter(|v| v["ended_at"].is_null()).map(one).collect()
    }

    pub async fn state(&self, app: &str) -> String {
        self.get(&format!("{}/{app}", self.apps())).await.1["state"].as_str().unwrap_or_default().to_owned()
    }

    /// Names of the nodes that are heard.
    pub async fn ready_nodes(&self) -> Vec<String> {
        let (_, nodes) = self.call(Method::GET, "/api/v1/nodes", &self.operator, None).await;
        let ready = nodes["items"].as_array().into_iter().flatten().filter(|n| n["state"] == "ready");
        ready.filter_map(|n| n["name"].as_str().map(str::to_owned)).collect()
    }

    /// `cordon`, `drain` or `uncordon`.
    pub async fn tell_node(&self, node: &str, verb: &str) {
        let (status, answer) = self.call(Method::POST, &format!("/api/v1/nodes/{node}/{verb}"), &self.operator, None).await;
        assert_eq!(status, 204, "{answer:#}");
    }

    /// Waits until it holds, and says how long that took.
    pub async fn until(&self, what: &str, limit: Duration, condition: impl AsyncFn() -> bool) -> Duration {
        let began = Instant::now();
        while !condition().await {
            if began.elapsed() > limit {
                self.tell().await;
                panic!("not within {limit:?}: {what}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        began.elapsed()
    }

    async fn tell(&self) {
        for instance in self.instances("shop").await {
            eprintln!("{instance:?}");
        }
        eprintln!("{:#}", self.get(&format!("{}/shop/why", self.apps())).await.1);
        for node in self.nodes.iter().filter(|n| n.is_on()) {
            eprintln!("{} runs {:#?}", node.name, node.containers().await);
            node.tell();
        }
        let text = std::fs::read_to_string(self.folder.path().join("scheduler.log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(40)) {
            eprintln!("scheduler: {line}");
        }
    }

    pub fn node(&self, name: &str) -> &Machine {
        self.nodes.iter().find(|n| n.name == name).expect("a node")
    }

    pub fn node_mut(&mut self, name: &str) -> (&mut Machine, &mut Wire) {
        (self.nodes.iter_mut().find(|n| n.name == name).expect("a node"), &mut self.wire)
    }

    /// Clients of every node's balancer.
    pub fn load(&self) -> load::Load {
        load::Load::start(self.nodes.iter().map(|n| (n.name.clone(), n.url())))
    }

    /// What the nodes that are on run is what the scheduler has: each instance once, and no other.
    pub async fn agrees(&self, app: &str) -> bool {
        let recorded = self.instances(app).await;
        let wanted: BTreeSet<_> = recorded.iter().map(|i| (i.node.clone(), i.id.clone())).collect();
        let mut running = Vec::new();
        for node in self.nodes.iter().filter(|n| n.is_on()) {
            running.extend(node.containers().await.into_iter().map(|c| (node.name.clone(), c.instance)));
        }
        recorded.iter().all(|i| i.state == "running") && running.len() == wanted.len() && running.into_iter().collect::<BTreeSet<_>>() == wanted
    }

    /// What a node runs, as soon as it is so many containers: its engine may be too busy to answer.
    pub async fn running(&self, node: &str, containers: usize) -> BTreeSet<Seen> {
        let began = Instant::now();
        loop {
            let seen = self.node(node).containers().await;
            if seen.len() == containers {
                return seen;
            }
            if began.elapsed() > LONG {
                self.tell().await;
                panic!("not within {LONG:?}: {containers} containers run on {node}: {seen:#?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Deletes the application and ends the nodes; nothing may be left of either.
    pub async fn finish(mut self, app: &str) {
        let (status, answer) = self.call(Method::DELETE, &format!("{}/{app}", self.apps()), &self.token, None).await;
        assert_eq!(status, 204, "{answer:#}");
        for node in &self.nodes {
            self.until("its pods are gone", LONG, async || node.pods().await.is_empty()).await;
            let end = Instant::now() + LONG;
            while !node.left().is_empty() {
                assert!(Instant::now() < end, "left on the nodes: {:#?}", node.left());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        self.kill_scheduler();
        for node in &mut self.nodes {
            node.power_off(&mut self.wire).await;
        }
        let seen = self.seen.lock().unwrap().clone();
        // What was killed is gone a moment later.
        let end = Instant::now() + LONG;
        loop {
            let left = self.left_on_the_machine(&seen);
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "left on the machine: {left:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Cgroups of these instances, and whatever of the nodes is outside of them.
    fn left_on_the_machine(&self, instances: &BTreeSet<String>) -> Vec<String> {
        let mut left: Vec<String> = instances.iter().flat_map(|i| cgroups(i)).map(|g| format!("cgroup {}", g.display())).collect();
        left.extend(self.wire.left());
        let folder = self.folder.path().display().to_string();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        left.extend(mounts.lines().filter(|m| m.contains(&folder)).map(|m| format!("mount {m}")));
        left.extend(processes_with(&folder).into_iter().map(|p| format!("process {p}")));
        left
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(mut child) = self.scheduler.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn processes_with(text: &str) -> Vec<String> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let lines = pids.filter(|pid| *pid != std::process::id()).filter_map(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).ok());
    lines.map(|l| String::from_utf8_lossy(&l).replace('\0', " ")).filter(|l| l.contains(text)).collect()
}
