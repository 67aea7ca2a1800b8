//! A node that the scheduler does not hear stops what must not run twice, and nothing else.

use std::time::Duration;

use gantry_agent::app::lease::{Kept, Lease};
use gantry_contract::proto::scheduler as wire;
use tokio::time::Instant;

use crate::stage::{Stage, web};

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_run_twice_is_stopped_before_the_lease_is_over_and_comes_back_with_it() {
    let Some(stage) = Stage::new().await else { return };
    gantry_testkit::clause("7.1.g");
    let node = stage.agent().await;
    let long = Duration::from_secs(3600);
    node.shared.lease.send_replace(Lease::new(Instant::now(), long));
    // Does not end by itself when asked.
    let stubborn = vec!["-c".to_owned(), "trap '' TERM; mkdir -p /www; echo x > /www/index.html; httpd -p 8080 -h /www; while :; do sleep 1; done".to_owned()];
    let fenced = wire::WantedInstance { fenced: true, stop_grace_seconds: 8, args: stubborn, ..web(1, "once") };
    stage.want(&node, [fenced, web(2, "often")], []);
    stage.until("both run", || stage.ready(&node).len() == 2).await;

    let timeout = Duration::from_secs(6);
    let sent = Instant::now();
    node.shared.lease.send_replace(Lease::new(sent, timeout));
    stage.until("it is stopped", || node.shared.pods.borrow().iter().all(|p| p.instance != crate::stage::id(1) || !p.running())).await;
    let took = sent.elapsed();
    eprintln!("stopped {took:?} after the last word, of {timeout:?}");
    assert!(took >= Duration::from_secs(3), "not before it must be: {took:?}");
    assert!(stage.status(&node, 2).ready, "the other one goes on");

    node.shared.lease.send_replace(Lease::new(Instant::now(), long));
    stage.until("it runs again", || stage.ready(&node).len() == 2).await;
    stage.want(&node, [], []);
    stage.until("nothing is left", || node.shared.pods.borrow().is_empty()).await;
    stage.finish(node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_starts_anew_while_nobody_hears_the_node_grants_itself_no_lease() {
    let Some(stage) = Stage::new().await else { return };
    let node = stage.agent().await;
    let long = Duration::from_secs(3600);
    node.shared.lease.send_replace(Lease::new(Instant::now(), long));
    stage.want(&node, [wire::WantedInstance { fenced: true, ..web(1, "once") }, web(2, "often")], []);
    stage.until("both run", || stage.ready(&node).len() == 2).await;
    let often = stage.pid(2).await;

    // The last word of the scheduler is longer ago than a lease is.
    let sent = Instant::now().checked_sub(Duration::from_secs(7)).unwrap();
    Kept::new(node.disk.clone()).keep(Lease::new(sent, Duration::from_secs(6))).await;
    stage.stop_agent(node).await;
    let node = stage.agent().await;
    let seen = || !node.shared.pods.borrow().is_empty();
    stage.until("the new agent has looked", seen).await;
    stage.until("it is stopped", || node.shared.pods.borrow().iter().all(|p| p.instance != crate::stage::id(1) || !p.running())).await;
    assert_eq!(stage.pid(2).await, often, "the other one goes on");

    node.shared.lease.send_replace(Lease::new(Instant::now(), long));
    stage.until("it runs again", || stage.ready(&node).len() == 2).await;
    stage.want(&node, [], []);
    stage.until("nothing is left", || node.shared.pods.borrow().is_empty()).await;
    stage.finish(node).await;
}
