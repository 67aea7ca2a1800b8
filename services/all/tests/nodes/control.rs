//! The control plane goes away, and a node starts anew meanwhile; a node is emptied on purpose.

use std::time::Instant;

use crate::bed::{Bed, LONG};
use crate::load::BEGUN;
use crate::shop::APP;

/// The capabilities of `services/agent/systemd/gantry-agent.service` by their numbers (capabilities(7)): 0 to 7, 10, 12, 13, 18, 19, 21, 24, 31.
const UNIT: u64 = 0x812c_34ff;

#[tokio::test(flavor = "multi_thread")]
async fn without_a_control_plane_nodes_go_on_and_start_in_order_and_a_drain_loses_no_request() {
    let Some(mut bed) = Bed::new(3).await else { return };
    for clause in ["6.2.1.b", "6.3.1.h", "7.1.a", "7.1.c", "7.1.d", "7.1.e", "7.4.1.e"] {
        gantry_testkit::clause(clause);
    }
    bed.open_shop(false).await;
    // All of this the agents do with the capabilities of their unit, and cannot have any other.
    for node in &bed.nodes {
        let of = |name: &str| u64::from_str_radix(&node.of_agent(name), 16).unwrap();
        assert_eq!((of("CapEff:") & !UNIT, of("CapBnd:") & !UNIT, node.of_agent("NoNewPrivs:").as_str()), (0, 0, "1"), "{}", node.name);
    }
    let load = bed.load();
    load.more(&bed.names(), 20).await;
    let recorded = |all: Vec<crate::bed::Instance>| all.into_iter().map(|i| (i.id, i.workload, i.node)).collect::<std::collections::BTreeSet<_>>();
    let before = recorded(bed.instances(APP).await);

    bed.kill_scheduler();
    let rebooted = before.iter().find(|(_, workload, _)| workload == "db").unwrap().2.clone();
    let others = bed.others(&rebooted);
    let placed = |node: &str| before.iter().filter(|(_, _, at)| at == node).count();
    let victim = bed.running(&others[0], placed(&others[0])).await.into_iter().find(|c| c.workload == "web").unwrap();
    let died = Instant::now();
    bed.node(&others[0]).kill(victim.pid);
    let again = async || bed.node(&others[0]).containers().await.iter().any(|c| c.instance == victim.instance && c.id != victim.id);
    bed.until("a container that dies is started again without a scheduler", LONG, again).await;
    eprintln!("without a scheduler a container that died runs again after {:?}", died.elapsed());
    load.more(&bed.names(), 40).await;
    load.none_failed(&bed.names(), "the scheduler's death and a container's", BEGUN);

    // A node's power fails and comes back; nobody tells it what to run.
    let had = placed(&rebooted);
    let (node, wire) = bed.node_mut(&rebooted);
    node.power_off(wire).await;
    load.more(&others, 20).await;
    let on = Instant::now();
    let (node, wire) = bed.node_mut(&rebooted);
    node.boot(wire);
    node.start_containerd();
    bed.until("containerd is ready", LONG, async || bed.node(&rebooted).containerd_is_ready().await).await;
    bed.node_mut(&rebooted).0.start_agent();
    let there = bed.running(&rebooted, had).await;
    eprintln!("a node that started anew runs all of its {had} instances after {:?}", on.elapsed());
    let database = there.iter().find(|c| c.workload == "db").unwrap();
    for web in there.iter().filter(|c| c.workload == "web") {
        assert!(web.started_at - database.started_at >= 1_500_000_000, "it was started before the database was ready: {there:#?}");
    }
    load.forgive(&rebooted);
    load.more(&bed.names(), 40).await;
    load.none_failed(&bed.names(), "a node's start", BEGUN);

    let back = Instant::now();
    bed.start_scheduler();
    bed.until("all nodes are heard", LONG, async || bed.ready_nodes().await.len() == 3).await;
    bed.settled().await;
    eprintln!("the scheduler and all nodes agree {:?} after its return", back.elapsed());
    assert_eq!(recorded(bed.instances(APP).await), before, "nothing was moved");
    load.none_failed(&bed.names(), "the scheduler's return", 0);

    let drained = others[1].clone();
    let began = Instant::now();
    bed.tell_node(&drained, "drain").await;
    bed.until("the node is empty", LONG, async || bed.node(&drained).containers().await.is_empty()).await;
    eprintln!("drained after {:?}", began.elapsed());
    bed.settled().await;
    load.more(&bed.names(), 40).await;
    load.none_failed(&bed.names(), "a drain", 0);
    load.end().await;
    bed.finish(APP).await;
}
