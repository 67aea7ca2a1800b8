//! Total order equals visible order: no reader ever sees a position appear below one it has seen.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::fixture::{Fixture, raise};

const WRITERS: usize = 16;

#[derive(Clone, Debug)]
struct Plan {
    /// Appends per writer.
    appends: Vec<u8>,
    /// Streams they share.
    streams: u8,
    /// Which writers use the second replica.
    second: Vec<bool>,
    /// Readers start over after this many reads.
    restart_after: u8,
}

fn plans() -> impl Strategy<Value = Plan> {
    (prop::collection::vec(1u8..12, WRITERS), 1u8..6, prop::collection::vec(any::<bool>(), WRITERS), 1u8..5)
        .prop_map(|(appends, streams, second, restart_after)| Plan { appends, streams, second, restart_after })
}

#[test]
fn sixteen_writers_and_restarting_readers_see_one_gapless_order() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 6, max_shrink_iters: 0, ..Config::default() });
    runner
        .run(&plans(), |plan| {
            runtime.block_on(run(plan));
            Ok(())
        })
        .unwrap();
}

async fn run(plan: Plan) {
    let one = Fixture::new().await;
    let two = one.again().await;
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3).map(|_| tokio::spawn(read(one.log.clone(), plan.restart_after, done.clone()))).collect();
    // A slow transaction that holds the head for a while must delay the others, not reorder them.
    let slow = one.log.db().pool.clone();
    let slow = tokio::spawn(async move {
        for _ in 0..3 {
            let mut tx = slow.begin().await.unwrap();
            sqlx::query("select position from log_head for update").fetch_one(&mut *tx).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(15)).await;
            tx.rollback().await.unwrap();
        }
    });
    let writers: Vec<_> = (0..WRITERS)
        .map(|w| {
            let log = if plan.second[w] { two.log.clone() } else { one.log.clone() };
            let (appends, streams) = (plan.appends[w], plan.streams);
            tokio::spawn(async move {
                let mut positions = Vec::new();
                for n in 0..appends {
                    positions.push(log.append(raise((w as u8 + n) % streams, None, 1)).await.unwrap().position);
                }
                positions
            })
        })
        .collect();
    let mut all = Vec::new();
    for writer in writers {
        let positions = writer.await.unwrap();
        assert!(positions.windows(2).all(|p| p[0] < p[1]), "a writer's later append has a later position");
        all.extend(positions);
    }
    slow.await.unwrap();
    done.store(true, Ordering::Release);
    for reader in readers {
        assert_eq!(reader.await.unwrap(), all.len() as i64);
    }
    all.sort_unstable();
    assert_eq!(all, (1..=all.len() as i64).collect::<Vec<_>>(), "no gap, none twice");
    let mut versions: HashMap<String, i64> = HashMap::new();
    for event in one.log.read(0, 10_000).await.unwrap() {
        let version = versions.entry(event.stream.to_string()).or_default();
        *version += 1;
        assert_eq!(event.version, *version, "versions of a stream follow one another in the total order");
    }
    assert!(gantry_es_pg::verify(&one.log).await.unwrap().faults.is_empty());
}

/// Follows the log like a projection; starting over must show the same prefix again.
async fn read(log: gantry_es_pg::Log, restart_after: u8, done: Arc<AtomicBool>) -> i64 {
    let mut seen: Vec<gantry_kernel::Uuid> = Vec::new();
    let mut at = 0;
    let mut reads = 0u8;
    loop {
        let finished = done.load(Ordering::Acquire);
        for event in log.read(at, 7).await.unwrap() {
            assert_eq!(event.position, at + 1, "the next event visible is the next in order");
            let index = usize::try_from(at).unwrap();
            match seen.get(index) {
                Some(id) => assert_eq!(*id, event.id, "what was seen once stays where it was"),
                None => seen.push(event.id),
            }
            at = event.position;
        }
        if finished && log.read(at, 1).await.unwrap().is_empty() {
            return at;
        }
        reads = reads.saturating_add(1);
        if reads == restart_after && !finished {
            (reads, at) = (0, at / 2);
        }
        tokio::task::yield_now().await;
    }
}
