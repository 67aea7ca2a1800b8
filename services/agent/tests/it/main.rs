//! The agent against a real private containerd and a real HAProxy. Needs root and the packages; says so where they are missing.

#![allow(clippy::unwrap_used)]

mod asked;
mod beside;
mod chaos;
#[path = "../../../../libs/cri/tests/it/containerd.rs"]
mod containerd;
mod crash;
mod datagrams;
mod ephemeral;
mod fencing;
mod holding;
mod isolation;
mod layer7;
mod live;
mod moving;
mod nics;
mod policies;
mod prepull;
mod public;
mod runtimes;
mod service;
mod sessions;
mod shares;
mod signs;
mod stage;
mod stream;
mod traffic;
mod volumes;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gantry_contract::proto::scheduler as wire;
use stage::{Stage, id, service, web};

#[tokio::test(flavor = "multi_thread")]
async fn a_wanted_instance_runs_and_a_killed_one_comes_back() {
    let Some(stage) = Stage::new().await else { return };
    gantry_testkit::clause("6.2.1.d");
    gantry_testkit::clause("6.3.1.h");
    let node = stage.agent().await;
    stage.want(&node, [web(1, "one")], []);
    stage.until("ready", || stage.ready(&node) == BTreeSet::from([id(1)])).await;
    let before = stage.status(&node, 1);
    assert_eq!((before.state.as_str(), before.restarts), ("running", 0));

    let pid = stage.pid(1).await;
    let killed = Instant::now();
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    stage.until("another container runs", || stage.status(&node, 1).restarts == 1 && stage.status(&node, 1).ready).await;
    let back = killed.elapsed();
    assert!(back < gantry_testkit::patience(Duration::from_secs(3)), "it took {back:?}");
    eprintln!("killed -> ready again: {back:?}");

    // Removed by hand, pod and all.
    let cri = stage.containerd.cri().await;
    for pod in cri.list_pods(&node.own()).await.unwrap() {
        cri.stop_pod(&pod.id).await.unwrap();
        cri.remove_pod(&pod.id).await.unwrap();
    }
    stage.until("it is there again", || stage.status(&node, 1).ready).await;

    // Its image is in use, the other one nobody needs; the pods' own stays in any case.
    stage.containerd.import("gantry.local/unneeded:1", &["/bin/busybox"]);
    let gc = gantry_agent::app::image_gc::ImageGc { cri: cri.clone(), shared: node.shared.clone(), home: stage.home.clone(), full_percent: 100 };
    assert_eq!(gc.unneeded().await.unwrap(), ["gantry.local/unneeded:1"]);
    assert!(gc.round().await.unwrap().is_empty(), "there is room");

    stage.want(&node, [], []);
    stage.until("nothing is left", || node.shared.pods.borrow().is_empty() && node.shared.status.borrow().instances.is_empty()).await;
    stage.finish(node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_once_and_a_crashing_instance_is_restarted_ever_more_slowly() {
    let Some(stage) = Stage::new().await else { return };
    gantry_testkit::clause("6.6.1.3.b");
    let node = stage.agent().await;
    let job = wire::WantedInstance { restart_policy: "never".into(), args: vec!["-c".into(), "exit 5".into()], probes: vec![], ..web(1, "") };
    let crash = wire::WantedInstance { args: vec!["-c".into(), "exit 1".into()], ..web(2, "") };
    let lost = wire::WantedInstance { image: "localhost:1/absent:1".into(), ..web(3, "") };
    let twice = wire::WantedInstance { restarts_and_one: 3, args: vec!["-c".into(), "exit 4".into()], ..web(4, "") };
    stage.want(&node, [job, crash, lost, twice], []);
    stage.until("the job has failed", || stage.status(&node, 1).state == "failed").await;
    assert_eq!(stage.status(&node, 1).exit_code, 5);
    stage.until("a few restarts", || stage.status(&node, 2).restarts >= 3).await;
    stage.until("the absent image is named", || stage.status(&node, 3).reason.contains("localhost:1/absent:1")).await;
    stage.until("it is given up", || stage.status(&node, 4).state == "failed").await;
    assert_eq!((stage.status(&node, 4).restarts, stage.status(&node, 4).exit_code), (2, 4));
    assert_eq!((stage.status(&node, 1).restarts, stage.status(&node, 3).state.as_str()), (0, "failed"));
    stage.finish(node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_volumes_names_and_limits_are_seen_inside() {
    let Some(stage) = Stage::new().await else { return };
    let node = stage.agent().await;
    let script = "cat /etc/app.conf; id -u; touch /data/x /cache/y /scratch/z && echo written; hostname; echo ip=$IP n=$N; id -G; grep db.test /etc/hosts; grep other /etc/hosts; grep -c gantry /proc/mounts; grep web /etc/hosts; cat /proc/self/limits | grep 'open files'; sleep 1000";
    let mount = |kind: &str, source: &str, target: &str| wire::Mount { kind: kind.into(), source: source.into(), target: target.into(), ..Default::default() };
    let hook = |script: &str| wire::Hook { kind: "command".into(), command: ["sh", "-c", script].map(str::to_owned).to_vec(), ..Default::default() };
    let instance = wire::WantedInstance {
        args: vec!["-c".into(), format!("sleep 1; {script}")],
        files: vec![wire::FileContent { path: "/etc/app.conf".into(), content: b"secret\n".to_vec(), mode: 0o400, ..Default::default() }],
        mounts: vec![mount("volume", "acme/data", "/data"), mount("tmpfs", "", "/cache"), mount("scratch", "work", "/scratch")],
        hostname: "chosen".into(),
        groups: vec![4711],
        extra_hosts: [("db.test".to_owned(), "10.11.12.13".to_owned())].into(),
        env_facts: vec![wire::EnvFact { name: "IP".into(), fact: "address".into() }, wire::EnvFact { name: "N".into(), fact: "number".into() }],
        post_start: vec![hook("echo started > /data/started")],
        pre_stop: vec![hook("echo stopped > /data/stopped")],
        ulimits: vec!["nofile=777:777".into()],
        limits: Some(wire::Resources { cpu_millis: 500, memory_bytes: 64 << 20, pids: 50, ..Default::default() }),
        ..web(1, "")
    };
    let named = || wire::WantedService { aliases: vec!["other".into()], ..service(&[1]) };
    stage.want(&node, [instance.clone()], [named()]);
    let log = stage.home.join(format!("agent/logs/{}/0.log", id(1)));
    stage.until("it has printed all", || std::fs::read_to_string(&log).unwrap_or_default().contains("open files")).await;
    let text = std::fs::read_to_string(&log).unwrap();
    for expected in ["secret", " 0\n", "written", " web\n", "777", "chosen", "ip=10.", " n=1", "4711", "10.11.12.13 db.test", " other\n"] {
        assert!(text.contains(expected), "{expected:?} in {text}");
    }
    let data = stage.home.join("volumes/acme/data");
    assert!(data.join("x").exists() && data.join("started").exists() && !data.join("stopped").exists());
    stage.want(&node, [wire::WantedInstance { stopping: true, stop_grace_seconds: 5, ..instance }], [named()]);
    stage.until("its last hook has run", || data.join("stopped").exists()).await;
    stage.want(&node, [], []);
    stage.until("nothing is left", || node.shared.pods.borrow().is_empty()).await;
    let own = stage.home.join(format!("agent/instances/{}", id(1)));
    stage.until("its folder is gone", || !own.exists()).await;
    assert!(stage.home.join("volumes/acme/data/x").exists());
    stage.finish(node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_instances_find_what_runs_elsewhere_by_its_name_also_when_it_moves() {
    let Some(stage) = Stage::new().await else { return };
    let node = stage.agent().await;
    let script = "while true; do grep bank /etc/hosts; sleep 1; done";
    let instance = wire::WantedInstance { args: vec!["-c".into(), script.into()], ..web(1, "") };
    let bank = |address: &str| wire::OutsideName { name: "bank".into(), address: address.into(), labels: instance.labels.clone() };
    let word = |outside: Vec<wire::OutsideName>| wire::WantedState { instances: vec![instance.clone()], outside, ..Default::default() };
    let log = stage.home.join(format!("agent/logs/{}/0.log", id(1)));
    let says = |text: &str| std::fs::read_to_string(&log).unwrap_or_default().contains(text);
    stage.word(&node, word(vec![bank("192.0.2.7")]));
    stage.until("it finds the name", || says("192.0.2.7 bank")).await;
    stage.word(&node, word(vec![bank("192.0.2.8")]));
    stage.until("it finds it where it is now, and was not started anew", || says("192.0.2.8 bank")).await;
    stage.want(&node, [], []);
    stage.until("nothing is left", || node.shared.pods.borrow().is_empty()).await;
    stage.finish(node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_change_and_a_restart_of_the_agent_lose_no_request() {
    let Some(stage) = Stage::new().await else { return };
    gantry_testkit::clause("6.3.1.g");
    gantry_testkit::clause("6.3.3.t");
    let node = stage.agent().await;
    stage.want(&node, [web(1, "old-1"), web(2, "old-2"), web(3, "old-3")], [service(&[1, 2, 3])]);
    stage.until("three are in rotation", || stage.rotation(&node).len() == 3).await;
    let answers = stage.answers(30).await;
    assert_eq!(answers, BTreeSet::from(["old-1", "old-2", "old-3"].map(str::to_owned)));

    let load = Load::start(&stage.route_url(), &stage.port_url());
    // As the scheduler does: one more, then one old out, and so on.
    let mut all: Vec<u8> = vec![1, 2, 3];
    for (leaving, coming) in [(1, 4), (2, 5), (3, 6)] {
        all.push(coming);
        let instances = |stopping: u8| all.iter().map(|n| wire::WantedInstance { stopping: stopping == *n, ..versioned(*n) }).collect::<Vec<_>>();
        stage.want(&node, instances(0), [service(&all)]);
        stage.until("the new one is in rotation", || stage.rotation(&node).contains(&id(coming))).await;
        stage.want(&node, instances(leaving), [service(&all)]);
        stage
            .until("the old one is out and has ended", || !stage.rotation(&node).contains(&id(leaving)) && stage.status(&node, leaving).state == "exited")
            .await;
        all.retain(|n| *n != leaving);
        stage.want(&node, all.iter().map(|n| versioned(*n)).collect::<Vec<_>>(), [service(&all)]);
    }
    stage.until("three new ones", || stage.rotation(&node) == BTreeSet::from([id(4), id(5), id(6)])).await;
    load.check("a rolling change");

    // The agent goes and another comes: containers stay, requests go on.
    stage.until("the last old one is removed", || node.shared.pods.borrow().len() == 3).await;
    let before = stage.containers().await;
    stage.stop_agent(node).await;
    load.some_time().await;
    let node = stage.agent().await;
    stage.until("the new agent sees them in rotation", || stage.rotation(&node).len() == 3).await;
    load.some_time().await;
    assert_eq!(stage.containers().await, before, "containers were touched by the agent's restart");
    load.check("a restart of the agent");

    // A further service means a new configuration.
    let mut other = service(&[4]);
    other.service_id = "other".into();
    other.name = "other".into();
    other.listen_port = 0;
    other.routes = vec![wire::RouteMatch { host: "other.test".into(), path_prefix: "/".into() }];
    stage.want(&node, (4..=6).map(versioned).collect::<Vec<_>>(), [service(&[4, 5, 6]), other]);
    stage.until("the other service is there", || node.shared.layout.borrow().services.contains_key("other")).await;
    load.some_time().await;
    load.check("a new configuration");

    // Killed from outside: the balancer asks another one.
    let pid = stage.pid(5).await;
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    stage.until("it is back", || stage.status(&node, 5).restarts == 1 && stage.rotation(&node).len() == 3).await;
    load.finish("an instance killed from outside").await;
    stage.finish(node).await;
}

fn versioned(n: u8) -> wire::WantedInstance {
    web(n, &format!("{}-{n}", if n <= 3 { "old" } else { "new" }))
}

/// Clients that ask all the time: over the shared port and the service's own, with kept and with fresh connections.
struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
    bad: Arc<std::sync::Mutex<Vec<String>>>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(route: &str, port: &str) -> Self {
        let (stop, good) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let bad: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
        let mut clients = Vec::new();
        for (url, keep) in [(route, true), (route, false), (port, true), (port, false)] {
            let idle = if keep { 4 } else { 0 };
            let client = reqwest::Client::builder().pool_max_idle_per_host(idle).timeout(Duration::from_secs(60)).build().unwrap();
            let (url, stop, good, bad) = (url.to_owned(), stop.clone(), good.clone(), Arc::clone(&bad));
            #[allow(clippy::disallowed_methods, reason = "a test's client, joined at its end")]
            clients.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.get(&url).header("host", "shop.test").send().await;
                    let text = async { answer?.error_for_status()?.text().await }.await;
                    match text {
                        Ok(_) => drop(good.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => lock(&bad).push(format!("{url} keep={keep}: {error:?}")),
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }));
        }
        Self { stop, good, bad, clients }
    }

    fn check(&self, after: &str) {
        let bad = lock(&self.bad).clone();
        assert!(bad.is_empty(), "{} of {} requests failed by {after}: {:#?}", bad.len(), self.good.load(Ordering::Relaxed), &bad[..bad.len().min(5)]);
    }

    /// Until a hundred more requests were answered.
    async fn some_time(&self) {
        let until = self.good.load(Ordering::Relaxed) + 100;
        let end = Instant::now() + Duration::from_secs(90);
        while self.good.load(Ordering::Relaxed) < until {
            assert!(Instant::now() < end, "no answers any more");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn finish(self, after: &str) {
        self.some_time().await;
        self.stop.store(true, Ordering::Relaxed);
        self.check(after);
        let good = self.good.load(Ordering::Relaxed);
        assert!(good > 500, "only {good} requests");
        eprintln!("{good} requests, none failed");
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
