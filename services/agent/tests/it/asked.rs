//! What documents ask of single containers and is only seen in one: groups and owners of what is mounted, folders inside of volumes, tuning,
//! requests before the stop; and what is refused instead of being done half.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use gantry_contract::proto::scheduler as wire;

use crate::stage::{Stage, id, service, web};

fn mount(kind: &str, source: &str, target: &str) -> wire::Mount {
    wire::Mount { kind: kind.into(), source: source.into(), target: target.into(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_documents_ask_of_containers_is_so_or_refused_with_the_reason() {
    let Some(stage) = Stage::new().await else { return };
    gantry_testkit::clause("6.3.2.b");
    let node = stage.agent().await;
    let header = |name: &str, value: &str| wire::KeyValue { name: name.into(), value: value.into() };
    // One that this test may run on.
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = own.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned();
    let processor = allowed.split([',', '-']).next().unwrap().to_owned();
    let script = "mkdir -p /data/cgi-bin && printf '#!/bin/sh\\ntouch /data/stopped\\nprintf \"Content-type: text/plain\\\\r\\\\n\\\\r\\\\nok\"\\n' > /data/cgi-bin/stop && \
        chmod 755 /data/cgi-bin/stop && echo up > /data/index.html && touch /all/x && cat /run/own && echo group $(id -G) && echo node=$HOST && \
        cat /inner/index.html && grep Cpus_allowed_list /proc/self/status && echo score $(cat /proc/self/oom_score_adj) && grep single /etc/hosts && exec httpd -f -p 8080 -h /data";
    let asks = wire::WantedInstance {
        user: "1000:1000".into(),
        run_as_non_root: true,
        fs_group: Some(2000),
        args: vec!["-c".into(), script.into()],
        mounts: vec![
            mount("volume", "acme.data", "/all"),
            wire::Mount { sub_path: "inner/www".into(), ..mount("volume", "acme.data", "/data") },
            wire::Mount { sub_path: "inner/www/".into(), read_only: true, ..mount("volume", "acme.data", "/inner") },
        ],
        files: vec![wire::FileContent { path: "/run/own".into(), content: b"own\n".to_vec(), mode: 0o400, uid: 1000, ..Default::default() }],
        env_facts: vec![wire::EnvFact { name: "HOST".into(), fact: "node_address".into() }],
        tuning: Some(wire::Tuning { cpu_shares: 512, cpuset: processor.clone(), oom_score_adj: 1000, ..Default::default() }),
        pre_stop: vec![wire::Hook {
            kind: "http".into(),
            path: "/cgi-bin/stop".into(),
            port: 8080,
            headers: vec![header("X-Why", "drain")],
            ..Default::default()
        }],
        probes: vec![wire::Probe { host: "shop.test".into(), headers: vec![header("X-Who", "probe")], ..web(1, "").probes[0].clone() }],
        stop_grace_seconds: 10,
        ..web(1, "")
    };
    let root = wire::WantedInstance { run_as_non_root: true, ..web(2, "two") };
    // What an instance may have put into its volume.
    let evil = stage.home.join("volumes/acme.evil");
    std::fs::create_dir_all(&evil).unwrap();
    symlink("/etc", evil.join("out")).unwrap();
    let out = wire::WantedInstance { mounts: vec![wire::Mount { sub_path: "out".into(), ..mount("volume", "acme.evil", "/out") }], ..web(3, "three") };
    let spared = wire::WantedInstance { tuning: Some(wire::Tuning { oom_score_adj: -1000, ..Default::default() }), ..web(4, "four") };
    let singles = vec![wire::Single { names: vec!["single-0".into()], address: "10.1.2.3".into(), ready: false }];
    let named = || wire::WantedService { singles: singles.clone(), ..service(&[1]) };
    stage.want(&node, [asks.clone(), root, out, spared], [named()]);

    stage.until("it is ready", || stage.status(&node, 1).ready).await;
    let file = stage.home.join(format!("agent/logs/{}/0.log", id(1)));
    stage.until("it has printed all", || std::fs::read_to_string(&file).unwrap_or_default().contains("single-0.web")).await;
    let (log, listed) = (std::fs::read_to_string(&file).unwrap(), format!("Cpus_allowed_list:\t{processor}\n"));
    for expected in ["own\n", "2000", "node=192.0.2.7\n", " up\n", listed.as_str(), "score 1000\n", "10.1.2.3 single-0.web\n"] {
        assert!(log.contains(expected), "{expected:?} in {log}");
    }
    let data = stage.home.join("volumes/acme.data");
    for (path, mode) in [("", 0o2770), ("inner", 0o2770), ("inner/www", 0o2770), ("x", 0)] {
        let seen = std::fs::metadata(data.join(path)).unwrap();
        assert_eq!((seen.gid(), seen.permissions().mode() & mode), (2000, mode), "{path}");
    }
    let group = format!("/gantry/{}", id(1));
    let weight = [format!("/sys/fs/cgroup/cpu{group}/cpu.shares"), format!("/sys/fs/cgroup{group}/cpu.weight")];
    let weight = weight.iter().find_map(|file| std::fs::read_to_string(file).ok()).unwrap();
    assert!(["512", "50"].contains(&weight.trim()), "{weight}");

    stage.until("root is refused", || stage.status(&node, 2).reason.contains("must not run as root")).await;
    stage.until("a link is refused", || stage.status(&node, 3).reason.contains("is a link")).await;
    // By the agent, or by a runtime that tries.
    let refused = |reason: &str| reason.contains("OOM score") || reason.contains("oom_score_adj");
    stage.until("a score that cannot be had is refused", || refused(&stage.status(&node, 4).reason)).await;

    stage.want(&node, [wire::WantedInstance { stopping: true, ..asks }], [named()]);
    stage.until("it was asked before its stop", || data.join("inner/www/stopped").exists()).await;
    stage.want(&node, [], []);
    stage.until("nothing is left", || node.shared.pods.borrow().is_empty()).await;
    let places = stage.home.join(format!("agent/network-mounts/{}", id(1)));
    stage.until("nothing of its volumes is shown any more", || !places.exists()).await;
    assert!(data.join("inner/www/index.html").exists(), "what is in the volume stays");
    stage.finish(node).await;
}
