//! Snapshots are a shortcut and never the truth.

use std::time::Duration;

use gantry_es::{Ctx, Decider, EventData, Meta, Snapshots, fold};
use gantry_es_pg::{Append, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::fixture::{Counted, Counter, Fixture, Zero, stream};

/// Like [`Counter`], but its state depends on the order, and it is kept every five events.
struct Kept;

impl Decider for Kept {
    type State = u64;
    type Command = u32;
    type Event = Counted;
    type Refusal = Zero;

    fn decide(_: &u64, by: u32, ctx: &Ctx) -> Result<Vec<Counted>, Zero> {
        Counter::decide(&0, by, ctx)
    }

    fn evolve(state: u64, event: &Counted) -> u64 {
        let Counted::Raised { by } = event;
        state.wrapping_mul(31).wrapping_add(u64::from(*by))
    }

    fn snapshots() -> Option<Snapshots<u64>> {
        Some(Snapshots::json(3).every(5))
    }
}

fn replayed(by: &[u32]) -> u64 {
    fold::<Kept>(0, &by.iter().map(|by| Counted::Raised { by: *by }).collect::<Vec<_>>())
}

type Row = (i64, i32, String, Vec<u8>);

async fn row(f: &Fixture) -> Option<Row> {
    sqlx::query_as("select version, shape, state::text, seal from snapshots").fetch_optional(&f.log.db().pool).await.unwrap()
}

/// Waits until the one snapshot there is `fits`.
async fn kept(f: &Fixture, fits: impl Fn(&Row) -> bool) -> Row {
    let look = async {
        loop {
            if let Some(row) = row(f).await.filter(&fits) {
                return row;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), look).await.expect("a snapshot is kept")
}

/// So many events in one append: the next who loads them finds no snapshot.
async fn filled(events: usize, by: u32) -> (Fixture, Store<Kept>) {
    let f = Fixture::new().await;
    let append = Append::one(stream("x"), Some(0), vec![Counted::Raised { by }.encode(); events], Meta::system());
    f.log.append(append).await.unwrap();
    let store = Store::new(f.log.clone());
    (f, store)
}

#[test]
fn a_state_from_a_snapshot_and_its_tail_equals_the_whole_replay() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let f = runtime.block_on(Fixture::new());
    let nth = std::cell::Cell::new(0);
    let histories = prop::collection::vec((1u32..1_000, any::<bool>()), 1..40);
    TestRunner::new(Config { cases: 12, max_shrink_iters: 0, ..Config::default() })
        .run(&histories, |history| {
            nth.set(nth.get() + 1);
            let id = format!("p{}", nth.get());
            runtime.block_on(async {
                let store = Store::<Kept>::new(f.log.clone());
                let mut done = Vec::new();
                for (by, look) in history {
                    let executed = store.execute(&id, by, Meta::system()).await.unwrap();
                    done.push(by);
                    assert_eq!((executed.state, executed.version), (replayed(&done), done.len() as i64));
                    if look {
                        assert_eq!(store.load(&id).await.unwrap().state, replayed(&done));
                    }
                }
            });
            Ok(())
        })
        .unwrap();
    let found: i64 = runtime.block_on(sqlx::query_scalar("select count(*) from snapshots").fetch_one(&f.log.db().pool)).unwrap();
    assert!(found > 0, "some streams were long enough for one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_saves_reading_what_came_before_it() {
    let (f, store) = filled(6, 1).await;
    store.load("x").await.unwrap();
    kept(&f, |row| row.0 == 6).await;
    // Nobody can do that through the platform: were the first events read, loading would fail.
    let ruin = "update events set kind = 'counter.unheard-of' where version < 6";
    sqlx::query(ruin).execute(&f.log.db().admin).await.unwrap();
    assert_eq!(store.load("x").await.unwrap().state, replayed(&[1; 6]));
    assert!(Store::<Counter>::new(f.log.clone()).load("x").await.is_err(), "one without snapshots reads them all");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_wrong_in_any_way_is_passed_over_and_made_anew() {
    let (f, store) = filled(7, 2).await;
    store.load("x").await.unwrap();
    let right = kept(&f, |row| row.0 == 7).await;
    assert_eq!((right.1, &right.2), (3, &replayed(&[2; 7]).to_string()));
    let wrongs = [
        "state = '12'",
        "state = '\"no number\"'",
        "version = 6",
        "version = 4000",
        "shape = 2",
        "seal = 'x'",
        "seal = sha256(convert_to(state::text, 'UTF8'))",
    ];
    for wrong in wrongs {
        sqlx::query(sqlx::AssertSqlSafe(format!("update snapshots set {wrong}"))).execute(&f.log.db().pool).await.unwrap();
        let loaded = store.load("x").await.unwrap();
        assert_eq!((loaded.state, loaded.version), (replayed(&[2; 7]), 7), "{wrong}");
        kept(&f, |row| *row == right).await;
    }
}
