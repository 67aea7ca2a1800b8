//! Network policies on real instances: what is open and what is refused, directly and under a service's name, exchanged while
//! connections are open, kept while the agent is away, and gone without a trace.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gantry_agent::node::Node;
use gantry_contract::proto::scheduler as wire;

use crate::stage::{Stage, id, service, web};

struct Scene {
    stage: Stage,
    /// Where the first instance is.
    server: String,
}

/// Of the server: it takes in what `from` sends to its port.
fn taking(from: &[&str], port: u32) -> wire::Isolation {
    wire::Isolation { id: "server".into(), policies: vec!["web/closed".into()], ingress: true, from: vec![opening(from, port)], ..Default::default() }
}

fn opening(networks: &[&str], port: u32) -> wire::Opening {
    let ports = vec![wire::PortRange { protocol: "tcp".into(), first: port, last: port }];
    wire::Opening { networks: networks.iter().map(|n| (*n).to_owned()).collect(), ports, ..Default::default() }
}

impl Scene {
    fn address(&self, node: &Node, n: u8) -> String {
        self.stage.status(node, n).address
    }

    /// The three instances, each with the isolation that is given for it, and the service in front of the first.
    fn want(&self, node: &Node, isolations: Vec<(u8, wire::Isolation)>) {
        let named = |n: u8| {
            let isolation = isolations.iter().find(|(of, _)| *of == n).map(|(_, i)| i.id.clone()).unwrap_or_default();
            wire::WantedInstance { isolation, ..web(n, &format!("from {n}")) }
        };
        let guarded = if isolations.iter().any(|(n, _)| *n == 1) { vec![self.server.clone()] } else { Vec::new() };
        self.stage.word(
            node,
            wire::WantedState {
                instances: (1..=3).map(named).collect(),
                services: vec![service(&[1])],
                isolations: isolations.into_iter().map(|(_, i)| i).collect(),
                guarded,
                ..Default::default()
            },
        );
    }

    /// The server is open to one of the others.
    fn open_to(&self, node: &Node, n: u8) {
        let own = self.address(node, n);
        let guest = wire::Isolation { id: "guest".into(), opened: vec![opening(&[&self.server], 8080)], ..Default::default() };
        let stranger = wire::Isolation { id: "stranger".into(), refused: vec!["svc-web".into()], ..Default::default() };
        self.want(node, vec![(1, taking(&[&own], 8080)), (n, guest), (5 - n, stranger)]);
    }

    async fn run(&self, node: &Node, n: u8, script: &str) -> (i32, String) {
        let container = node.shared.pods.borrow().iter().find(|p| p.instance == id(n)).and_then(|p| p.container.as_ref()).unwrap().id.clone();
        let command = ["sh", "-c", script].map(str::to_owned);
        let said = self.stage.containerd.cri().await.exec_sync(&container, &command, Duration::from_secs(60)).await.unwrap();
        (said.exit_code, String::from_utf8_lossy(&said.stdout).into_owned())
    }

    async fn reaches(&self, node: &Node, n: u8, url: &str) -> bool {
        let (code, text) = self.run(node, n, &format!("timeout 2 wget -q -O - {url}")).await;
        code == 0 && text == "from 1"
    }

    /// Directly and by name.
    async fn both(&self, node: &Node, n: u8) -> (bool, bool) {
        (self.reaches(node, n, &format!("http://{}:8080/", self.server)).await, self.reaches(node, n, "http://web:8080/").await)
    }

    async fn becomes(&self, node: &Node, what: &str, n: u8, expected: (bool, bool)) {
        let end = Instant::now() + Duration::from_secs(90);
        loop {
            let now = self.both(node, n).await;
            if now == expected {
                return;
            }
            assert!(Instant::now() < end, "{what}: instance {n} {now:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Is there a table in the instance's network namespace?
    async fn has_table(&self, n: u8) -> bool {
        let net = format!("--net=/proc/{}/ns/net", self.stage.pid(n).await);
        let output = Command::new("nsenter").args([&net, "nft", "list", "tables"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().contains("gantry_policy")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_reach_what_their_policies_open_and_nothing_else() {
    let Some(stage) = Stage::new().await else { return };
    if gantry_servers::Need::Nftables.find().is_err() {
        eprintln!("skipped: network policies were not tested: nftables is not on this machine");
        return stage.containerd.finish().await;
    }
    gantry_testkit::clause("7.4.1.a");
    gantry_testkit::clause("7.4.1.b");
    let node = stage.agent().await;
    let mut scene = Scene { stage, server: String::new() };
    scene.want(&node, Vec::new());
    scene.stage.until("all are ready", || (1..=3).all(|n| scene.stage.status(&node, n).ready)).await;
    scene.server = scene.address(&node, 1);
    for n in [2, 3] {
        scene.becomes(&node, "nothing is isolated", n, (true, true)).await;
    }
    assert!(!scene.has_table(1).await);

    scene.open_to(&node, 2);
    scene.becomes(&node, "closed to the third", 3, (false, false)).await;
    scene.becomes(&node, "open to the second", 2, (true, true)).await;
    assert_eq!(scene.stage.asks().await, Some(200), "what is routed comes from the node");

    changed_under_a_connection(&scene, &node).await;
    let node = kept_without_the_agent(&scene, node).await;
    closed_both_ways(&scene, &node).await;

    scene.want(&node, Vec::new());
    for n in [2, 3] {
        scene.becomes(&node, "nothing is isolated any more", n, (true, true)).await;
    }
    let noted = scene.stage.home.join("agent/tables");
    let end = Instant::now() + Duration::from_secs(60);
    while scene.has_table(1).await || scene.has_table(2).await || scene.has_table(3).await || std::fs::read_dir(&noted).unwrap().count() > 0 {
        assert!(Instant::now() < end, "a table is left");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!((1..=3).all(|n| scene.stage.status(&node, n).restarts == 0), "no instance was made anew for it");
    scene.stage.finish(node).await;
}

/// A connection of the second instance that is open while the policies change: it goes on while it stays allowed.
async fn changed_under_a_connection(scene: &Scene, node: &Arc<Node>) {
    let opened = async |file: &str| {
        let request = r"printf 'GET / HTTP/1.0\r\n\r\n'";
        let told = format!("while [ ! -e /tmp/ask-{file} ]; do sleep 0.1; done");
        scene.run(node, 2, &format!("(({told}; {request}; sleep 2) | nc {} 8080 >/tmp/{file}) >/dev/null 2>&1 </dev/null &", scene.server)).await;
        // Port 8080 at the other end, and established (proc(5), `/proc/net/tcp`).
        let end = Instant::now() + Duration::from_secs(60);
        while scene.run(node, 2, "grep -q ':1F90 01 ' /proc/net/tcp").await.0 != 0 {
            assert!(Instant::now() < end, "no connection is open");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ask = async |file: &str| drop(scene.run(node, 2, &format!("touch /tmp/ask-{file}")).await);
    let answered = async |file: &str| scene.run(node, 2, &format!("cat /tmp/{file}")).await.1.contains("from 1");
    opened("kept").await;
    // Another word, with the same for the second and more for somebody else.
    let own = scene.address(node, 2);
    let guest = wire::Isolation { id: "guest".into(), opened: vec![opening(&[&scene.server], 8080), opening(&[&scene.server], 9090)], ..Default::default() };
    let mut server = taking(&[&own], 8080);
    server.from.push(opening(&["192.0.2.0/24"], 8080));
    scene.want(node, vec![(1, server), (2, guest)]);
    // The third has no isolation in this word, so only the server itself keeps it out, and its name does not.
    scene.becomes(node, "the server keeps it out by itself", 3, (false, true)).await;
    ask("kept").await;
    let end = Instant::now() + Duration::from_secs(60);
    while !answered("kept").await {
        assert!(Instant::now() < end, "a connection that stays allowed was cut");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // The other way round now, under an open connection that is not allowed any more.
    opened("cut").await;
    scene.open_to(node, 3);
    scene.becomes(node, "closed to the second", 2, (false, false)).await;
    scene.becomes(node, "open to the third", 3, (true, true)).await;
    // Every rule has been set; an answer would come at once.
    ask("cut").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!answered("cut").await, "a connection that is not allowed any more goes on");
}

async fn kept_without_the_agent(scene: &Scene, node: Arc<Node>) -> Arc<Node> {
    let before = scene.both(&node, 2).await;
    scene.stage.stop_agent(node.clone()).await;
    assert_eq!((before, scene.both(&node, 2).await), ((false, false), (false, false)), "it holds without an agent");
    // Nobody is there who could open it; one try may be late on a busy machine.
    scene.becomes(&node, "it is open without an agent", 3, (true, true)).await;
    let node = scene.stage.agent().await;
    scene.stage.until("the next agent sees them", || (1..=3).all(|n| scene.stage.status(&node, n).ready)).await;
    scene.becomes(&node, "it holds with the next agent", 2, (false, false)).await;
    scene.becomes(&node, "and is open as before", 3, (true, true)).await;
    node
}

async fn closed_both_ways(scene: &Scene, node: &Arc<Node>) {
    // What goes out is limited to the name; nothing else on the network is reached.
    let out = wire::Isolation { id: "out".into(), egress: true, services: vec!["svc-web".into()], ..Default::default() };
    scene.want(node, vec![(2, out)]);
    scene.becomes(node, "only by name", 2, (false, true)).await;
    let third = scene.address(node, 3);
    assert_ne!(scene.run(node, 2, &format!("timeout 2 wget -q -O - http://{third}:8080/")).await.0, 0);
    scene.becomes(node, "the others are not concerned", 3, (true, true)).await;
    // And it still answers whoever asks it.
    let second = scene.address(node, 2);
    assert_eq!(scene.run(node, 3, &format!("timeout 2 wget -q -O - http://{second}:8080/")).await.1, "from 2");
}

/// A machine beside the node, on a network in which both are: it can send to any address that the node has.
struct Neighbour(&'static str);

impl Neighbour {
    /// Nothing where there are no network namespaces.
    fn new(name: &'static str, services: std::net::Ipv4Addr) -> Option<Self> {
        let neighbour = Self(name);
        let ip = |line: &str| Command::new("ip").args(line.split(' ')).output().is_ok_and(|o| o.status.success());
        let made = ip(&format!("netns add {name}")) && ip(&format!("link add {name} type veth peer name {name}b netns {name}"));
        let here = made && ip(&format!("address add 10.97.7.1/24 dev {name}")) && ip(&format!("link set {name} up"));
        let there = [format!("address add 10.97.7.2/24 dev {name}b"), format!("link set {name}b up"), format!("route add {services}/16 via 10.97.7.1")];
        (here && there.iter().all(|line| ip(&format!("-n {name} {line}")))).then_some(neighbour)
    }

    fn runs(&self, words: &[&str]) -> String {
        let output = Command::new("ip").args(["netns", "exec", self.0, "timeout", "5", "busybox"]).args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        for words in [["link", "delete", self.0], ["netns", "delete", self.0]] {
            let _ = Command::new("ip").args(words).output();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_of_the_node_does_not_reach_a_service_at_its_address_inside_it() {
    let Some(stage) = Stage::new().await else { return };
    let Some(neighbour) = Neighbour::new("gtnb1", stage.network()) else {
        eprintln!("skipped: no machine was put beside the node: there are no network namespaces");
        return stage.containerd.finish().await;
    };
    let node = stage.agent().await;
    stage.want(&node, [web(1, "hello")], [service(&[1])]);
    stage.until("the instance is in rotation", || stage.rotation(&node).len() == 1).await;
    let inside = node.shared.layout.borrow().services["svc-web"].shape.binds.iter().find(|bind| !bind.starts_with("127.")).cloned().unwrap();
    let url = format!("http://{inside}/");
    assert_eq!(reqwest::get(&url).await.unwrap().text().await.unwrap(), "hello");
    let address = inside.split(':').next().unwrap();
    assert!(neighbour.runs(&["ping", "-c", "1", "-W", "2", address]).contains("1 packets received"), "the way there is open");
    assert_eq!(neighbour.runs(&["wget", "-q", "-T", "3", "-O", "-", &url]), "");
    stage.finish(node).await;
}
