//! What one container is kept from: other containers, other tenants, the node, and more of it than it was given. Two instances of two
//! tenants on a real containerd show most of it. The kernels of our test machines have neither AppArmor nor SELinux: there it is shown that what
//! is asked reaches the runtime, which refuses a profile that it cannot apply and a level that is none.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gantry_agent::adapters::facts;
use gantry_agent::adapters::logs::{Shipper, Source};
use gantry_agent::node::Node;
use gantry_contract::proto::scheduler as wire;
use gantry_kernel::Uuid;

use crate::containerd::BUSYBOX;
use crate::runtimes::limit_of;
use crate::stage::{Stage, id, web};

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_two_tenants_share_an_image_and_nothing_else() {
    let Some(stage) = Stage::new().await else { return };
    if gantry_servers::Need::Nftables.find().is_err() {
        eprintln!("skipped: the isolation of instances was not tested: nftables is not on this machine");
        return stage.containerd.finish().await;
    }
    for clause in ["6.2.1.h", "6.2.1.i", "6.2.1.j", "6.2.2.a", "6.2.3.1.a", "6.2.3.1.b", "6.2.3.1.c", "6.2.3.2"] {
        gantry_testkit::clause(clause);
    }
    for clause in ["7.4.1.a", "7.4.1.b", "7.4.3.a", "7.4.3.b", "7.4.3.e", "7.4.3.g"] {
        gantry_testkit::clause(clause);
    }
    let node = stage.agent().await;
    let profile = stage.home.join("no-folders.json");
    std::fs::write(&profile, r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#).unwrap();
    std::fs::create_dir_all(stage.home.join("shared")).unwrap();
    std::fs::write(stage.home.join("shared/file"), "of the node\n").unwrap();
    stage.want(&node, [first(&stage.home, &profile), second()], []);
    stage.until("both run", || (1..=2).all(|n| stage.status(&node, n).ready)).await;

    layers(&stage, &node).await;
    groups_and_namespaces(&stage).await;
    rights(&stage, &node).await;
    filters(&stage, &node).await;
    volumes(&stage, &node).await;
    networks(&stage, &node).await;
    logs(&stage, &node).await;
    refusals(&stage, &node, &profile).await;
    stage.finish(node).await;
}

#[tokio::test]
async fn a_node_tells_what_machine_it_is() {
    let Some(stage) = Stage::new().await else { return };
    let told = facts::gather(&stage.containerd.cri().await, &stage.home, "z1", &BTreeMap::from([("disk".to_owned(), "ssd".to_owned())])).await;
    // Another witness: whoever is under a hypervisor says so in the processor's flags (x86), or the firmware names it.
    let flagged = std::fs::read_to_string("/proc/cpuinfo").unwrap().contains(" hypervisor");
    if flagged {
        assert!(told.virtual_machine, "{told:?}");
    }
    gantry_testkit::clause(if told.virtual_machine { "6.1.1.b" } else { "6.1.1.a" });
    let machine = String::from_utf8(Command::new("uname").arg("-m").output().unwrap().stdout).unwrap();
    let expected = match machine.trim() {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    assert_eq!(told.architecture, expected);
    assert!(told.runtime.starts_with("containerd ") && !told.os.is_empty() && !told.kernel.is_empty(), "{told:?}");
    assert!(told.cpu_millis >= 1000 && told.memory_bytes > 64 * MIB && told.storage_bytes > 0, "{told:?}");
    assert_eq!((told.zone.as_str(), told.labels["disk"].as_str()), ("z1", "ssd"));
    stage.containerd.finish().await;
}

/// With every limit that there is, and two containers beside it that differ in their filters.
fn first(home: &Path, profile: &Path) -> wire::WantedInstance {
    let mount = |kind: &str, source: &str, target: &str| wire::Mount { kind: kind.into(), source: source.into(), target: target.into(), ..Default::default() };
    let beside = |name: &str, seccomp: &str| wire::WantedInstance {
        name: name.into(),
        image: BUSYBOX.into(),
        args: vec!["-c".into(), "exec sleep 1001".into()],
        seccomp: seccomp.into(),
        selinux: ":::s0:c1,c2".into(),
        ..Default::default()
    };
    wire::WantedInstance {
        user: "1000:1000".into(),
        cap_drop: vec!["ALL".into()],
        cap_add: vec!["NET_BIND_SERVICE".into()],
        new_privileges: "no".into(),
        limits: Some(wire::Resources { cpu_millis: 500, memory_bytes: 64 * MIB, pids: 50, bandwidth_bps: 8_000_000, ..Default::default() }),
        mounts: vec![
            wire::Mount { size_bytes: 24 * MIB, ..mount("volume", "acme.data", "/data") },
            wire::Mount { size_bytes: MIB, ..mount("tmpfs", "", "/cache") },
            wire::Mount { read_only: true, ..mount("bind", &home.join("shared").display().to_string(), "/shared") },
        ],
        sidecars: vec![beside("free", "unconfined"), beside("own", &format!("localhost{}", profile.display()))],
        ..web(1, "first")
    }
}

/// Of another tenant: it prints much, and may reach nothing that was not named.
fn second() -> wire::WantedInstance {
    let labels = wire::Labels {
        org: "other".into(),
        org_id: Uuid::from_u128(2001).to_string(),
        app_id: Uuid::from_u128(2000).to_string(),
        ..web(2, "").labels.unwrap()
    };
    let script =
        "i=0; while [ $i -lt 3000 ]; do echo line $i of many that nobody takes; i=$((i+1)); done; echo second > /www/index.html; exec httpd -f -p 8080 -h /www";
    wire::WantedInstance {
        labels: Some(labels),
        // Of root in the container: an agent without CAP_SYS_RESOURCE may not set those of others.
        ulimits: vec!["nofile=777:777".into()],
        args: vec!["-c".into(), script.into()],
        guard: Some(wire::Guard { action: "none".into(), closed: true, ..Default::default() }),
        ..web(2, "")
    }
}

/// In the main container, or in one beside it.
async fn run(stage: &Stage, node: &Node, n: u8, beside: &str, script: &str) -> (i32, String) {
    let container = {
        let pods = node.shared.pods.borrow();
        let pod = pods.iter().find(|p| p.instance == id(n)).unwrap();
        if beside.is_empty() { pod.container.as_ref().unwrap().id.clone() } else { pod.beside[beside].id.clone() }
    };
    let command = ["sh", "-c", script].map(str::to_owned);
    let said = stage.containerd.cri().await.exec_sync(&container, &command, Duration::from_secs(60)).await.unwrap();
    (said.exit_code, String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned())
}

/// The folders of an instance's root: what it wrote, and the layers of its image.
fn overlay(pid: u32) -> (PathBuf, Vec<PathBuf>) {
    let mounts = std::fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap();
    let root = mounts.lines().find(|l| l.split(' ').nth(1) == Some("/")).unwrap();
    assert_eq!(root.split(' ').nth(2), Some("overlay"), "{root}");
    let option = |name: &str| root.split(' ').nth(3).unwrap().split(',').find_map(|o| o.strip_prefix(name)).unwrap();
    let upper = PathBuf::from(option("upperdir="));
    let above = upper.parent().unwrap().parent().unwrap().to_owned();
    (upper, option("lowerdir=").split(':').map(|l| above.join(l)).collect())
}

async fn layers(stage: &Stage, node: &Node) {
    let ((upper, lowers), (other, others)) = (overlay(stage.pid(1).await), overlay(stage.pid(2).await));
    assert_eq!(lowers, others, "both stand on the image's layers");
    assert_ne!(upper, other, "each has a layer of its own");
    let in_image = |file: &str| lowers.iter().any(|l| l.join(file).exists());
    // No file of the image was copied for them: what is in their own layers they wrote themselves.
    assert!(in_image("bin/busybox") && in_image("etc/passwd"));
    for own in [&upper, &other] {
        assert!(!own.join("bin/busybox").exists() && !own.join("etc/passwd").exists(), "{}", own.display());
    }
    // A change is made to a copy, and nobody else sees it.
    let (code, said) = run(stage, node, 2, "", "echo changed >> /etc/group && rm /etc/passwd").await;
    assert_eq!(code, 0, "{said}");
    assert!(other.join("etc/group").exists() && !upper.join("etc/group").exists());
    let (_, seen) = run(stage, node, 1, "", "cat /etc/group; ls /etc/passwd").await;
    assert!(!seen.contains("changed") && seen.contains("/etc/passwd\n"), "{seen}");
    assert!(in_image("etc/passwd"), "the image is as it was");
}

/// A file of a process's group, by its controller in the first version of cgroups and its name in either.
fn of_group(pid: u32, controller: &str, old: &str, new: &str) -> Option<String> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let file = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (kind, path) = (parts.next()?, parts.next()?);
        if kind.is_empty() {
            return Some(format!("/sys/fs/cgroup{path}/{new}"));
        }
        kind.split(',').any(|k| k == controller).then(|| format!("/sys/fs/cgroup/{controller}{path}/{old}"))
    };
    groups.lines().filter_map(file).find_map(|f| std::fs::read_to_string(f).ok()).map(|t| t.trim().to_owned())
}

async fn groups_and_namespaces(stage: &Stage) {
    let (one, two, own) = (stage.pid(1).await, stage.pid(2).await, std::process::id());
    for kind in ["mnt", "pid", "net", "ipc", "uts"] {
        let of = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert!(of(one) != of(two) && of(one) != of(own) && of(two) != of(own), "they share the namespace {kind}");
    }
    let group = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(group(one).contains(&format!("/gantry/{}/", id(1))) && group(two).contains(&format!("/gantry/{}/", id(2))), "{}", group(one));
    assert_eq!(limit_of(one), Some(64 * MIB));
    let quota = of_group(one, "cpu", "cpu.cfs_quota_us", "cpu.max").unwrap();
    assert_eq!(quota.split(' ').next(), Some("50000"), "half a core of every tenth of a second");
    let processes = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(|root| std::fs::read_to_string(format!("{root}/gantry/{}/pids.max", id(1))));
    assert_eq!(processes.into_iter().find_map(Result::ok).unwrap().trim(), "50");
    let slowed = String::from_utf8(Command::new("tc").args(["qdisc", "show"]).output().unwrap().stdout).unwrap();
    assert!(slowed.lines().any(|l| l.contains("tbf") && l.contains("8Mbit")), "{slowed}");
}

async fn rights(stage: &Stage, node: &Node) {
    let pid = stage.pid(1).await;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim();
    assert_eq!(line("Uid:").split_whitespace().collect::<Vec<_>>(), ["1000"; 4]);
    // CAP_NET_BIND_SERVICE is bit 10, and all that its processes can ever have.
    assert_eq!(u64::from_str_radix(line("CapBnd:"), 16).unwrap(), 1 << 10);
    assert_eq!((u64::from_str_radix(line("CapEff:"), 16).unwrap() & !(1 << 10), line("NoNewPrivs:"), line("Seccomp:")), (0, "1", "2"));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", stage.pid(2).await)).unwrap();
    let files = limits.lines().find(|l| l.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["777", "777"]);
    // The other one is root in its container with the usual capabilities, and still may not do what is the node's.
    assert_ne!(run(stage, node, 2, "", "mount -t tmpfs tmpfs /tmp").await.0, 0);
    assert_ne!(run(stage, node, 2, "", "echo 1 > /proc/sys/kernel/panic").await.0, 0);
}

async fn filters(stage: &Stage, node: &Node) {
    // The runtime's own: no new user namespace, which the kernel alone would allow.
    const NAMESPACE: &str = "unshare -U true";
    if run(stage, node, 1, "free", NAMESPACE).await.0 == 0 {
        assert_ne!(run(stage, node, 2, "", NAMESPACE).await.0, 0, "the default filter lets it through");
    } else {
        eprintln!("this machine allows nobody a user namespace: that the default filter denies it was not shown");
    }
    let filter = |beside: &'static str| run(stage, node, 1, beside, "grep Seccomp: /proc/self/status");
    // Without a filter of its own it has that of this test, which is none on most machines.
    let here = std::fs::read_to_string("/proc/self/status").unwrap();
    let here = here.lines().find(|l| l.starts_with("Seccomp:")).unwrap();
    assert!(filter("free").await.1.contains(here) && filter("own").await.1.contains("Seccomp:\t2"));
    // One of the operator's, from a file of the node.
    let (code, said) = run(stage, node, 1, "own", "touch /tmp/file && mkdir /tmp/folder").await;
    assert!(code != 0 && said.contains("Operation not permitted"), "{said}");
    let (code, said) = run(stage, node, 1, "own", "ls /tmp").await;
    assert_eq!((code, said.as_str()), (0, "file\n"));
    assert_eq!(run(stage, node, 1, "free", "mkdir /tmp/folder").await.0, 0);
}

async fn volumes(stage: &Stage, node: &Node) {
    let fill = |path: &str, count: u32| format!("dd if=/dev/zero of={path}/big bs=1M count={count} 2>&1; rm {path}/big; echo kept > {path}/file");
    for (path, count) in [("/data", 64), ("/cache", 4)] {
        let (_, said) = run(stage, node, 1, "", &fill(path, count)).await;
        assert!(said.contains("No space left"), "{path}: {said}");
    }
    let (_, said) = run(stage, node, 1, "", "cat /shared/file /data/file; touch /shared/mine 2>&1").await;
    assert!(said.starts_with("of the node\nkept\n") && said.contains("Read-only file system"), "{said}");
    // What belongs to a tenant is on no path of another's.
    let (_, said) = run(stage, node, 2, "", "ls /data /cache /shared 2>&1; cat /proc/mounts").await;
    assert!(!said.contains("kept") && !said.contains("acme.data") && said.matches("No such file").count() == 3, "{said}");
    let found = node.volumes.list(|o| o.org == "acme").await;
    assert_eq!((found.len(), found[0].name.as_str(), found[0].owner.size_bytes), (1, "acme.data", 24 * MIB));
    assert!(node.volumes.list(|o| o.org == "other").await.is_empty());
}

async fn networks(stage: &Stage, node: &Node) {
    let (one, two) = (stage.status(node, 1).address, stage.status(node, 2).address);
    let prefix = stage.pods();
    assert!(one != two && one.starts_with(&prefix) && two.starts_with(&prefix), "given by the plug-in for addresses: {one} {two}");
    // It answers those who may ask it, and not the other tenant, which is still well by itself.
    let ask = |from: u8, address: String| async move { run(stage, node, from, "", &format!("timeout 3 wget -q -O - http://{address}:8080/ 2>&1")).await };
    let seen = reqwest::get(format!("http://{one}:8080/")).await.unwrap().text().await.unwrap();
    assert_eq!((seen.as_str(), ask(2, "127.0.0.1".into()).await.1.as_str()), ("first", "second\n"));
    let (code, said) = ask(2, one).await;
    assert!(code != 0 && !said.contains("first"), "{said}");
    // What the platform's parts listen on is the node's loopback, which is not the instances'; the way over its address on their bridge is none.
    let part = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = part.local_addr().unwrap().port();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    for host in ["127.0.0.1".to_owned(), format!("{}0.1", stage.pods())] {
        let (code, said) = run(stage, node, 1, "", &format!("nc -w 3 {host} {port} </dev/null 2>&1")).await;
        assert_ne!(code, 0, "{host}: {said}");
    }
}

/// Nobody takes the lines; the disk is not theirs all the same.
async fn logs(stage: &Stage, node: &Node) {
    let labels = second().labels.unwrap();
    let container = node.shared.pods.borrow().iter().find(|p| p.instance == id(2)).and_then(|p| p.container.as_ref()).unwrap().id.clone();
    let source = Source {
        instance: id(2),
        org: labels.org,
        project: labels.project,
        space: labels.space,
        app: labels.app,
        app_id: labels.app_id.parse().unwrap(),
        workload: labels.workload,
        container,
        attempt: 0,
        running: true,
    };
    let length = |name: &str| std::fs::metadata(node.logs.join(format!("{}/{name}", id(2)))).map_or(0, |m| m.len());
    let before = length("0.log");
    assert!(before > 100_000, "{before}");
    let mut shipper = Shipper::open("node-1".into(), node.logs.clone(), node.disk.clone(), stage.containerd.cri().await).await;
    shipper.rotate_at(10_000);
    let refused = shipper.round(&[source], |_, _| async { Err::<(), _>("nobody is there") }).await;
    assert_eq!(refused, Err("nobody is there"));
    assert!(length("0.log") < 10_000 && length("0.log.1") == before, "{} {}", length("0.log"), length("0.log.1"));
}

async fn refusals(stage: &Stage, node: &Node, profile: &Path) {
    let plain = |n: u8| wire::WantedInstance { probes: vec![], ..web(n, "") };
    let mounts = |kind: &str, source: &str| vec![wire::Mount { kind: kind.into(), source: source.into(), target: "/there".into(), ..Default::default() }];
    let bad = [
        (3, wire::WantedInstance { selinux: ":::nonsense".into(), ..plain(3) }, "level"),
        (4, wire::WantedInstance { apparmor: "localhost/gantry-absent".into(), ..plain(4) }, "apparmor"),
        (5, wire::WantedInstance { mounts: mounts("bind", "/root"), ..plain(5) }, "bind_allowed"),
        // No server is at hand: it is shown that the kernel is asked for it, and what is said when it cannot be had.
        (6, wire::WantedInstance { mounts: mounts("nfs", "nas.invalid:/exports"), ..plain(6) }, "nas.invalid:/exports cannot be mounted"),
    ];
    let keep = [first(&stage.home, profile), second()];
    stage.want(node, keep.into_iter().chain(bad.iter().map(|(_, instance, _)| instance.clone())), []);
    for (n, _, why) in &bad {
        stage.until(why, || stage.status(node, *n).reason.to_lowercase().contains(why)).await;
    }
    assert!((1..=2).all(|n| stage.status(node, n).ready && stage.status(node, n).restarts == 0));
}
