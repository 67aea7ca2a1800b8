//! The whole service on its host: readiness, figures, and HAProxy looked after.

use std::time::Duration;

use futures::StreamExt;
use gantry_agent::Agent;
use gantry_agent::adapters::disk::Disk;
use gantry_agent::config::{Config, DaemonLimits};
use gantry_bus::{Bus, streams};
use gantry_contract::audit::AuditFact;
use gantry_contract::proto::scheduler as wire;
use gantry_testkit::World;
use reqwest::Method;

use crate::runtimes::limit_of;
use crate::stage::{Stage, id, service, web};

#[tokio::test(flavor = "multi_thread")]
async fn the_service_takes_up_its_last_word_tells_figures_and_looks_after_haproxy() {
    let Some(stage) = Stage::new().await else { return };
    for clause in ["6.2.1.e", "7.1.a", "7.1.c"] {
        gantry_testkit::clause(clause);
    }
    // As an agent before it left things: no scheduler is there.
    let disk = Disk::open(stage.home.join("agent/state")).await.unwrap();
    let route = wire::WantedService { listen_port: 0, ..service(&[1]) };
    disk.save_wanted(&wire::WantedState { generation: 5, instances: vec![web(1, "hello")], services: vec![route], ..Default::default() }).await.unwrap();
    let world = World::with(|platform| {
        platform.home.clone_from(&stage.home);
        platform.containerd.clone_from(&stage.containerd.socket);
        platform.peers.insert("scheduler".into(), "https://127.0.0.1:1".into());
    })
    .await;
    let config = Config {
        node: "node-1".into(),
        http_listen: Some(stage.http_listen()),
        service_network: Some(stage.network()),
        daemon_limits: DaemonLimits { cpu_millis: 1800, memory_bytes: BOUND, processes: 3000 },
        ..Config::default()
    };
    let host = world.start::<Agent>(config).await;
    world.until("the last word is followed", Duration::from_secs(30), || async { stage.asks().await == Some(200) }).await;

    let (code, status) = world.call(&host, Method::GET, "/api/v1/agent/status", None, None).await;
    assert_eq!((code, &status["generation"], &status["instances"][0]["state"]), (200, &5.into(), &"running".into()), "{status}");
    let text = world.http.get(format!("{}/metrics", host.url_of("agent").unwrap())).send().await.unwrap().text().await.unwrap();
    let labels = "org=\"acme\",project=\"shop\",space=\"test\",app=\"web\",workload=\"web\"";
    for name in ["gantry_container_cpu_seconds_total", "gantry_container_memory_bytes", "gantry_container_network_receive_bytes_total"] {
        let line = text.lines().find(|l| l.starts_with(name) && l.contains(labels)).unwrap_or_else(|| panic!("no {name} in {text}"));
        let value: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(value > 0.0, "{line}");
    }
    for name in
        ["gantry_node_cpu_seconds_total", "gantry_node_memory_available_bytes", "gantry_node_filesystem_available_bytes", "gantry_service_requests_total"]
    {
        assert!(text.lines().any(|l| l.starts_with(name)), "no {name} in {text}");
    }
    let ready = world.http.get(format!("{}/readyz", host.url_of("agent").unwrap())).send().await.unwrap();
    assert_eq!(ready.status(), 200, "{}", ready.text().await.unwrap_or_default());

    bounded(&world, &stage).await;
    on_record(&host.bus, &stage).await;

    let pid = std::fs::read_to_string(stage.home.join("haproxy/haproxy.pid")).unwrap();
    assert!(std::process::Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
    world
        .until("HAProxy is back", Duration::from_secs(20), || async {
            std::fs::read_to_string(stage.home.join("haproxy/haproxy.pid")).is_ok_and(|now| now != pid) && stage.asks().await == Some(200)
        })
        .await;

    world.running.stop().await;
    assert_eq!(stage.asks().await, Some(200), "applications go on without the agent");
    let node = stage.agent().await;
    stage.until("the next agent has taken over", || stage.rotation(&node).len() == 1).await;
    stage.finish(node).await;
    // The group is the node's and stays; the test's own goes.
    for hierarchy in ["", "cpu", "memory", "pids"] {
        let _ = std::fs::remove_dir(std::path::Path::new("/sys/fs/cgroup").join(hierarchy).join(GROUP));
    }
}

/// What the agent did to the engine is on its disk, and on the stream that the audit trail is made of.
async fn on_record(bus: &Bus, stage: &Stage) {
    gantry_testkit::clause("7.4.1.i");
    let stream = bus.sample_stream(streams::AUDIT).await.unwrap();
    let consumer = stream.create_consumer(async_nats::jetstream::consumer::pull::OrderedConfig::default()).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    let fact = loop {
        let message = tokio::time::timeout(Duration::from_secs(90), messages.next()).await.expect("it is told").unwrap().unwrap();
        let fact: AuditFact = serde_json::from_slice(&message.payload).unwrap();
        if fact.action == "engine.created" {
            break fact;
        }
    };
    assert_eq!((fact.object, fact.result.as_str(), fact.from.as_str()), (format!("instance:{}", id(1)), "ok", "node-1"));
    assert_eq!((fact.service.as_str(), fact.org.map(|o| o.0)), ("agent", Some(gantry_kernel::Uuid::from_u128(1001))));
    let what = fact.after.unwrap();
    assert_eq!((&what["app"], &what["image"]), (&"web".into(), &crate::containerd::BUSYBOX.into()));
    let written = std::fs::read_to_string(stage.home.join("agent/audit/engine.jsonl")).unwrap();
    assert!(written.contains(&fact.id.to_string()), "{written}");
}

const GROUP: &str = "gantry-daemons-node-1";
const BOUND: u64 = 1 << 30;

/// containerd and HAProxy are in a group of their own with the limit, and neither what stands between them and the containers nor those are.
async fn bounded(world: &World, stage: &Stage) {
    let groups = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let containerd = stage.containerd.pid();
    if groups(containerd).contains(".service") || groups(containerd).contains(".scope") {
        eprintln!("skipped: the limits of daemons were not tested: here they are systemd's");
        return;
    }
    gantry_testkit::clause("7.4.1.h");
    world.until("containerd is bounded", Duration::from_secs(20), || async { limit_of(containerd) == Some(BOUND) }).await;
    let balancer: u32 = std::fs::read_to_string(stage.home.join("haproxy/haproxy.pid")).unwrap().trim().parse().unwrap();
    world.until("the balancer is, too", Duration::from_secs(20), || async { groups(balancer).contains(GROUP) }).await;
    let shims = stage.containerd.shims();
    assert!(!shims.is_empty());
    world.until("shims are not", Duration::from_secs(20), || async { shims.iter().all(|pid| !groups(*pid).contains(GROUP)) }).await;
    assert!(!groups(stage.pid(1).await).contains(GROUP));
}
