//! Signs of an intrusion in real containers: each is found, told, and followed by what is wanted.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gantry_agent::node::Node;
use gantry_contract::proto::scheduler as wire;

use crate::stage::{Stage, id, web};

fn guarded(n: u8, guard: wire::Guard) -> wire::WantedInstance {
    wire::WantedInstance { guard: Some(guard), ..web(n, "guarded") }
}

fn action(word: &str) -> wire::Guard {
    wire::Guard { action: word.into(), ..Default::default() }
}

fn signs(stage: &Stage, node: &Node, n: u8, kind: &str) -> Vec<String> {
    stage.status(node, n).signs.into_iter().filter(|s| s.kind == kind).map(|s| s.detail).collect()
}

async fn run(stage: &Stage, node: &Node, n: u8, script: &str) -> i32 {
    let container = node.shared.pods.borrow().iter().find(|p| p.instance == id(n)).and_then(|p| p.container.as_ref()).unwrap().id.clone();
    let command = ["sh", "-c", script].map(str::to_owned);
    stage.containerd.cri().await.exec_sync(&container, &command, Duration::from_secs(60)).await.unwrap().exit_code
}

/// A program that was not in the image, which goes on running.
const FOREIGN: &str = "(cp /bin/busybox /tmp/busybox && exec /tmp/busybox sleep 900) >/dev/null 2>&1 </dev/null &";

#[tokio::test(flavor = "multi_thread")]
async fn signs_of_an_intrusion_are_found_and_followed() {
    let Some(stage) = Stage::new().await else { return };
    if gantry_servers::Need::Nftables.find().is_err() {
        eprintln!("skipped: signs of an intrusion were not looked for: nftables is not on this machine");
        return stage.containerd.finish().await;
    }
    gantry_testkit::clause("7.4.1.f");
    let node = stage.agent().await;
    let closed = wire::Guard { closed: true, egress: vec![wire::Egress { network: "192.0.2.8/32".into(), port: 25 }], ..Default::default() };
    let plain = wire::WantedInstance { user: "1000".into(), args: vec!["-c".into(), "exec sleep 901".into()], probes: vec![], ..guarded(5, action("report")) };
    let all =
        [guarded(1, closed), guarded(2, action("restart")), guarded(3, action("stop")), guarded(4, action("quarantine")), plain, guarded(6, action("none"))];
    stage.want(&node, all, []);
    stage.until("all run", || (1..=6).all(|n| stage.status(&node, n).ready)).await;
    assert!((1..=6).all(|n| stage.status(&node, n).signs.is_empty()), "nothing is wrong yet");

    connections(&stage, &node).await;
    moments(&stage, &node).await;
    programs(&stage, &node).await;
    privileges(&stage, &node).await;
    stage.finish(node).await;
}

async fn connections(stage: &Stage, node: &Arc<Node>) {
    assert_ne!(run(stage, node, 1, "nc -w 2 192.0.2.7 4711 </dev/null").await, 0);
    stage.until("the connection is told", || signs(stage, node, 1, "connection").iter().any(|d| d.contains("192.0.2.7:4711/tcp"))).await;
    // What is allowed is not refused, though nobody answers there.
    run(stage, node, 1, "nc -w 1 192.0.2.8 25 </dev/null").await;
    assert_ne!(run(stage, node, 1, "nc -w 2 192.0.2.8 26 </dev/null").await, 0);
    stage.until("the other port is told", || signs(stage, node, 1, "connection").iter().any(|d| d.contains("192.0.2.8:26/tcp"))).await;
    assert!(signs(stage, node, 1, "connection").iter().all(|d| !d.contains("192.0.2.8:25/")));
    assert!(stage.status(node, 1).ready, "it still serves");
}

/// A program that has ended long before the next look at all of them.
async fn moments(stage: &Stage, node: &Arc<Node>) {
    if !node.shared.executions.hearing.load(Ordering::Relaxed) {
        eprintln!("skipped: programs that live for a moment were not looked for: the kernel does not tell of them here");
        return;
    }
    let script = "mkdir /tmp/moment && cp /bin/busybox /tmp/moment/busybox && /tmp/moment/busybox sleep 0.1; rm -r /tmp/moment";
    assert_eq!(run(stage, node, 1, script).await, 0);
    stage.until("it is reported", || signs(stage, node, 1, "program").iter().any(|d| d.contains("/tmp/moment/busybox"))).await;
    // Many of the image's own, which are nothing, and one of a place where nothing is looked for.
    run(stage, node, 1, "i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i+1)); done").await;
    run(stage, node, 6, script).await;
    let programs = signs(stage, node, 1, "program");
    assert!(programs.iter().all(|d| d.contains("/tmp/moment/busybox")), "{programs:?}");
    assert!((2..=6).all(|n| signs(stage, node, n, "program").is_empty()) && stage.status(node, 1).ready);
    assert!(node.shared.executions.looked.load(Ordering::Relaxed) > 0);
}

async fn programs(stage: &Stage, node: &Arc<Node>) {
    for n in [1, 2, 3, 4, 6] {
        run(stage, node, n, FOREIGN).await;
    }
    stage.until("it is reported", || signs(stage, node, 1, "program").iter().any(|d| d.contains("/tmp/busybox"))).await;
    assert_eq!(stage.status(node, 1).restarts, 0);
    stage.until("it was started anew", || stage.status(node, 2).restarts == 1 && stage.status(node, 2).ready).await;
    assert!(!signs(stage, node, 2, "program").is_empty());
    stage.until("it was stopped", || stage.status(node, 3).state == "exited").await;
    stage.until("it is without a network", || !signs(stage, node, 4, "program").is_empty() && !stage.status(node, 4).ready).await;
    assert_eq!(stage.status(node, 4).restarts, 0, "it goes on, to be looked at");
    assert!(stage.status(node, 6).signs.is_empty(), "nothing is looked for there");
}

/// A process of root in a container that was started without its rights, as one that came in from the node.
async fn privileges(stage: &Stage, node: &Arc<Node>) {
    let pid = stage.pid(5).await;
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        match (parts.next()?, parts.next()?) {
            ("pids", path) => Some(format!("/sys/fs/cgroup/pids{path}/cgroup.procs")),
            ("", path) => Some(format!("/sys/fs/cgroup{path}/cgroup.procs")),
            _ => None,
        }
    };
    // Version 1 first, where there are both.
    let file = groups.lines().filter_map(path).find(|f| std::path::Path::new(f).exists()).unwrap();
    let script = format!("echo $$ > {file} && exec nsenter --target {pid} --mount /bin/sleep 902");
    let intruder = Intruder(Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).spawn().unwrap());
    stage.until("it is reported", || signs(stage, node, 5, "privilege").iter().any(|d| d.contains("runs as root"))).await;
    drop(intruder);
    assert!(stage.status(node, 5).ready);
}

struct Intruder(Child);

impl Drop for Intruder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_that_was_dropped_while_no_agent_ran_is_taken_away() {
    let Some(stage) = Stage::new().await else { return };
    if gantry_servers::Need::Nftables.find().is_err() {
        eprintln!("skipped: a fence was not taken away: nftables is not on this machine");
        return stage.containerd.finish().await;
    }
    let node = stage.agent().await;
    let closed = wire::Guard { closed: true, egress: vec![wire::Egress { network: "192.0.2.8/32".into(), port: 25 }], ..Default::default() };
    stage.want(&node, [guarded(1, closed)], []);
    stage.until("it runs", || stage.status(&node, 1).ready).await;
    let pid = stage.pid(1).await;
    let fenced = || {
        let list = ["--net", "--target", &pid.to_string(), "nft", "list", "table", "inet", "gantry_guard"].map(str::to_owned);
        Command::new("nsenter").args(list).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    };
    stage.until("it is fenced", fenced).await;
    stage.stop_agent(node.clone()).await;
    // The rule of its space is gone before the next agent begins; the instance is the same.
    stage.want(&node, [wire::WantedInstance { guard: None, ..guarded(1, wire::Guard::default()) }], []);
    let node = stage.agent().await;
    stage.until("the fence is gone", || !fenced()).await;
    assert_eq!(stage.pid(1).await, pid, "it has not been started anew");
    stage.finish(node).await;
}
