//! Builds a projection anew beside the live one, which goes on serving, and swaps the two at the end.

use anyhow::Context;
use gantry_es::Recorded;
use sea_orm::{ConnectionTrait, DatabaseTransaction, TransactionTrait};
use sqlx::{AssertSqlSafe, Executor};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::db::{Db, role_of};
use crate::endless::tried;
use crate::log::Log;
use crate::projection::{Batch, Projection, Source, lock_checkpoint, save_checkpoint};
use crate::runner::OwnLog;

/// Batches in one transaction: what is half built is of no use to anybody, so it need not be kept batch by batch.
const TOGETHER: usize = 20;
/// Batches that wait to be written: events are read and made while the projection works on those before, on another thread.
const AHEAD: usize = 2;

/// Builds a projection of the own log anew and swaps; returns the position at the swap.
///
/// # Errors
/// When it is being rebuilt already, an event cannot be applied or the database refuses; the live tables are then untouched.
pub async fn rebuild(log: &Log, projection: &dyn Projection) -> anyhow::Result<i64> {
    let done = rebuild_from(&log.db, projection, &OwnLog(log.clone())).await?;
    done.ok_or_else(|| anyhow::anyhow!("projection {} is being rebuilt already", projection.name()))
}

/// The same from any source. `None`: somebody else is at it.
///
/// # Errors
/// See [`rebuild`].
pub(crate) async fn rebuild_from(db: &Db, projection: &dyn Projection, source: &dyn Source) -> anyhow::Result<Option<i64>> {
    let schema = &db.schema;
    let beside = format!("{schema}_new_{}", projection.name().replace('-', "_"));
    let role = role_of(schema);
    let mut lock = db.admin.acquire().await?;
    // Dropped half-way (a shutdown), the connection must not go back to the pool with the lock.
    lock.close_on_drop();
    let free: bool = sqlx::query_scalar("select pg_try_advisory_lock(hashtext($1))").bind(&beside).fetch_one(&mut *lock).await?;
    if !free {
        return Ok(None);
    }
    let result = build_and_swap(db, projection, source, schema, &beside, &role).await;
    if result.is_err() {
        db.admin.execute(AssertSqlSafe(format!("drop schema if exists {beside} cascade"))).await?;
    }
    result.map(Some)
}

async fn build_and_swap(db: &Db, projection: &dyn Projection, source: &dyn Source, schema: &str, beside: &str, role: &str) -> anyhow::Result<i64> {
    db.admin
        .execute(AssertSqlSafe(format!(
            "drop schema if exists {beside} cascade; create schema {beside}; set search_path to {beside}; {}; set search_path to {schema};
             grant usage on schema {beside} to {role}; grant select, insert, update, delete, truncate on all tables in schema {beside} to {role};
             grant usage, select on all sequences in schema {beside} to {role}",
            projection.ddl()
        )))
        .await?;
    let orm = db.admin_orm();
    // Nobody waits for the disk before the swap: after a crash the tables beside are begun anew, and the swap's own commit, which drops
    // tables and therefore always waits, comes after all of these in the journal.
    let path = format!("set local search_path to {beside}, {schema}; set local synchronous_commit to off");
    let mut at = (0, 0);
    // As far as the live one is, reading ahead while rows are written.
    let mut reader = Reader::start(source.again());
    let mut live: i64 = 0;
    loop {
        if at.0 >= live {
            // It has gone on meanwhile, mostly.
            live = sqlx::query_scalar("select position from projections where name = $1").bind(projection.name()).fetch_one(&db.pool).await?;
            if at.0 >= live {
                break;
            }
        }
        let mut batch = reader.next().await?;
        if batch.is_empty() {
            continue;
        }
        let tx = orm.begin().await?;
        tx.execute_unprepared(&path).await?;
        let mut left = TOGETHER;
        while let Some(last) = batch.last().map(|(event, sequence)| (event.position, *sequence)) {
            apply_all(projection, &tx, &batch).await?;
            (at, left) = (last, left - 1);
            if left == 0 || at.0 >= live {
                break;
            }
            batch = reader.next().await?;
        }
        tx.commit().await?;
    }
    drop(reader);
    // The live runner waits at this lock; what came meanwhile is little.
    let tx = orm.begin().await?;
    let (live, _) = lock_checkpoint(&tx, projection.name()).await?;
    tx.execute_unprepared(&path).await?;
    while at.0 < live {
        let batch = source.next(at.0, at.1).await?;
        // The live one waits: an emptied stream must not hold it up.
        anyhow::ensure!(!batch.is_empty(), "no event after {} can be read now, and the live tables are at {live}", at.0);
        apply_all(projection, &tx, &batch).await?;
        at = batch.last().map_or(at, |(event, sequence)| (event.position, *sequence));
    }
    for table in projection.tables() {
        tx.execute_unprepared(&format!("drop table if exists {schema}.{table} cascade")).await?;
    }
    for table in projection.tables() {
        tx.execute_unprepared(&format!("alter table {beside}.{table} set schema {schema}")).await?;
    }
    tx.execute_unprepared(&format!("drop schema {beside} cascade; set local search_path to {schema}")).await?;
    let (version, name) = (projection.version(), projection.name());
    tx.execute_unprepared(&format!("update projections set version = {version}, rebuild_since = null, rebuild_error = null where name = '{name}'")).await?;
    save_checkpoint(&tx, name, at.0, at.1).await?;
    tx.commit().await?;
    Ok(at.0)
}

/// Reads from the beginning on, a little ahead of whoever takes the batches; ends with it.
struct Reader {
    batches: mpsc::Receiver<anyhow::Result<Batch>>,
    _task: AbortOnDropHandle<()>,
}

impl Reader {
    fn start(source: Box<dyn Source>) -> Self {
        let (hand, batches) = mpsc::channel(AHEAD);
        let task = tokio::spawn(async move {
            let mut at = (0, 0);
            loop {
                let batch = source.next(at.0, at.1).await;
                let over = batch.is_err();
                if let Some((event, sequence)) = batch.as_ref().ok().and_then(|batch| batch.last()) {
                    at = (event.position, *sequence);
                }
                if hand.send(batch).await.is_err() || over {
                    return;
                }
            }
        });
        Self { batches, _task: AbortOnDropHandle::new(task) }
    }

    /// What comes next; empty when there was nothing at that time.
    async fn next(&mut self) -> anyhow::Result<Batch> {
        self.batches.recv().await.context("the events are not read any more")?
    }
}

async fn apply_all(projection: &dyn Projection, tx: &DatabaseTransaction, batch: &Batch) -> anyhow::Result<()> {
    let events: Vec<&Recorded> = batch.iter().map(|(event, _)| &**event).collect();
    let Some(first) = events.first().map(|e| e.position) else { return Ok(()) };
    // A panic is a rebuild that comes to nothing: it must not end the process, which would begin with the same one again.
    tried(projection.apply_batch(tx, &events)).await.map_err(|e| e.context(format!("rebuilding {} after {}", projection.name(), first - 1)))
}
