//! An instance that is frozen, given away over a session, and goes on in another pod: with a real containerd, runc and CRIU.

use std::time::Duration;

use gantry_agent::app::sessions::{CLOSE, INPUT, OUTPUT, Sessions};
use gantry_agent::node::Node;
use gantry_contract::proto::scheduler as wire;

use crate::sessions::{Caller, Desk, serve};
use crate::stage::{Stage, id, web};

/// Its only state that counts is in its memory.
fn counting(n: u8) -> wire::WantedInstance {
    let script = "n=0; while true; do n=$((n+1)); echo tick $n; echo $n > /tmp/count; sleep 0.1; done";
    wire::WantedInstance { args: ["-c", script].map(str::to_owned).to_vec(), probes: vec![], ports: vec![], ..web(n, "") }
}

/// The numbers that it has printed.
fn ticks(stage: &Stage, n: u8) -> Vec<u64> {
    let text = std::fs::read_to_string(stage.home.join(format!("agent/logs/{}/0.log", id(n)))).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once("tick ")?.1.trim().parse().ok()).collect()
}

fn last(stage: &Stage, n: u8) -> u64 {
    ticks(stage, n).last().copied().unwrap_or(0)
}

/// Frozen, and all that was taken of it; it stands still as long as the session lives.
async fn given(desk: &Desk, sessions: &Sessions, n: u8) -> (Caller, Vec<Vec<u8>>) {
    let mut from = desk.open(sessions, "checkpoint-give", |o| o.instance_id = id(n).to_string()).await;
    let mut pieces = Vec::new();
    loop {
        match from.next().await.expect("it goes on") {
            (OUTPUT, bytes) => pieces.push(bytes),
            (CLOSE, bytes) if bytes == [OUTPUT] => return (from, pieces),
            (channel, bytes) => panic!("channel {channel}: {}", String::from_utf8_lossy(&bytes)),
        }
    }
}

/// Also without CRIU: what an agent finds that comes after one which ended in the moment of the start.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_from_which_a_container_runs_is_not_gone_on_from_again() {
    let Some(stage) = Stage::new().await else { return };
    let node = stage.agent().await;
    stage.want(&node, [counting(1)], []);
    stage.until("it counts", || stage.status(&node, 1).ready && last(&stage, 1) >= 1).await;
    let waiting = stage.home.join(format!("agent/checkpoints/waiting/{}", id(1)));
    std::fs::create_dir_all(&waiting).unwrap();
    assert!(node.checkpoints.waits(id(1)).await, "nothing has begun with it yet");
    let container = stage.containers().await.into_iter().next().unwrap();
    std::fs::write(waiting.join("laid"), container).unwrap();
    assert!(!node.checkpoints.waits(id(1)).await && !waiting.exists());
    stage.finish(node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_goes_on_in_another_pod_with_what_it_had_in_memory() {
    let Some(stage) = Stage::new().await else { return };
    let node = stage.agent().await;
    stage.want(&node, [counting(1)], []);
    stage.until("it counts", || stage.status(&node, 1).ready && last(&stage, 1) >= 5).await;
    let (desk, channel, stop) = serve(&stage).await;
    let sessions = stage.sessions(&node, channel).await;
    if let Err(why) = node.checkpoints.able("").await {
        refused(&stage, &node, &desk, &sessions, &why.to_string()).await;
        eprintln!("skipped: nothing was frozen: {why}");
    } else {
        gantry_testkit::clause("6.3.3.x");
        moves(&stage, &node, &desk, &sessions).await;
        runs_on_if_nobody_takes_it(&stage, &node, &desk, &sessions).await;
    }
    stop.cancel();
    stage.finish(node).await;
}

/// Where it cannot be done the reason is told, and the instance notices nothing.
async fn refused(stage: &Stage, node: &Node, desk: &Desk, sessions: &Sessions, why: &str) {
    for (kind, n) in [("checkpoint-give", 1), ("checkpoint-take", 2)] {
        let said = desk.open(sessions, kind, |o| o.instance_id = id(n).to_string()).await.all().await;
        assert_eq!(said.end["error"], why);
    }
    let before = last(stage, 1);
    stage.until("it counts on", || last(stage, 1) > before + 2).await;
    assert_eq!((stage.status(node, 1).restarts, stage.status(node, 1).ready), (0, true));
}

async fn moves(stage: &Stage, node: &Node, desk: &Desk, sessions: &Sessions) {
    let mut into = desk.open(sessions, "checkpoint-take", |o| o.instance_id = id(2).to_string()).await;
    assert_eq!(into.next().await.expect("an answer"), (OUTPUT, b"ready".to_vec()));
    let (from, pieces) = given(desk, sessions, 1).await;
    let before = last(stage, 1);
    for piece in pieces {
        into.send(INPUT, &piece).await;
    }
    into.send(CLOSE, &[INPUT]).await;
    let said = into.all().await;
    assert_eq!(said.end["exit_code"], 0, "{said:?}");

    stage.want(node, [counting(1), counting(2)], []);
    stage.until("it goes on", || stage.status(node, 2).ready && last(stage, 2) > before + 3).await;
    assert_eq!(last(stage, 1), before, "the one before stands still");
    let first = ticks(stage, 2)[0];
    assert!(first == before || first == before + 1, "from {before} on, and it began at {first}");
    assert_eq!(stage.status(node, 2).restarts, 0);
    // What it has written is there, too, and it writes on.
    let file = format!("/proc/{}/root/tmp/count", stage.pid(2).await);
    stage.until("it writes on", || std::fs::read_to_string(&file).is_ok_and(|text| text.trim().parse::<u64>().is_ok_and(|n| n > before + 3))).await;

    from.send(INPUT, b"moved").await;
    let said = from.all().await;
    assert_eq!(said.end["exit_code"], 0, "{said:?}");
    assert_eq!(last(stage, 1), before, "it has ended without having run again");
    stage.want(node, [wire::WantedInstance { stopping: true, ..counting(1) }, counting(2)], []);
    stage.until("it is not started anew", || stage.status(node, 1).state == "exited").await;
    stage.want(node, [counting(2)], []);
    stage.until("only the other is left", || node.shared.pods.borrow().len() == 1 && node.shared.held.borrow().is_empty()).await;
    let left = |folder: &str| std::fs::read_dir(stage.home.join("agent/checkpoints").join(folder)).map_or(0, Iterator::count);
    assert_eq!((left("frozen"), left("taken"), left("waiting")), (0, 0, 0));
}

async fn runs_on_if_nobody_takes_it(stage: &Stage, node: &Node, desk: &Desk, sessions: &Sessions) {
    let (from, _) = given(desk, sessions, 2).await;
    let before = last(stage, 2);
    // It writes several times in that long while it runs.
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(last(stage, 2), before, "it stands still");
    drop(from);
    stage.until("it counts on", || last(stage, 2) > before + 3).await;
    assert!(ticks(stage, 2).windows(2).all(|pair| pair[1] == pair[0] + 1), "nothing is missing");
    assert_eq!(stage.status(node, 2).restarts, 0);
}
