//! A container runtime that crashes, or is exchanged for another version, takes nothing with it.

use std::collections::BTreeSet;

use crate::Load;
use crate::stage::{Stage, id, service, web};

#[tokio::test(flavor = "multi_thread")]
async fn containers_and_their_answers_outlive_a_crash_of_containerd() {
    let Some(stage) = Stage::new().await else { return };
    for clause in ["6.2.1.a", "6.2.1.b", "7.1.a", "7.1.e", "7.4.3.h"] {
        gantry_testkit::clause(clause);
    }
    let node = stage.agent().await;
    stage.want(&node, [web(1, "one"), web(2, "two")], [service(&[1, 2])]);
    stage.until("both are in rotation", || stage.rotation(&node).len() == 2).await;
    let before = (stage.containers().await, stage.pid(1).await, stage.pid(2).await);

    stage.containerd.crash().await;
    let answers = stage.answers(20).await;
    assert_eq!(answers, BTreeSet::from(["one", "two"].map(str::to_owned)));
    // What was wanted meanwhile is done afterwards, and what runs is not touched for it.
    stage.want(&node, [web(1, "one"), web(2, "two"), web(3, "three")], [service(&[1, 2, 3])]);
    stage.until("a third one comes", || stage.rotation(&node).contains(&id(3))).await;
    let now = stage.containers().await;
    assert!(before.0.is_subset(&now) && now.len() == before.0.len() + 1, "{before:?} {now:?}");
    assert_eq!((before.1, before.2), (stage.pid(1).await, stage.pid(2).await));
    assert_eq!((stage.status(&node, 1).restarts, stage.status(&node, 2).restarts), (0, 0));

    // Exchanged under them, as a repaired version is put in: no request fails, nothing is started anew, and what comes is its work.
    let load = Load::start(&stage.route_url(), &stage.port_url());
    let before = (stage.containers().await, stage.pid(1).await);
    let program = stage.containerd.exchange().await;
    assert_eq!(program.file_name().unwrap(), "containerd-next");
    load.some_time().await;
    assert_eq!((stage.containers().await, stage.pid(1).await), before);
    stage.want(&node, [web(1, "one"), web(2, "two"), web(3, "three"), web(4, "four")], [service(&[1, 2, 3, 4])]);
    stage.until("a fourth one comes", || stage.rotation(&node).contains(&id(4))).await;
    for _ in 0..5 {
        load.some_time().await;
    }
    load.finish("the exchange of containerd").await;
    stage.want(&node, [], []);
    stage.until("nothing is left", || node.shared.pods.borrow().is_empty()).await;
    stage.finish(node).await;
}
