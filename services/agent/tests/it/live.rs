//! Files that follow the scheduler's word while their container runs.

use gantry_contract::proto::scheduler as wire;

use crate::stage::{Stage, id, web};

#[tokio::test(flavor = "multi_thread")]
async fn new_contents_reach_a_running_container_without_a_restart() {
    let Some(stage) = Stage::new().await else { return };
    gantry_testkit::clause("7.4.1.j");
    let node = stage.agent().await;
    let file = |path: &str, folder: &str, content: &str| wire::FileContent {
        path: path.into(),
        content: content.as_bytes().to_vec(),
        mode: 0o444,
        folder: folder.into(),
        live: true,
        ..Default::default()
    };
    // Both as one line, so that a mixture would be seen; and a file that is shown by itself.
    let script = "while true; do echo \"seen=$(cat /run/secrets/user)-$(cat /run/secrets/password)-$(cat /etc/app.conf)\"; sleep 0.1; done";
    let with = |n: &str| wire::WantedInstance {
        args: vec!["-c".into(), script.into()],
        probes: vec![],
        files: vec![
            file("/run/secrets/user", "/run/secrets", &format!("u{n}")),
            file("/run/secrets/password", "/run/secrets", &format!("p{n}")),
            file("/etc/app.conf", "", &format!("c{n}")),
        ],
        ..web(1, "")
    };
    let log = stage.home.join(format!("agent/logs/{}/0.log", id(1)));
    let printed = |text: &str| std::fs::read_to_string(&log).unwrap_or_default().contains(text);
    stage.want(&node, [with("1")], []);
    stage.until("it has printed the first contents", || printed("seen=u1-p1-c1")).await;
    let pid = stage.pid(1).await;
    let memory = stage.home.join(format!("agent/instances/{}/memory", id(1)));
    let mounts = || -> Vec<String> {
        let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
        table.lines().filter(|l| l.split(' ').nth(1) == memory.to_str()).map(str::to_owned).collect()
    };
    let mounted = mounts();
    assert_eq!(mounted.len(), 1, "{mounted:?}");
    for option in ["tmpfs", "nosuid", "nodev", "noexec", "mode=700"] {
        assert!(mounted[0].contains(option), "{option}: {mounted:?}");
    }
    stage.want(&node, [with("2")], []);
    stage.until("it has printed the second contents", || printed("seen=u2-p2-c2")).await;
    assert_eq!((stage.pid(1).await, stage.status(&node, 1).restarts), (pid, 0), "nothing was started anew");

    // The next agent, too: it finds the container and brings its files up to date.
    stage.stop_agent(node).await;
    let node = stage.agent().await;
    stage.want(&node, [with("3")], []);
    stage.until("it has printed the third contents", || printed("seen=u3-p3-c3")).await;
    assert_eq!(stage.pid(1).await, pid);
    assert_eq!(mounts(), mounted, "what was in memory was found again");

    // More than there was room for.
    let long = "4".repeat(1 << 20);
    let larger = wire::WantedInstance { files: [with("4").files, vec![file("/run/secrets/long", "/run/secrets", &long)]].concat(), ..with("4") };
    stage.want(&node, [larger], []);
    stage.until("it has printed the fourth contents", || printed("seen=u4-p4-c4")).await;
    stage.want(&node, [with("3")], []);
    stage.until("and the third again", || printed_last(&log).contains("seen=u3-p3-c3")).await;

    // A container that is started anew has the present contents at once.
    assert!(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    let second = stage.home.join(format!("agent/logs/{}/1.log", id(1)));
    let first_line = || std::fs::read_to_string(&second).unwrap_or_default().lines().next().map(str::to_owned);
    stage.until("another container has printed", || first_line().is_some()).await;
    assert!(first_line().unwrap().contains("seen=u3-p3-c3"), "{:?}", first_line());
    stage.want(&node, [], []);
    stage.until("nothing is left", || node.shared.pods.borrow().is_empty()).await;
    stage.until("its memory is let go", || mounts().is_empty()).await;
    stage.finish(node).await;
}

fn printed_last(log: &std::path::Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default().lines().last().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_memory_comes_back_with_the_container_and_of_others_nothing_stays() {
    let Some(stage) = Stage::new().await else { return };
    let node = stage.agent().await;
    let file = wire::FileContent {
        path: "/run/secrets/key".into(),
        content: b"nowhere-on-the-disk".to_vec(),
        folder: "/run/secrets".into(),
        mode: 0o400,
        live: true,
        ..Default::default()
    };
    let with_file = || wire::WantedInstance {
        args: vec!["-c".into(), "cat /run/secrets/key; echo; exec sleep 903".into()],
        probes: vec![],
        files: vec![file.clone()],
        ..web(1, "")
    };
    stage.want(&node, [with_file()], []);
    let logs = stage.home.join(format!("agent/logs/{}", id(1)));
    let printed = |n: u8| std::fs::read_to_string(logs.join(format!("{n}.log"))).unwrap_or_default().contains("nowhere-on-the-disk");
    stage.until("it has read its secret", || printed(0)).await;
    let instances = stage.home.join("agent/instances");
    let memory = instances.join(id(1).to_string()).join("memory");

    // As after a start of the machine: the memory is empty, and the container is not there.
    let pid = stage.pid(1).await;
    stage.stop_agent(node).await;
    let unmounted = std::process::Command::new("umount").arg("-l").arg(&memory).status().unwrap();
    assert!(unmounted.success());
    assert_eq!(std::fs::read_dir(&memory).unwrap().count(), 0, "nothing was on the disk below");
    assert!(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    // And what an agent has left that was killed while it removed an instance.
    let left = instances.join(id(77).to_string()).join("memory");
    std::fs::create_dir_all(&left).unwrap();
    assert!(std::process::Command::new("mount").args(["-t", "tmpfs", "gantry-files"]).arg(&left).status().unwrap().success());
    std::fs::write(left.join("secret"), "left").unwrap();

    let node = stage.agent().await;
    stage.until("it has read its secret again", || printed(1)).await;
    stage.until("what was left is gone", || !left.join("secret").exists()).await;
    stage.finish(node).await;
}
