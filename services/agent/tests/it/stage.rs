//! One test's machine: a containerd, a home folder, and agents that come and go on it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gantry_agent::app::sessions::Sessions;
use gantry_agent::domain::wanted::Wanted;
use gantry_agent::node::{Node, Settings};
use gantry_contract::proto::scheduler as wire;
use gantry_kernel::{Env, InstanceId, Uuid};
use gantry_testkit::free_port;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::containerd::{self, BUSYBOX, Containerd};

pub struct Stage {
    pub containerd: Containerd,
    pub home: PathBuf,
    http_port: u16,
    pub https_port: u16,
    own_port: u16,
    generation: AtomicU64,
    running: std::sync::Mutex<Option<(CancellationToken, TaskTracker)>>,
}

/// Of this test alone: instances of one id share their control groups, also those of two engines.
pub fn id(n: u8) -> InstanceId {
    InstanceId(Uuid::from_u64_pair(std::process::id().into(), n.into()))
}

/// An instance whose web server answers with `text`.
pub fn web(n: u8, text: &str) -> wire::WantedInstance {
    let labels = wire::Labels {
        org: "acme".into(),
        project: "shop".into(),
        space: "test".into(),
        app: "web".into(),
        workload: "web".into(),
        app_id: Uuid::from_u128(1000).to_string(),
        org_id: Uuid::from_u128(1001).to_string(),
        revision: 1,
    };
    wire::WantedInstance {
        instance_id: id(n).to_string(),
        name: format!("web-{n}"),
        labels: Some(labels),
        image: BUSYBOX.into(),
        // Slow to start, so that a balancer that does not wait for readiness shows.
        args: vec![
            "-c".into(),
            format!("mkdir -p /www && printf '{text}' > /www/index.html && echo hello from {n} && sleep 0.3 && exec httpd -f -p 8080 -h /www"),
        ],
        restart_policy: "always".into(),
        stop_grace_seconds: 1,
        ports: vec![8080],
        probes: vec![wire::Probe { purpose: "ready".into(), kind: "http".into(), path: "/".into(), port: 8080, period_ms: 200, ..Default::default() }],
        ..Default::default()
    }
}

/// The service in front of these instances: host `shop.test` on the shared port; its own port is filled in by the stage.
pub fn service(behind: &[u8]) -> wire::WantedService {
    wire::WantedService {
        service_id: "svc-web".into(),
        name: "web".into(),
        labels: web(1, "").labels,
        protocol: "http".into(),
        balance: "roundrobin".into(),
        listen_port: 1,
        routes: vec![wire::RouteMatch { host: "shop.test".into(), path_prefix: "/".into() }],
        backends: behind.iter().map(|n| wire::Backend { instance_id: id(*n).to_string(), port: 8080, weight: 1, address: String::new() }).collect(),
        ..Default::default()
    }
}

impl Stage {
    /// `None` (and the reason printed) where such a test cannot run.
    pub async fn new() -> Option<Self> {
        let why = containerd::missing().or_else(|| (!Path::new("/usr/sbin/haproxy").exists()).then(|| "not installed: haproxy".into()));
        if let Some(why) = why {
            eprintln!("skipped: the agent's tests with a real containerd did not run: {why}");
            return None;
        }
        // What the agent says is shown when a test fails.
        let _ = tracing_subscriber::fmt().with_test_writer().with_max_level(tracing_subscriber::filter::LevelFilter::INFO).try_init();
        let containerd = Containerd::start().await;
        let home = containerd.folder.path().join("home");
        std::fs::create_dir_all(&home).unwrap();
        let (http_port, https_port, own_port) = (free_port(), free_port(), free_port());
        Some(Self { containerd, home, http_port, https_port, own_port, generation: AtomicU64::new(0), running: Default::default() })
    }

    /// A new agent on this machine.
    pub async fn agent(&self) -> Arc<Node> {
        let (cancel, tracker) = (CancellationToken::new(), TaskTracker::new());
        let settings = Settings {
            node: "node-1".into(),
            http_listen: format!("127.0.0.1:{}", self.http_port),
            https_listen: format!("127.0.0.1:{}", self.https_port),
            service_listen: Ipv4Addr::LOCALHOST.into(),
            service_network: Some(self.network()),
            public_interface: "lo".into(),
            haproxy: "haproxy".into(),
            criu: "criu".into(),
            bind_allowed: vec![self.home.join("shared")],
            default_pids: 1000,
            files_on_disk: false,
            word_in_memory: false,
            address: Some(Ipv4Addr::new(192, 0, 2, 7)),
            shares_pods: false,
            home: self.home.clone(),
        };
        let node = Node::start(settings, self.containerd.cri().await, Env::system(), &tracker, cancel.clone()).await.unwrap();
        *self.running.lock().unwrap() = Some((cancel, tracker));
        Arc::new(node)
    }

    /// Sessions into this node's instances, dialled over `channel`.
    pub async fn sessions(&self, node: &Node, channel: gantry_host::Channel) -> Sessions {
        let (cancel, tracker) = self.running.lock().unwrap().clone().expect("an agent runs");
        Sessions {
            line: channel.into(),
            cri: self.containerd.cri().await,
            shared: node.shared.clone(),
            volumes: node.volumes.clone(),
            commands: node.commands.clone(),
            checkpoints: node.checkpoints.clone(),
            tracker,
            cancel,
            starting: Arc::default(),
        }
    }

    /// As the control stream does.
    pub fn want(&self, node: &Node, instances: impl IntoIterator<Item = wire::WantedInstance>, services: impl IntoIterator<Item = wire::WantedService>) {
        let (instances, services) = (instances.into_iter().collect(), services.into_iter().collect());
        self.word(node, wire::WantedState { instances, services, ..Default::default() });
    }

    /// The same with all that there may be in a word; its generation is filled in.
    pub fn word(&self, node: &Node, mut state: wire::WantedState) {
        state.generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        for service in state.services.iter_mut().filter(|s| s.listen_port == 1) {
            service.listen_port = self.own_port.into();
        }
        let (wanted, faults) = Wanted::parse(state.clone());
        assert!(faults.is_empty(), "{faults:?}");
        let disk = node.disk.clone();
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(disk.save_wanted(&state))).unwrap();
        node.shared.wanted.send_replace(Some(Arc::new(wanted)));
    }

    pub fn status(&self, node: &Node, n: u8) -> wire::InstanceStatus {
        let status = node.shared.status.borrow();
        status.instances.iter().find(|i| i.instance_id == id(n).to_string()).cloned().unwrap_or_default()
    }

    pub fn ready(&self, node: &Node) -> BTreeSet<InstanceId> {
        node.shared.status.borrow().instances.iter().filter(|i| i.ready).map(|i| i.instance_id.parse().unwrap()).collect()
    }

    pub fn rotation(&self, node: &Node) -> BTreeSet<InstanceId> {
        let status = node.shared.status.borrow();
        let service = status.balancers.iter().find(|b| b.service_id == "svc-web");
        service.map(|b| b.in_rotation.iter().map(|i| i.parse().unwrap()).collect()).unwrap_or_default()
    }

    pub fn route_url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.http_port)
    }

    pub fn http_listen(&self) -> std::net::SocketAddr {
        (Ipv4Addr::LOCALHOST, self.http_port).into()
    }

    pub fn network(&self) -> Ipv4Addr {
        self.containerd.subnet.services()
    }

    /// The beginning of the pods' addresses.
    pub fn pods(&self) -> String {
        format!("10.{}.", self.containerd.subnet.number)
    }

    /// Status of one request to the application; `None` = nobody answers.
    pub async fn asks(&self) -> Option<u16> {
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).timeout(Duration::from_secs(20)).build().unwrap();
        client.get(self.route_url()).header("host", "shop.test").send().await.ok().map(|a| a.status().as_u16())
    }

    pub fn port_url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.own_port)
    }

    /// The different answers to some requests.
    pub async fn answers(&self, requests: usize) -> BTreeSet<String> {
        let client = reqwest::Client::new();
        let mut answers = BTreeSet::new();
        for _ in 0..requests {
            let answer = client.get(self.route_url()).header("host", "shop.test:1234").send().await.unwrap();
            assert_eq!(answer.status(), 200);
            answers.insert(answer.text().await.unwrap());
        }
        answers
    }

    /// Process id of the instance's container.
    pub async fn pid(&self, n: u8) -> u32 {
        let cri = self.containerd.cri().await;
        let own = BTreeMap::from([("gantry.io/instance".to_owned(), id(n).to_string())]);
        let all = cri.list_containers(&own).await.unwrap();
        let container = all.into_iter().rfind(|c| !c.labels.contains_key("gantry.io/beside")).unwrap();
        cri.container_status(&container.id).await.unwrap().pid.unwrap()
    }

    /// Ids of all containers.
    pub async fn containers(&self) -> BTreeSet<String> {
        self.containerd.cri().await.list_containers(&BTreeMap::new()).await.unwrap().into_iter().map(|c| c.id).collect()
    }

    pub async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(90);
        while !condition() {
            assert!(Instant::now() < end, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Something beside the agent; ends by its own token.
    #[allow(clippy::disallowed_methods, reason = "a test's task, cancelled at its end")]
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
        tokio::spawn(task)
    }

    pub async fn stop_agent(&self, _node: Arc<Node>) {
        let (cancel, tracker) = self.running.lock().unwrap().take().unwrap();
        cancel.cancel();
        tracker.close();
        tokio::time::timeout(Duration::from_secs(60), tracker.wait()).await.expect("the agent ends");
    }

    /// Ends everything and checks that nothing is left.
    pub async fn finish(self, node: Arc<Node>) {
        // Other than any before, also one that was not the stage's.
        self.generation.fetch_add(1000, Ordering::Relaxed);
        self.want(&node, [], []);
        let last = self.generation.load(Ordering::Relaxed);
        // Until then it tells what an agent begins with: that there is nothing.
        self.until("the last word was followed", || node.shared.status.borrow().generation == last).await;
        self.until("all services are gone", || *node.shared.layout.borrow() == gantry_agent::domain::balance::Layout::default()).await;
        self.until("all pods are gone", || node.shared.pods.borrow().is_empty()).await;
        self.stop_agent(node.clone()).await;
        node.haproxy.stop().await;
        let left = self.containerd.subnet.addresses();
        assert!(left.is_empty(), "addresses are left: {left:?}");
        self.containerd.finish().await;
    }
}
