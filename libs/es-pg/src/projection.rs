//! Read models: rows and checkpoint move in one transaction, so each event counts exactly once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gantry_es::Recorded;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, Statement, TransactionTrait};
use sqlx::{AssertSqlSafe, Executor};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::db::Db;
use crate::log::Log;
use crate::progress::Progress;
use crate::trace::Trace;

const BATCH: i64 = 500;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A read model built from one log, its own or another service's.
#[async_trait]
pub trait Projection: Send + Sync + 'static {
    /// Stable; the checkpoint's key.
    fn name(&self) -> &'static str;

    /// Raise it when `ddl` or `apply` changes: the tables are then built anew beside the old ones.
    fn version(&self) -> i32 {
        1
    }

    /// `create table` and `create index` statements without schema names.
    fn ddl(&self) -> &'static str;

    /// The tables that `ddl` makes.
    fn tables(&self) -> &'static [&'static str];

    /// Takes in one event. Must touch nothing but `tx` and must be deterministic.
    ///
    /// # Errors
    /// Stops this projection at this event until it can be applied; nothing is skipped.
    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()>;
}

/// Where a projection stands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Checkpoint {
    pub name: String,
    pub version: i32,
    /// The service whose events it takes.
    pub source: String,
    /// The last position taken in.
    pub position: i64,
    pub sequence: i64,
    /// Why it stands still, if it does.
    pub error: Option<String>,
}

/// All checkpoints of a service.
///
/// # Errors
/// When the database refuses.
pub async fn checkpoints(db: &Db) -> Result<Vec<Checkpoint>, sqlx::Error> {
    let sql = "select name, version, source, position, sequence, error from projections order by name";
    let rows: Vec<(String, i32, String, i64, i64, Option<String>)> = sqlx::query_as(sql).fetch_all(&db.pool).await?;
    let checkpoint = |(name, version, source, position, sequence, error)| Checkpoint { name, version, source, position, sequence, error };
    Ok(rows.into_iter().map(checkpoint).collect())
}

/// Makes tables and checkpoint where they are missing. `Ok(true)`: an older version stands, and a rebuild is due.
///
/// # Errors
/// When the database refuses.
pub async fn prepare(db: &Db, projection: &dyn Projection, source: &str) -> Result<bool, sqlx::Error> {
    let mut tx = db.admin.begin().await?;
    tx.execute("select pg_advisory_xact_lock(7203302)").await?;
    let version: Option<i32> = sqlx::query_scalar("select version from projections where name = $1").bind(projection.name()).fetch_optional(&mut *tx).await?;
    if version.is_none() {
        tx.execute(AssertSqlSafe(projection.ddl().to_owned())).await?;
        sqlx::query("insert into projections (name, version, source) values ($1, $2, $3)")
            .bind(projection.name())
            .bind(projection.version())
            .bind(source)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(version.is_some_and(|v| v < projection.version()))
}

/// Events to take in, with the JetStream sequence of each (0 for the own log).
pub type Batch = Vec<(Recorded, i64)>;

/// What feeds a runner.
#[async_trait]
pub trait Source: Send + Sync {
    /// Events after the checkpoint, in order; empty when there are none now.
    async fn next(&self, position: i64, sequence: i64) -> anyhow::Result<Batch>;

    /// Whether `next` itself waits for news, so that the runner need not.
    fn waits(&self) -> bool {
        false
    }
}

/// One transaction: lock the checkpoint, take in what is after it. Returns the new position.
/// On a poison event, everything before it is kept, and the error names it.
///
/// # Errors
/// See [`Projection::apply`].
pub async fn run_batch(orm: &DatabaseConnection, projection: &dyn Projection, batch: &Batch) -> anyhow::Result<i64> {
    let mut upto = batch.len();
    loop {
        let tx = orm.begin().await?;
        let at = lock_checkpoint(&tx, projection.name()).await?;
        let mut position = at;
        let mut sequence = None;
        let mut poison = None;
        for (index, (event, stream_sequence)) in batch[..upto].iter().enumerate() {
            // Another replica, or a redelivery, was here before.
            if event.position <= position {
                continue;
            }
            if let Err(error) = apply(projection, &tx, event).await {
                poison = Some((index, error.context(format!("event {} `{}` of {} at {}", event.id, event.kind, event.stream, event.position))));
                break;
            }
            position = event.position;
            sequence = Some(*stream_sequence);
        }
        if let Some((index, error)) = poison {
            tx.rollback().await?;
            if index == 0 || upto == index {
                return Err(error);
            }
            // Keep what came before the poison, then meet it alone.
            upto = index;
            let kept = Box::pin(run_batch(orm, projection, &batch[..upto].to_vec())).await;
            return kept.and(Err(error));
        }
        if let Some(sequence) = sequence {
            save_checkpoint(&tx, projection.name(), position, sequence).await?;
        }
        tx.commit().await?;
        return Ok(position);
    }
}

/// Taking an event in is the last part of the trace that wrote it.
async fn apply(projection: &dyn Projection, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
    let Some(trace) = event.meta.trace.as_deref().and_then(|t| t.parse::<Trace>().ok()) else { return projection.apply(tx, event).await };
    let span =
        tracing::debug_span!(target: "trace", "projection", otel.name = projection.name(), otel.kind = "consumer", event.kind = event.kind, event.position);
    trace.adopt(&span);
    let trace = Trace::of(&span).unwrap_or(trace);
    trace.around(projection.apply(tx, event)).instrument(span).await
}

pub(crate) async fn lock_checkpoint(tx: &DatabaseTransaction, name: &str) -> Result<i64, DbErr> {
    let sql = "select position from projections where name = $1 for update";
    let row = tx.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [name.into()])).await?;
    row.ok_or_else(|| DbErr::RecordNotFound(format!("projection {name}")))?.try_get("", "position")
}

pub(crate) async fn save_checkpoint(tx: &DatabaseTransaction, name: &str, position: i64, sequence: i64) -> Result<(), DbErr> {
    let sql = "update projections set position = $2, sequence = $3, error = null, failed_at = null where name = $1";
    let values = [name.into(), position.into(), sequence.into()];
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}

/// Keeps one projection up to date until cancelled.
pub struct ProjectionRunner;

struct OwnLog(Log);

#[async_trait]
impl Source for OwnLog {
    async fn next(&self, position: i64, _: i64) -> anyhow::Result<Batch> {
        Ok(self.0.read(position, BATCH).await?.into_iter().map(|event| (event, 0)).collect())
    }
}

impl ProjectionRunner {
    /// Starts a projection of the own log, rebuilding it first if its version was raised.
    ///
    /// # Errors
    /// When its tables cannot be made.
    pub async fn start(log: &Log, projection: Arc<dyn Projection>, progress: &Progress, cancel: &CancellationToken, tasks: &TaskTracker) -> anyhow::Result<()> {
        if prepare(&log.db, &*projection, &log.origin).await? {
            crate::rebuild::rebuild(log, &*projection).await?;
        }
        let at: i64 = sqlx::query_scalar("select position from projections where name = $1").bind(projection.name()).fetch_one(&log.db.pool).await?;
        let report = progress.register(projection.name(), at);
        let wake = log.watch_head();
        tasks.spawn(Self::run(log.db.clone(), Box::new(OwnLog(log.clone())), projection, report, wake, cancel.clone()));
        Ok(())
    }

    /// The loop itself, for any source. `wake` changes when there may be something to read.
    pub async fn run(
        db: Db,
        source: Box<dyn Source>,
        projection: Arc<dyn Projection>,
        report: watch::Sender<i64>,
        mut wake: watch::Receiver<i64>,
        cancel: CancellationToken,
    ) {
        let mut pause = Duration::from_millis(100);
        loop {
            wake.mark_unchanged();
            let result = tokio::select! {
                result = step(&db, &*source, &*projection) => result,
                // A transaction cut here is rolled back: nothing is half done.
                () = cancel.cancelled() => return,
            };
            match result {
                Ok((position, more)) => {
                    pause = Duration::from_millis(100);
                    report.send_replace(position);
                    if more || source.waits() {
                        continue;
                    }
                    tokio::select! {
                        () = cancel.cancelled() => return,
                        changed = wake.changed() => if changed.is_err() { return },
                        () = tokio::time::sleep(Duration::from_secs(2)) => {}
                    }
                }
                Err(error) => {
                    tracing::error!(projection = projection.name(), error = format!("{error:#}"), "a projection stands still and will try again");
                    // What came before the poison is in; whoever waits for that must not wait for the poison.
                    let saved = sqlx::query_scalar("update projections set error = $2, failed_at = now() where name = $1 returning position")
                        .bind(projection.name())
                        .bind(format!("{error:#}"))
                        .fetch_one(&db.pool)
                        .await;
                    match saved {
                        Ok(position) => {
                            report.send_replace(position);
                        }
                        Err(error) => tracing::warn!(projection = projection.name(), error = %error, "the projection's state could not be saved"),
                    }
                    tokio::select! {
                        () = cancel.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

/// One round: the position reached, and whether there may be more.
async fn step(db: &Db, source: &dyn Source, projection: &dyn Projection) -> anyhow::Result<(i64, bool)> {
    let (position, sequence): (i64, i64) =
        sqlx::query_as("select position, sequence from projections where name = $1").bind(projection.name()).fetch_one(&db.pool).await?;
    let batch = source.next(position, sequence).await?;
    if batch.is_empty() {
        return Ok((position, false));
    }
    Ok((run_batch(&db.orm, projection, &batch).await?, true))
}

/// An operator passes over one event that a projection cannot take in: recorded in the log, then done.
///
/// # Errors
/// When the projection does not stand right before `position`.
pub async fn skip(log: &Log, name: &str, position: i64, meta: gantry_es::Meta) -> anyhow::Result<()> {
    let event =
        gantry_es::NewEvent { kind: "projection.event-skipped".into(), kind_version: 1, data: serde_json::json!({ "projection": name, "position": position }) };
    let changed =
        sqlx::query_scalar::<_, i64>("select position from projections where name = $1 and error is not null").bind(name).fetch_optional(&log.db.pool).await?;
    anyhow::ensure!(changed.is_some_and(|at| at < position), "projection {name} does not stand still before position {position}");
    log.append(crate::Append::one(gantry_es::StreamId::new("projection", name), None, vec![event], meta)).await?;
    sqlx::query("update projections set position = $2, error = null where name = $1 and position < $2").bind(name).bind(position).execute(&log.db.pool).await?;
    Ok(())
}
