//! A node that cannot be reached any more, and comes back.

use std::time::{Duration, Instant};

use crate::bed::{Bed, LONG, TIMEOUT};
use crate::load::BEGUN;
use crate::shop::{APP, WEB};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_is_replaced_stops_what_must_not_run_twice_and_comes_back_clean() {
    let Some(bed) = Bed::new(3).await else { return };
    gantry_testkit::clause("6.3.1.b");
    gantry_testkit::clause("7.1.d");
    gantry_testkit::clause("7.1.e");
    gantry_testkit::clause("7.1.g");
    bed.open_shop(true).await;
    let load = bed.load();
    load.more(&bed.names(), 40).await;
    load.none_failed(&bed.names(), "nothing", 0);

    let victim = bed.of_database().await;
    let others = bed.others(&victim);
    let number = bed.node(&victim).number;
    let there = bed.instances(APP).await.into_iter().filter(|i| i.node == victim).count();
    let kept: usize = bed.running(&victim, there).await.iter().filter(|c| c.workload == "web").count();
    bed.wire.cut(number);
    let cut = Instant::now();

    // At no moment there are two.
    let (mut stopped, mut elsewhere) = (None, None);
    while elsewhere.is_none() {
        let here = bed.node(&victim).containers().await.iter().any(|c| c.workload == "db");
        let mut there = false;
        for node in &others {
            there |= bed.node(node).containers().await.iter().any(|c| c.workload == "db");
        }
        assert!(!(here && there), "the database runs twice {:?} after the cut", cut.elapsed());
        stopped = stopped.or((!here).then(|| cut.elapsed()));
        elsewhere = there.then(|| cut.elapsed());
        assert!(cut.elapsed() < LONG, "the database does not come back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(stopped < elsewhere && stopped.is_some_and(|s| s < TIMEOUT + Duration::from_secs(10)), "{stopped:?}, {elsewhere:?}");
    // What may run twice goes on where it is: the node cannot know who of both is away.
    assert!(bed.running(&victim, kept).await.iter().all(|c| c.workload == "web"));
    let replaced = async || bed.instances(APP).await.iter().filter(|i| others.contains(&i.node) && i.available).count() == WEB + 1;
    bed.until("all run on the other nodes", LONG, replaced).await;
    eprintln!("cut off: database stopped after {:?}, elsewhere after {:?}; all replaced after {:?}", stopped.unwrap(), elsewhere.unwrap(), cut.elapsed());
    load.more(&others, 40).await;
    load.none_failed(&others, "the cut", BEGUN);

    bed.wire.mend(number);
    let mended = Instant::now();
    bed.until("the node is heard again", LONG, async || bed.ready_nodes().await.len() == 3).await;
    bed.until("it has given up what has moved, and nothing runs twice", LONG, async || bed.agrees(APP).await).await;
    eprintln!("back and clean {:?} after the end of the cut", mended.elapsed());
    bed.settled().await;
    load.forgive(&victim);
    load.more(&bed.names(), 40).await;
    load.none_failed(&bed.names(), "the return", 0);
    load.end().await;
    bed.finish(APP).await;
}
