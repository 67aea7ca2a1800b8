//! A log that is read in many batches, ahead of what is written.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gantry_es::{EventData, Meta, Recorded};
use gantry_es_pg::{Append, Progress, Projection, ProjectionRunner, rebuild};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement};

use crate::fixture::{Counted, Fixture, raise, stream};

/// Every event with its turn: one taken in twice, or out of order, shows.
struct Turns;

#[async_trait]
impl Projection for Turns {
    fn name(&self) -> &'static str {
        "turns"
    }
    fn ddl(&self) -> &'static str {
        "create table turns (position bigint primary key, turn bigint generated always as identity)"
    }
    fn tables(&self) -> &'static [&'static str] {
        &["turns"]
    }
    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        self.apply_batch(tx, &[event]).await
    }
    async fn apply_batch(&self, tx: &DatabaseTransaction, events: &[&Recorded]) -> anyhow::Result<()> {
        let positions: Vec<i64> = events.iter().map(|event| event.position).collect();
        let sql = "insert into turns (position) select unnest($1::bigint[])";
        tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [positions.into()])).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_batches_is_taken_in_once_and_in_order_while_events_come_in() {
    let f = Fixture::new().await;
    let progress = Progress::default();
    ProjectionRunner::start(&f.log, Arc::new(Turns), &progress, &f.cancel, &f.tasks).await.unwrap();
    for _ in 0..30 {
        let many = vec![Counted::Raised { by: 1 }.encode(); 500];
        f.log.append(Append::one(stream("x"), None, many, Meta::system())).await.unwrap();
    }
    progress.settled(15_000, Duration::from_secs(60)).await.unwrap();
    let log = f.log.clone();
    let writer = tokio::spawn(async move {
        for _ in 0..50 {
            log.append(raise("y", None, 1)).await.unwrap();
        }
    });
    let reached = rebuild(&f.log, &Turns).await.unwrap();
    assert!(reached >= 15_000, "{reached}");
    writer.await.unwrap();
    progress.settled(15_050, Duration::from_secs(60)).await.unwrap();
    // Numbers of the identity are as they were given out, and none is given twice or left out while nothing is rolled back; what the live
    // runner took in behind the swap goes on with them.
    let sql = "select count(*), coalesce(max(position), 0), count(*) filter (where turn <> position) from turns where position <= $1";
    let (rows, last, elsewhere): (i64, i64, i64) = sqlx::query_as(sql).bind(reached).fetch_one(&f.log.db().pool).await.unwrap();
    assert_eq!((rows, last, elsewhere), (reached, reached, 0));
    let all: i64 = sqlx::query_scalar("select count(*) from turns").fetch_one(&f.log.db().pool).await.unwrap();
    assert_eq!(all, 15_050);
}
