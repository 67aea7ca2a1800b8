//! Further interfaces of instances, on a network of the node: here a pair of virtual cables stands in for it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use gantry_agent::domain::routes::Routes;
use gantry_contract::proto::scheduler as wire;

use crate::stage::{Stage, id, web};

struct Cable(&'static str);

impl Cable {
    /// Nothing where the kernel has no macvlan.
    fn new(name: &'static str) -> Option<Self> {
        let ip = |args: &[&str]| Command::new("ip").args(args).output().is_ok_and(|o| o.status.success());
        let other = format!("{name}b");
        if !ip(&["link", "add", name, "type", "veth", "peer", "name", &other]) {
            return None;
        }
        let cable = Self(name);
        let (up, there) = (ip(&["link", "set", name, "up"]) && ip(&["link", "set", &other, "up"]), format!("{name}m"));
        let can = up && ip(&["link", "add", "link", name, "name", &there, "type", "macvlan", "mode", "bridge"]) && ip(&["link", "delete", &there]);
        can.then_some(cable)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "delete", self.0]).output();
    }
}

fn nic(parent: &str) -> wire::Nic {
    let subnet = "10.98.7.0/24".into();
    wire::Nic { network: "lan".into(), driver: "macvlan".into(), parent: parent.into(), subnet, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_have_fixed_addresses_on_a_network_of_the_node() {
    let Some(stage) = Stage::new().await else { return };
    let Some(cable) = Cable::new("gtnic135") else {
        eprintln!("skipped: further interfaces were not tested: the kernel has no macvlan");
        return stage.containerd.finish().await;
    };
    for clause in ["6.2.1.l", "6.2.2.a", "6.2.2.b", "6.3.2.a", "6.3.2.e", "7.4.3.d"] {
        gantry_testkit::clause(clause);
    }
    let node = stage.agent().await;
    let mac = "02:00:00:98:07:0a";
    let first = wire::Nic { address: "10.98.7.10".into(), mac: mac.into(), up_bps: 8_000_000, down_bps: 8_000_000, ..nic(cable.0) };
    let second = wire::Nic { address: "10.98.7.11".into(), interface: "lan0".into(), ..nic(cable.0) };
    let third = wire::Nic { range: "10.98.7.128/28".into(), ..nic(cable.0) };
    let with = |n: u8, nic: wire::Nic| wire::WantedInstance { nics: vec![nic], ..web(n, &format!("instance {n}")) };
    stage.want(&node, [with(1, first), with(2, second), with(3, third)], []);
    stage.until("all are ready", || (1..=3).all(|n| stage.status(&node, n).ready)).await;

    let cri = stage.containerd.cri().await;
    let run = async |n: u8, command: &[&str]| {
        let container = node.shared.pods.borrow().iter().find(|p| p.instance == id(n)).and_then(|p| p.container.as_ref()).unwrap().id.clone();
        let command: Vec<String> = command.iter().map(|w| (*w).to_owned()).collect();
        let said = cri.exec_sync(&container, &command, Duration::from_secs(60)).await.unwrap();
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    assert!(run(1, &["ip", "addr", "show", "net1"]).await.contains("10.98.7.10/24"));
    assert!(run(1, &["ip", "link", "show", "net1"]).await.contains(mac));
    assert!(run(2, &["ip", "addr", "show", "lan0"]).await.contains("10.98.7.11/24"));
    assert!(run(3, &["ip", "addr", "show", "net1"]).await.contains("10.98.7.129/24"));
    // They reach each other there, and go on in the node's own network as well.
    assert_eq!(run(1, &["wget", "-q", "-O", "-", "http://10.98.7.11:8080/"]).await, "instance 2");
    assert_eq!(run(3, &["wget", "-q", "-O", "-", "http://10.98.7.10:8080/"]).await, "instance 1");
    let pid = stage.pid(1).await.to_string();
    let shown = Command::new("nsenter").args(["--target", &pid, "--net", "tc", "qdisc", "show"]).output().unwrap().stdout;
    let shown = String::from_utf8(shown).unwrap();
    let slowed = |device: &str| shown.lines().any(|l| l.contains("tbf") && l.contains("8Mbit") && l.contains(&format!("dev {device} ")));
    assert!(slowed("net1") && slowed("net1in") && shown.contains("ingress"), "{shown}");

    // In a VLAN of that network. A kernel that has none says so, which shows that the plug-in was asked for it.
    let tagged = |address: &str| wire::Nic { driver: "vlan".into(), vlan: 7, subnet: "10.98.8.0/24".into(), address: address.into(), ..nic(cable.0) };
    stage.want(&node, [with(5, tagged("10.98.8.10"))], []);
    stage.until("it is there, or says why not", || stage.status(&node, 5).ready || stage.status(&node, 5).reason.contains("(vlan)")).await;
    if stage.status(&node, 5).ready {
        assert!(run(5, &["ip", "addr", "show", "net1"]).await.contains("10.98.8.10/24"));
    }

    // A network that the node does not have: it says so, and nothing of it is left.
    stage.want(&node, [with(4, nic("nowhere0"))], []);
    stage.until("it says why", || stage.status(&node, 4).reason.contains("nowhere0")).await;
    stage.want(&node, [], []);
    stage.until("all are gone", || node.shared.pods.borrow().is_empty()).await;
    let state = stage.home.join("agent/nics");
    let left: Vec<String> = std::fs::read_dir(&state).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(left, ["leases"]);
    let leases = std::fs::read_dir(state.join("leases")).unwrap().flat_map(|e| std::fs::read_dir(e.unwrap().path()).unwrap());
    let taken: Vec<String> = leases.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).filter(|n| n.starts_with("10.")).collect();
    assert!(taken.is_empty(), "{taken:?}");
    stage.finish(node).await;
}

/// A machine beyond the node: a network namespace at the other end of a cable, with its own end of a VXLAN.
struct Beyond(&'static str);

const VNI: u32 = 4_242_137;

impl Beyond {
    /// Nothing where the kernel lacks something for it.
    fn new(name: &'static str) -> Option<Self> {
        let beyond = Self(name);
        let ip = |line: &str| Command::new("ip").args(line.split(' ')).output().is_ok_and(|o| o.status.success());
        let made = ip(&format!("netns add {name}")) && ip(&format!("link add {name} type veth peer name {name}b netns {name}"));
        let here = made && ip(&format!("address add 10.99.7.1/24 dev {name}")) && ip(&format!("link set {name} up"));
        let there = [
            format!("address add 10.99.7.2/24 dev {name}b"),
            format!("link set {name}b up"),
            format!("link add vx type vxlan id {VNI} dev {name}b dstport 4789 remote 10.99.7.1"),
            "address add 10.98.8.99/24 dev vx".to_owned(),
            "link set vx up".to_owned(),
        ];
        let works = here && there.iter().all(|line| ip(&format!("-n {name} {line}")));
        // Whether the kernel has macvlan shows on the cable itself.
        let probe = format!("{name}m");
        let can = works && ip(&format!("link add link {name} name {probe} type macvlan mode bridge")) && ip(&format!("link delete {probe}"));
        can.then_some(beyond)
    }

    fn asks(&self, url: &str) -> String {
        let output = Command::new("ip").args(["netns", "exec", self.0, "timeout", "2", "busybox", "wget", "-q", "-O", "-", url]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Beyond {
    fn drop(&mut self) {
        for words in [["link", "delete", self.0], ["netns", "delete", self.0]] {
            let _ = Command::new("ip").args(words).output();
        }
    }
}

async fn soon(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(90);
    while !condition() {
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vxlan_reaches_over_the_nodes_and_goes_with_its_last_instance() {
    let Some(stage) = Stage::new().await else { return };
    let Some(beyond) = Beyond::new("gtvx137") else {
        eprintln!("skipped: VXLANs were not tested: the kernel has no vxlan, no macvlan or no network namespaces");
        return stage.containerd.finish().await;
    };
    gantry_testkit::clause("6.2.2.b");
    let node = stage.agent().await;
    let device = format!("gvx{VNI}");
    let is_there = || Path::new("/sys/class/net").join(&device).exists();
    let ends = || {
        let shown = Command::new("bridge").args(["fdb", "show", "dev", &device]).output().unwrap().stdout;
        let shown = String::from_utf8(shown).unwrap();
        shown.lines().filter(|l| l.starts_with("00:00:00:00:00:00")).map(|l| l.split(' ').nth(2).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let to = |address: Ipv4Addr| Some(Routes::from([("10.250.0.0/16".parse().unwrap(), address)]));
    node.shared.routes.send_replace(to(Ipv4Addr::new(10, 99, 7, 2)));
    let nic = |address: &str| wire::Nic {
        network: "far".into(),
        driver: "vxlan".into(),
        parent: beyond.0.into(),
        vni: VNI,
        subnet: "10.98.8.0/24".into(),
        address: address.into(),
        ..Default::default()
    };
    let with = |n: u8, nic: wire::Nic| wire::WantedInstance { nics: vec![nic], ..web(n, &format!("instance {n}")) };
    stage.want(&node, [with(1, nic("10.98.8.10")), with(2, nic("10.98.8.11"))], []);
    stage.until("both are ready", || (1..=2).all(|n| stage.status(&node, n).ready)).await;
    assert_eq!(ends(), ["10.99.7.2"]);
    soon("the first is reached from beyond", || beyond.asks("http://10.98.8.10:8080/") == "instance 1").await;
    soon("and so is the second", || beyond.asks("http://10.98.8.11:8080/") == "instance 2").await;

    // Another node instead: the end leads there.
    node.shared.routes.send_replace(to(Ipv4Addr::new(10, 99, 7, 3)));
    soon("the other ends are as the nodes are", || ends() == ["10.99.7.3"]).await;

    stage.want(&node, [with(2, nic("10.98.8.11"))], []);
    stage.until("the first is gone", || node.shared.pods.borrow().len() == 1).await;
    assert!(is_there(), "the second has it still");
    stage.want(&node, [], []);
    stage.until("all are gone", || node.shared.pods.borrow().is_empty()).await;
    let noted = stage.home.join("agent/nics/ends");
    soon("the node's end is gone, and nothing of it is left", || !is_there() && std::fs::read_dir(&noted).unwrap().count() == 0).await;
    stage.finish(node).await;
}
