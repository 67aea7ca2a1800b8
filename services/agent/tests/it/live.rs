//! Files that follow the scheduler's word while their container runs.

use gantry_contract::proto::scheduler as wire;

use crate::stage::{Stage, id, web};

#[tokio::test(flavor = "multi_thread")]
async fn new_contents_reach_a_running_container_without_a_restart() {
    let Some(stage) = Stage::new(139).await else { return };
    gantry_testkit::clause("7.4.1.j");
    let node = stage.agent().await;
    let file = |path: &str, folder: &str, content: &str| wire::FileContent {
        path: path.into(),
        content: content.as_bytes().to_vec(),
        mode: 0o444,
        folder: folder.into(),
        live: true,
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
    stage.want(&node, [with("2")], []);
    stage.until("it has printed the second contents", || printed("seen=u2-p2-c2")).await;
    assert_eq!((stage.pid(1).await, stage.status(&node, 1).restarts), (pid, 0), "nothing was started anew");

    // The next agent, too: it finds the container and brings its files up to date.
    stage.stop_agent(node).await;
    let node = stage.agent().await;
    stage.want(&node, [with("3")], []);
    stage.until("it has printed the third contents", || printed("seen=u3-p3-c3")).await;
    assert_eq!(stage.pid(1).await, pid);

    // A container that is started anew has the present contents at once.
    assert!(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    let second = stage.home.join(format!("agent/logs/{}/1.log", id(1)));
    let first_line = || std::fs::read_to_string(&second).unwrap_or_default().lines().next().map(str::to_owned);
    stage.until("another container has printed", || first_line().is_some()).await;
    assert!(first_line().unwrap().contains("seen=u3-p3-c3"), "{:?}", first_line());
    stage.want(&node, [], []);
    stage.until("nothing is left", || node.shared.pods.borrow().is_empty()).await;
    stage.finish(node).await;
}
