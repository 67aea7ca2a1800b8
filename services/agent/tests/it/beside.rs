//! Several containers in one instance, on a real containerd.

use gantry_contract::proto::scheduler as wire;

use crate::containerd::BUSYBOX;
use crate::stage::{Stage, id, service, web};

fn container(name: &str, script: &str) -> wire::WantedInstance {
    let scratch = wire::Mount { kind: "scratch".into(), source: "work".into(), target: "/work".into(), ..Default::default() };
    wire::WantedInstance { name: name.into(), image: BUSYBOX.into(), args: vec!["-c".into(), script.into()], mounts: vec![scratch], ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn init_containers_come_first_and_sidecars_stay_beside() {
    let Some(stage) = Stage::new().await else { return };
    gantry_testkit::clause("6.3.2.a");
    let node = stage.agent().await;
    let first = container("first", "sleep 1; echo one >> /work/order");
    let second = container("second", "echo two >> /work/order");
    let helper = wire::WantedInstance { keeps_running: true, ..container("helper", "echo helper >> /work/order; exec sleep 1001") };
    // It is in the same network: what it serves is at the instance's own address.
    let side = container("side", "mkdir -p /www; cp /work/order /www/; exec httpd -f -p 8081 -h /www");
    let main = wire::WantedInstance {
        args: vec!["-c".into(), "echo main >> /work/order; cat /work/order; wget -q -O - http://127.0.0.1:8081/order; echo asked; exec sleep 1002".into()],
        mounts: container("x", "").mounts,
        probes: vec![],
        init: vec![first, helper, second],
        sidecars: vec![side],
        ..web(1, "")
    };
    stage.want(&node, [main.clone()], []);
    let log = stage.home.join(format!("agent/logs/{}/0.log", id(1)));
    let text = || std::fs::read_to_string(&log).unwrap_or_default();
    stage.until("the main container has read", || text().contains("asked")).await;
    let said: Vec<String> = text().lines().filter_map(|l| l.rsplit(' ').next().map(str::to_owned)).collect();
    assert_eq!(said[..4], ["one", "helper", "two", "main"], "{said:?}");
    stage.until("all three run", || node.shared.pods.borrow().iter().any(|p| p.running() && p.beside.len() == 4)).await;

    // A sidecar that is killed comes back, and the main container is not touched.
    let before = stage.pid(1).await;
    let killed = stage.containerd.cri().await;
    let all = killed.list_containers(&node.own()).await.unwrap();
    let side = all.iter().find(|c| c.name == "side").unwrap();
    killed.stop_container(&side.id, std::time::Duration::ZERO).await.unwrap();
    let back = || node.shared.pods.borrow().iter().any(|p| p.beside.get("side").is_some_and(|c| c.attempt == 1 && c.id != side.id));
    stage.until("the sidecar is back", back).await;
    assert_eq!(stage.pid(1).await, before);

    // One that fails holds the instance back, and says why.
    let broken = wire::WantedInstance { init: vec![container("check", "exit 3")], sidecars: vec![], ..main };
    stage.want(&node, [wire::WantedInstance { instance_id: id(2).to_string(), ..broken }], []);
    stage.until("it says why", || stage.status(&node, 2).reason.contains("init container check ended with exit code 3")).await;
    stage.want(&node, [], []);
    stage.until("nothing is left", || node.shared.pods.borrow().is_empty()).await;
    stage.finish(node).await;
}

fn probe(purpose: &str, command: &str) -> wire::Probe {
    let command = ["sh", "-c", command].map(str::to_owned).to_vec();
    wire::Probe { purpose: purpose.into(), kind: "command".into(), command, period_ms: 200, timeout_ms: 5_000, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_ready_when_all_its_containers_are_and_each_is_restarted_alone() {
    let Some(stage) = Stage::new().await else { return };
    gantry_testkit::clause("6.3.2.a");
    gantry_testkit::clause("6.3.3.g");
    let node = stage.agent().await;
    // One that stays and takes its time: what comes after it finds it started.
    let slow = wire::WantedInstance {
        keeps_running: true,
        probes: vec![wire::Probe { failure_threshold: 100, ..probe("startup", "test -e /work/up") }],
        ..container("slow", "sleep 1; touch /work/up; exec sleep 1003")
    };
    let after = container("after", "test -e /work/up");
    let side = wire::WantedInstance {
        probes: vec![probe("ready", "test -e /work/ready"), wire::Probe { failure_threshold: 2, ..probe("live", "test ! -e /work/dead") }],
        ..container("side", "rm -f /work/dead; exec sleep 1004")
    };
    let mounts = container("x", "").mounts;
    stage.want(&node, [wire::WantedInstance { mounts, init: vec![slow, after], sidecars: vec![side], ..web(1, "main") }], [service(&[1])]);
    let waits = || stage.status(&node, 1).reason.contains("container side");
    stage.until("the main container runs and the sidecar is not ready", waits).await;
    assert!(!stage.status(&node, 1).ready && stage.rotation(&node).is_empty());

    let cri = stage.containerd.cri().await;
    let pod = || node.shared.pods.borrow().iter().find(|p| p.instance == id(1)).cloned().unwrap();
    let run = async |script: &str| {
        let command = ["sh", "-c", script].map(str::to_owned);
        let container = pod().container.unwrap().id;
        cri.exec_sync(&container, &command, std::time::Duration::from_secs(60)).await.unwrap().exit_code
    };
    assert_eq!(run("touch /work/ready").await, 0);
    stage.until("all are ready", || stage.status(&node, 1).ready && stage.rotation(&node).len() == 1).await;

    // It does not live any more: it alone is started again.
    let before = pod();
    assert_eq!(run("touch /work/dead").await, 0);
    stage.until("the sidecar is another one", || pod().beside.get("side").is_some_and(|c| c.attempt == 1 && pod().runs_beside("side").is_some())).await;
    stage.until("all are ready again", || stage.status(&node, 1).ready).await;
    let now = pod();
    assert_eq!((now.container.map(|c| c.id), now.id), (before.container.map(|c| c.id), before.id));
    assert_eq!(now.beside["slow"].id, before.beside["slow"].id);

    // An agent that starts anew takes what was ready for ready.
    stage.stop_agent(node).await;
    let node = stage.agent().await;
    stage.until("known", || stage.status(&node, 1).ready).await;
    assert_eq!(node.shared.pods.borrow().iter().find(|p| p.instance == id(1)).unwrap().beside["side"].id, now.beside["side"].id);
    stage.finish(node).await;
}
