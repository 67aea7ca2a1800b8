//! Projections that go together: one transaction for all of them, and none waits for one that stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use gantry_es::Recorded;
use gantry_es_pg::{Progress, Projection, ProjectionRunner, checkpoints};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement};

use crate::fixture::{Counted, Fixture, raise};

const PATIENCE: Duration = Duration::from_secs(60);

struct Sum {
    name: &'static str,
    refuse: Arc<AtomicBool>,
}

#[async_trait]
impl Projection for Sum {
    fn name(&self) -> &'static str {
        self.name
    }
    fn ddl(&self) -> &'static str {
        "create table if not exists sums (name text primary key, total bigint not null)"
    }
    fn tables(&self) -> &'static [&'static str] {
        &["sums"]
    }
    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        let Counted::Raised { by } = event.decode()?;
        if by == 13 && self.refuse.load(Ordering::Relaxed) {
            anyhow::bail!("thirteen is poison");
        }
        assert!(by != 31 || !self.refuse.load(Ordering::Relaxed), "thirty-one breaks the program");
        let sql = "insert into sums values ($1, $2) on conflict (name) do update set total = sums.total + excluded.total";
        tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [self.name.into(), i64::from(by).into()])).await?;
        Ok(())
    }
}

/// Starts `first`, `second` and `third`; `refuse` is about the second.
async fn start(f: &Fixture, refuse: &Arc<AtomicBool>) -> Progress {
    let progress = Progress::default();
    let sum = |name, refuse: Arc<AtomicBool>| -> Arc<dyn Projection> { Arc::new(Sum { name, refuse }) };
    let all = vec![sum("first", Arc::default()), sum("second", refuse.clone()), sum("third", Arc::default())];
    ProjectionRunner::start_together(&f.log, all, &progress, &f.cancel, &f.tasks).await.unwrap();
    progress
}

async fn totals(f: &Fixture) -> Vec<(String, i64)> {
    sqlx::query_as("select name, total from sums order by name").fetch_all(&f.log.db().pool).await.unwrap()
}

fn all(total: i64) -> Vec<(String, i64)> {
    ["first", "second", "third"].map(|name| (name.to_owned(), total)).to_vec()
}

/// Appends until one transaction has moved all checkpoints; the sum of what was appended.
async fn until_together(f: &Fixture, progress: &Progress) -> i64 {
    let mut sum = 0;
    let together = async {
        loop {
            let position = f.log.append(raise("x", None, 1)).await.unwrap().position;
            sum += 1;
            progress.settled(position, PATIENCE).await.unwrap();
            let transactions: i64 = sqlx::query_scalar("select count(distinct xmin::text) from projections where position = $1")
                .bind(position)
                .fetch_one(&f.log.db().pool)
                .await
                .unwrap();
            if transactions == 1 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, together).await.expect("they go together");
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn projections_that_go_together_are_one_transaction_and_a_write_can_be_read_back() {
    let f = Fixture::new().await;
    let progress = start(&f, &Arc::default()).await;
    let mut sum = until_together(&f, &progress).await;
    for n in 1..=30u32 {
        let position = f.log.append(raise(n % 3, None, n)).await.unwrap().position;
        sum += i64::from(n);
        progress.settled(position, PATIENCE).await.unwrap();
        assert_eq!(totals(&f).await, all(sum));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_go_together_count_each_event_once() {
    let one = Fixture::new().await;
    let two = one.again().await;
    let (first, second) = (start(&one, &Arc::default()).await, start(&two, &Arc::default()).await);
    let (mut sum, mut last) = (0, 0);
    for n in 1..=40u32 {
        let f = if n % 2 == 0 { &one } else { &two };
        last = f.log.append(raise(n % 3, None, n)).await.unwrap().position;
        sum += i64::from(n);
    }
    first.settled(last, PATIENCE).await.unwrap();
    second.settled(last, PATIENCE).await.unwrap();
    assert_eq!(totals(&one).await, all(sum));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stands_still_holds_up_no_other_and_goes_along_again_when_it_can() {
    goes_by_itself_at(13, "thirteen is poison").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_panics_holds_up_no_other_and_goes_along_again_when_it_is_mended() {
    goes_by_itself_at(31, "thirty-one breaks the program").await;
}

/// The second does not take in `poison`, and says why.
async fn goes_by_itself_at(poison: u32, why: &str) {
    let f = Fixture::new().await;
    let refuse = Arc::new(AtomicBool::new(true));
    let progress = start(&f, &refuse).await;
    let mut sum = until_together(&f, &progress).await;
    let before = f.log.head();
    for by in [1, poison, 4] {
        f.log.append(raise("x", None, by)).await.unwrap();
        sum += i64::from(by);
    }
    let last = before + 3;
    for name in ["first", "third"] {
        let mut at = progress.watch(name).unwrap();
        tokio::time::timeout(PATIENCE, at.wait_for(|at| *at >= last)).await.expect("it waits for nobody").unwrap();
    }
    let stopped = async {
        loop {
            let second = checkpoints(f.log.db()).await.unwrap().into_iter().find(|c| c.name == "second").unwrap();
            if second.error.is_some() {
                return second;
            }
            tokio::task::yield_now().await;
        }
    };
    let stopped = tokio::time::timeout(PATIENCE, stopped).await.expect("it says why");
    assert_eq!(stopped.position, before + 1, "what came before the poison is kept");
    assert!(stopped.error.unwrap().contains(why));
    assert!(!f.cancel.is_cancelled(), "nothing else is touched");
    refuse.store(false, Ordering::Relaxed);
    progress.settled(last, PATIENCE).await.unwrap();
    assert_eq!(totals(&f).await, all(sum));
    sum += until_together(&f, &progress).await;
    assert_eq!(totals(&f).await, all(sum));
}
