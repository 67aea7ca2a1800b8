//! Parts of a node die, and a whole node.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::bed::{Bed, LONG, TIMEOUT};
use crate::load::BEGUN;
use crate::shop::{APP, WEB};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_of_a_node_is_killed_requests_are_answered_and_a_whole_node_is_replaced() {
    let Some(mut bed) = Bed::new(3).await else { return };
    for clause in ["6.2.1.a", "6.2.1.b", "6.3.1.b", "6.3.1.h", "7.1.a", "7.1.c", "7.1.d", "7.1.g"] {
        gantry_testkit::clause(clause);
    }
    bed.open_shop(false).await;
    let load = bed.load();
    load.more(&bed.names(), 20).await;

    // The agent: nothing else notices.
    let recorded = async |bed: &Bed| bed.instances(APP).await.into_iter().map(|i| (i.id, i.node, i.restarts)).collect::<BTreeSet<_>>();
    let placed = recorded(&bed).await;
    let before = (bed.running("n1", placed.iter().filter(|(_, node, _)| node == "n1").count()).await, placed);
    bed.node_mut("n1").0.kill_agent();
    load.more(&bed.names(), 40).await;
    bed.node_mut("n1").0.start_agent();
    let web = bed.instances(APP).await.into_iter().find(|i| i.node == "n1" && i.workload == "web").unwrap();
    let container = before.0.iter().find(|c| c.instance == web.id).cloned().unwrap();
    bed.settled().await;
    assert_eq!((bed.running("n1", before.0.len()).await, recorded(&bed).await), before, "the agent's death has touched something");
    load.none_failed(&bed.names(), "the agent's death", 0);

    // containerd: what runs goes on, and the agent finds it again.
    bed.node_mut("n1").0.kill_containerd();
    load.more(&bed.names(), 40).await;
    bed.node_mut("n1").0.start_containerd();
    bed.until("containerd is ready again", LONG, async || bed.node("n1").containerd_is_ready().await).await;
    assert_eq!(bed.running("n1", before.0.len()).await, before.0, "containerd's death has touched something");
    load.none_failed(&bed.names(), "containerd's death", 0);
    let died = Instant::now();
    bed.node("n1").kill(container.pid);
    let again = async || bed.node("n1").containers().await.iter().any(|c| c.instance == web.id && c.id != container.id);
    bed.until("a container that dies is seen and started again", LONG, again).await;
    eprintln!("a container that died runs again after {:?}", died.elapsed());
    bed.settled().await;
    load.none_failed(&bed.names(), "a container's death", BEGUN);

    // All of it at once, without a word to anybody.
    let others = bed.others("n2");
    let moved = bed.instances(APP).await.into_iter().filter(|i| i.node == "n2").count();
    let (node, wire) = bed.node_mut("n2");
    node.power_off(wire).await;
    let off = Instant::now();
    let replaced = async || bed.instances(APP).await.iter().filter(|i| i.node != "n2" && i.available).count() == WEB + 1;
    bed.until("its instances run elsewhere", LONG, replaced).await;
    eprintln!("a lost node's {moved} instances run elsewhere after {:?}, of which {TIMEOUT:?} to be sure of its loss", off.elapsed());
    load.more(&others, 40).await;
    load.none_failed(&others, "a node's death", BEGUN);

    // Switched on again: it takes up nothing of what has moved.
    let (node, wire) = bed.node_mut("n2");
    node.boot(wire);
    node.start_containerd();
    bed.until("containerd is ready again", LONG, async || bed.node("n2").containerd_is_ready().await).await;
    bed.node_mut("n2").0.start_agent();
    bed.until("the node is heard again", LONG, async || bed.ready_nodes().await.len() == 3).await;
    bed.settled().await;
    load.forgive("n2");
    load.more(&bed.names(), 20).await;
    load.none_failed(&bed.names(), "the node's return", 0);
    load.end().await;
    bed.finish(APP).await;
}
