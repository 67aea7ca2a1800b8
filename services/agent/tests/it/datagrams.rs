//! Services of datagrams on real instances: who answers, from outside, under the name and from themselves, while instances come and go and the
//! agent is away, and that nothing is left.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use gantry_agent::node::Node;
use gantry_contract::proto::scheduler as wire;

use crate::stage::{Stage, id, web};

/// `answer PORT TEXT` answers each datagram with the text; `answer ADDRESS PORT ask` asks once and prints what comes within a second.
const PROGRAM: &str = r#"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
int main(int count, char **word) {
  char text[512];
  struct sockaddr_in at = {0}, from;
  socklen_t length = sizeof from;
  int ends = socket(AF_INET, SOCK_DGRAM, 0);
  at.sin_family = AF_INET;
  if (count == 4) {
    struct timeval second = {1, 0};
    setsockopt(ends, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
    inet_pton(AF_INET, word[1], &at.sin_addr);
    at.sin_port = htons(atoi(word[2]));
    if (connect(ends, (void *)&at, sizeof at) || send(ends, "?", 1, 0) != 1) return 1;
    ssize_t got = recv(ends, text, sizeof text, 0);
    if (got < 0) return 1;
    return fwrite(text, 1, got, stdout) != (size_t)got;
  }
  at.sin_port = htons(atoi(word[1]));
  if (bind(ends, (void *)&at, sizeof at)) return 1;
  for (;;) {
    length = sizeof from;
    if (recvfrom(ends, text, sizeof text, 0, (void *)&from, &length) >= 0) sendto(ends, word[2], strlen(word[2]), 0, (void *)&from, length);
  }
}
"#;

const PORT: u16 = 5353;
/// How far a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(8);

fn build(folder: &Path) -> bool {
    std::fs::create_dir_all(folder).unwrap();
    let source = folder.join("answer.c");
    std::fs::write(&source, PROGRAM).unwrap();
    Command::new("cc").arg("-static").arg("-O1").arg("-o").arg(folder.join("answer")).arg(&source).status().is_ok_and(|s| s.success())
}

fn server(stage: &Stage, n: u8) -> wire::WantedInstance {
    let shared = stage.home.join("shared").display().to_string();
    let script = format!("sleep 0.3; touch /tmp/up; exec /shared/answer {PORT} from-{n}");
    let ready = wire::Probe {
        purpose: "ready".into(),
        kind: "command".into(),
        command: ["test", "-f", "/tmp/up"].map(str::to_owned).to_vec(),
        period_ms: 200,
        ..Default::default()
    };
    wire::WantedInstance {
        args: vec!["-c".into(), script],
        mounts: vec![wire::Mount { kind: "bind".into(), source: shared, target: "/shared".into(), read_only: true, ..Default::default() }],
        ports: vec![PORT.into()],
        probes: vec![ready],
        ..web(n, "")
    }
}

fn dns(behind: &[u8]) -> wire::WantedService {
    let backend = |n: &u8| wire::Backend { instance_id: id(*n).to_string(), port: PORT.into(), weight: 1, address: String::new() };
    wire::WantedService {
        service_id: "svc-dns".into(),
        name: "dns".into(),
        labels: web(1, "").labels,
        protocol: "udp".into(),
        balance: "roundrobin".into(),
        listen_port: 1,
        port: 53,
        backends: behind.iter().map(backend).collect(),
        ..Default::default()
    }
}

fn rotation(node: &Node) -> BTreeSet<gantry_kernel::InstanceId> {
    node.shared.layout.borrow().in_rotation().get("svc-dns").cloned().unwrap_or_default()
}

fn client(to: (Ipv4Addr, u16)) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(to).unwrap();
    socket
}

/// `None`: nobody answers.
fn ask(socket: &UdpSocket) -> Option<String> {
    let mut text = [0; 100];
    socket.send(b"?").ok()?;
    let length = socket.recv(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text[..length]).into_owned())
}

/// The different answers to so many questions, each from another port.
fn answers(to: (Ipv4Addr, u16), questions: usize) -> BTreeSet<String> {
    (0..questions).map(|n| ask(&client(to)).unwrap_or_else(|| panic!("question {n} to {to:?} was not answered"))).collect()
}

fn expect(numbers: &[u8]) -> BTreeSet<String> {
    numbers.iter().map(|n| format!("from-{n}")).collect()
}

fn tables() -> String {
    String::from_utf8(Command::new("nft").args(["list", "tables"]).output().unwrap().stdout).unwrap()
}

/// Asks from within an instance, under the name.
async fn from_inside(stage: &Stage, node: &Node, n: u8) -> String {
    let container = node.shared.pods.borrow().iter().find(|p| p.instance == id(n)).and_then(|p| p.container.as_ref()).unwrap().id.clone();
    let script = "/shared/answer $(grep -w dns /etc/hosts | head -n 1 | cut -d ' ' -f 1 | cut -f 1) 53 ask";
    let command = ["sh", "-c", script].map(str::to_owned);
    let said = stage.containerd.cri().await.exec_sync(&container, &command, Duration::from_secs(60)).await.unwrap();
    String::from_utf8_lossy(&said.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_reach_what_is_ready_and_follow_it_when_it_goes() {
    let Some(stage) = Stage::new().await else { return };
    if gantry_servers::Need::Nftables.find().is_err() || !build(&stage.home.join("shared")) {
        eprintln!("skipped: services of datagrams were not tested: nftables, or a C compiler with a static library, is not on this machine");
        return stage.containerd.finish().await;
    }
    for clause in ["6.3.1.d", "6.3.1.g", "6.3.1.h", "6.3.3.p", "6.3.3.t", "6.3.3.u"] {
        gantry_testkit::clause(clause);
    }
    let node = stage.agent().await;
    stage.want(&node, [server(&stage, 1), server(&stage, 2)], [dns(&[1, 2])]);
    stage.until("both are in rotation", || rotation(&node).len() == 2).await;
    let doors: Vec<_> = node.shared.layout.borrow().datagrams["svc-dns"].doors.iter().copied().collect();
    let inside = doors.iter().find(|d| !d.published).and_then(|d| Some((d.address?, d.port))).unwrap();
    let published = doors.iter().find(|d| d.published).and_then(|d| Some((d.address?, d.port)));
    assert_eq!(answers(inside, 10), expect(&[1, 2]));
    if std::fs::read_to_string("/proc/sys/net/ipv4/conf/all/route_localnet").is_ok_and(|t| t.trim() == "1") {
        assert_eq!(answers(published.unwrap(), 10), expect(&[1, 2]));
    } else {
        eprintln!("skipped: datagrams from the loopback: the kernel's settings cannot be written here");
    }
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        seen.insert(from_inside(&stage, &node, 1).await);
    }
    assert_eq!(seen, expect(&[1, 2]), "an instance is answered by the other and by itself");

    // A client that keeps its port, and ones that do not, while an instance leaves, comes back and is killed.
    let kept = client(inside);
    let own = ask(&kept).unwrap();
    let leaving = if own == "from-1" { 1 } else { 2 };
    let stopping = wire::WantedInstance { stopping: true, ..server(&stage, leaving) };
    stage.want(&node, [stopping, server(&stage, 3 - leaving)], [dns(&[1, 2])]);
    let end = Instant::now() + Duration::from_secs(90);
    while stage.status(&node, leaving).state != "exited" {
        assert!(Instant::now() < end, "it does not end");
        assert!(ask(&client(inside)).is_some(), "a question was lost while an instance was leaving");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(answers(inside, 6), expect(&[3 - leaving]));
    assert_eq!(ask(&kept), Some(format!("from-{}", 3 - leaving)), "its flow went with the instance");

    // The table works on while no agent runs, and the next agent takes it up.
    stage.stop_agent(node).await;
    assert_eq!(answers(inside, 3), expect(&[3 - leaving]));
    let node = stage.agent().await;
    stage.want(&node, [server(&stage, 3 - leaving)], [dns(&[3 - leaving])]);
    stage.until("the next agent has it in rotation", || rotation(&node).len() == 1).await;
    assert_eq!(answers(inside, 3), expect(&[3 - leaving]));

    by_source_and_by_networks(&stage, &node, inside, published).await;

    // Nobody is there: refused rather than silent, and answered by the same client as soon as somebody is.
    stage.want(&node, [], [dns(&[])]);
    stage.until("nobody is left", || rotation(&node).is_empty()).await;
    let asked = Instant::now();
    assert_eq!(ask(&kept), None);
    assert!(asked.elapsed() < PATIENCE, "it was left waiting");
    stage.want(&node, [server(&stage, 4)], [dns(&[4])]);
    stage.until("another is there", || rotation(&node).contains(&id(4))).await;
    stage.until("the same client is answered", || ask(&kept).as_deref() == Some("from-4")).await;

    let before = tables();
    assert!(before.contains("gantry_udp_"), "{before}");
    stage.finish(node).await;
    assert!(!tables().contains("gantry_udp_"), "a table is left: {}", tables());
}

async fn by_source_and_by_networks(stage: &Stage, node: &Node, inside: (Ipv4Addr, u16), published: Option<(Ipv4Addr, u16)>) {
    let all = || [1, 2].map(|n| server(stage, n));
    let with = |change: &dyn Fn(&mut wire::WantedService)| {
        let mut service = dns(&[1, 2]);
        change(&mut service);
        service
    };
    stage.want(node, all(), [with(&|s| s.balance = "source".into())]);
    stage.until("both serve", || rotation(node).len() == 2).await;
    // The table follows what is in rotation at once, but not in the same moment.
    stage.until("a sender stays with its instance", || answers(inside, 10).len() == 1).await;

    let Some(published) = published else { return };
    let access = wire::ServiceAccess { deny: vec!["127.0.0.0/8".into()], ..Default::default() };
    stage.want(node, all(), [with(&|s| s.access = Some(access.clone()))]);
    stage.until("it is kept", || !node.shared.layout.borrow().datagrams["svc-dns"].access.deny.is_empty()).await;
    stage.until("a stranger is not answered", || ask(&client(published)).is_none()).await;
    assert!(ask(&client(inside)).is_some(), "inside it is not asked");
}
