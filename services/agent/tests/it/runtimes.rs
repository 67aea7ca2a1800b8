//! Two OCI runtimes on one real containerd, chosen by runtime class.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use gantry_contract::proto::scheduler as wire;

use crate::stage::{Stage, id, web};

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_two_runtimes_live_side_by_side() {
    let Some(stage) = Stage::new().await else { return };
    if gantry_servers::Need::Crun.find().is_err() {
        eprintln!("skipped: the second runtime was not tested: crun is not on this machine");
        return stage.containerd.finish().await;
    }
    gantry_testkit::clause("7.3.1.a");
    gantry_testkit::clause("7.3.1.b");
    let node = stage.agent().await;
    let cri = stage.containerd.cri().await;
    let facts = gantry_agent::adapters::facts::gather(&cri, &stage.home, "", &BTreeMap::new()).await;
    assert!(["crun", "runc"].iter().all(|c| facts.runtime_classes.iter().any(|f| f == c)), "{:?}", facts.runtime_classes);
    assert!(!facts.runtime_classes.iter().any(|c| c == "nowhere"));

    let limits = wire::Resources { memory_bytes: 64 << 20, pids: 40, ..Default::default() };
    let second = wire::WantedInstance { runtime_class: "crun".into(), limits: Some(limits), ..web(2, "second") };
    let first = wire::WantedInstance { runtime_class: "runc".into(), ..web(1, "first") };
    stage.want(&node, [first.clone(), second.clone()], []);
    stage.until("both are ready", || [1, 2].iter().all(|n| stage.status(&node, *n).ready)).await;

    // Each keeps its containers in a folder of its own.
    let all = cri.list_containers(&node.own()).await.unwrap();
    let kept = |runtime: &str, n: u8| {
        let folder = stage.containerd.folder.path().join(runtime).join("k8s.io");
        let own = all.iter().find(|c| c.labels.get("gantry.io/instance") == Some(&id(n).to_string())).unwrap();
        folder.join(&own.id).is_dir()
    };
    assert!(kept("runc", 1) && kept("crun", 2) && !kept("crun", 1) && !kept("runc", 2));

    // What is asked of a container holds under the second one as well: commands, limits, the end and the start after it.
    let container = |n: u8| all.iter().find(|c| c.labels.get("gantry.io/instance") == Some(&id(n).to_string())).unwrap().id.clone();
    let said = cri.exec_sync(&container(2), &["sh", "-c", "hostname; cat /www/index.html"].map(str::to_owned), Duration::from_secs(60)).await.unwrap();
    assert_eq!((said.exit_code, String::from_utf8(said.stdout).unwrap().as_str()), (0, "web-2\nsecond"));
    let pid = stage.pid(2).await;
    assert_eq!(limit_of(pid), Some(64 << 20));
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    stage.until("it runs again", || stage.status(&node, 2).restarts == 1 && stage.status(&node, 2).ready).await;

    // Moved to the other runtime: a new pod.
    stage.want(&node, [first, wire::WantedInstance { runtime_class: String::new(), ..second.clone() }], []);
    let gone = || {
        let folder = stage.containerd.folder.path().join("crun/k8s.io");
        std::fs::read_dir(folder).map_or(0, Iterator::count) == 0
    };
    stage.until("the second runtime has nothing left", || gone() && stage.status(&node, 2).ready).await;

    // Placement keeps it away from such a node; if it comes all the same, it says why.
    stage.want(&node, [wire::WantedInstance { runtime_class: "nowhere".into(), ..second }], []);
    stage.until("it says why", || stage.status(&node, 2).reason.contains("nowhere")).await;
    stage.finish(node).await;
}

/// Bytes that the kernel lets the process's group have, on either kind of cgroups.
pub fn limit_of(pid: u32) -> Option<u64> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let of = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (kind, path) = (parts.next()?, parts.next()?);
        match kind {
            "memory" => Some(format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes")),
            "" => Some(format!("/sys/fs/cgroup{path}/memory.max")),
            _ => None,
        }
    };
    groups.lines().filter_map(of).find_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok())
}
