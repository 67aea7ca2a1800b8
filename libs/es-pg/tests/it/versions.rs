//! Programs of two versions over the same tables: during an upgrade, and after going back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use gantry_es::{DecodeError, Meta, Recorded};
use gantry_es_pg::{Batch, Checkpoint, Progress, Projection, ProjectionRunner, checkpoints, prepare, request_rebuild, run_batch};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fixture::{Fixture, raise};

const LONG: Duration = Duration::from_secs(60);

/// Signs each row with its version: the statement goes through in the tables of any.
struct Signed(i32);

#[async_trait]
impl Projection for Signed {
    fn name(&self) -> &'static str {
        "signed"
    }
    fn version(&self) -> i32 {
        self.0
    }
    fn ddl(&self) -> &'static str {
        "create table signed (position bigint primary key, version integer not null)"
    }
    fn tables(&self) -> &'static [&'static str] {
        &["signed"]
    }
    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        let sql = "insert into signed (position, version) values ($1, $2)";
        tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [event.position.into(), self.0.into()])).await?;
        Ok(())
    }
}

async fn rows_by(f: &Fixture) -> Vec<(i32, i64)> {
    sqlx::query_as("select version, count(*) from signed group by version order by version").fetch_all(&f.log.db().pool).await.unwrap()
}

async fn checkpoint(f: &Fixture) -> Checkpoint {
    checkpoints(f.log.db()).await.unwrap().remove(0)
}

async fn until(f: &Fixture, is: impl Fn(&Checkpoint) -> bool) -> Checkpoint {
    let looked = async {
        loop {
            let now = checkpoint(f).await;
            if is(&now) {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, looked).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_not_taken_into_tables_of_another_version() {
    let f = Fixture::new().await;
    prepare(f.log.db(), &Signed(2), "test").await.unwrap();
    for by in [1, 2] {
        f.log.append(raise("x", None, by)).await.unwrap();
    }
    let batch: Batch = f.log.read_shared(0, 10).await.unwrap().into_iter().map(|event| (event, 0)).collect();
    for other in [1, 3] {
        let refused = run_batch(&f.log.db().orm, &Signed(other), &batch).await.unwrap_err().to_string();
        assert!(refused.contains("tables are of version 2") && refused.contains(&format!("for version {other}")), "{refused}");
        assert_eq!((checkpoint(&f).await.position, rows_by(&f).await), (0, vec![]));
    }
    assert_eq!(run_batch(&f.log.db().orm, &Signed(2), &batch).await.unwrap(), 2);
    assert_eq!(rows_by(&f).await, [(2, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_program_goes_on_behind_a_newer_one_and_alone_stands_still_until_it_is_built_anew() {
    let f = Fixture::new().await;
    let (newer, older) = (Progress::default(), Progress::default());
    let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
    ProjectionRunner::start(&f.log, Arc::new(Signed(2)), &newer, &cancel, &tasks).await.unwrap();
    ProjectionRunner::start(&f.log, Arc::new(Signed(1)), &older, &f.cancel, &f.tasks).await.unwrap();
    for by in [1, 2, 3] {
        f.log.append(raise("x", None, by)).await.unwrap();
    }
    newer.settled(3, LONG).await.unwrap();
    older.settled(3, LONG).await.unwrap();
    assert_eq!(rows_by(&f).await, [(2, 3)], "all by the one whose tables they are");

    cancel.cancel();
    tasks.close();
    tokio::time::timeout(LONG, tasks.wait()).await.unwrap();
    f.log.append(raise("x", None, 4)).await.unwrap();
    let stands = until(&f, |now| now.error.is_some()).await;
    assert!(stands.error.unwrap().contains("tables are of version 2"));
    assert_eq!((stands.position, rows_by(&f).await), (3, vec![(2, 3)]));

    // Where the operator stays with the older one.
    request_rebuild(&f.log, "signed", Meta::system()).await.unwrap();
    until(&f, |now| now.version == 1 && now.rebuild_since.is_none() && now.position == 5 && now.error.is_none()).await;
    assert_eq!(rows_by(&f).await, [(1, 5)]);
}

/// Knows no events, and counts how often it was asked to take one in.
struct Behind(Arc<AtomicU32>);

#[async_trait]
impl Projection for Behind {
    fn name(&self) -> &'static str {
        "behind"
    }
    fn ddl(&self) -> &'static str {
        "create table behind (position bigint primary key)"
    }
    fn tables(&self) -> &'static [&'static str] {
        &["behind"]
    }
    async fn apply(&self, _: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(DecodeError::Unknown { kind: event.kind.clone() }.into())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_newer_program_can_take_in_is_tried_again_and_again_but_written_down_once() {
    let f = Fixture::new().await;
    let tries = Arc::new(AtomicU32::new(0));
    ProjectionRunner::start(&f.log, Arc::new(Behind(tries.clone())), &Progress::default(), &f.cancel, &f.tasks).await.unwrap();
    f.log.append(raise("x", None, 1)).await.unwrap();
    let stands = until(&f, |now| now.error.is_some()).await;
    assert!(stands.error.unwrap().contains("it is older than the log"));
    let since = async || -> String { sqlx::query_scalar("select failed_at::text from projections").fetch_one(&f.log.db().pool).await.unwrap() };
    let (before, tried) = (since().await, tries.load(Ordering::Relaxed));
    let again = async {
        while tries.load(Ordering::Relaxed) < tried + 6 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, again).await.expect("it tries again");
    assert_eq!(since().await, before);
}
