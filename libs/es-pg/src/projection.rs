//! Read models: rows and checkpoint move in one transaction, so each event counts exactly once.

use std::sync::Arc;

use async_trait::async_trait;
use gantry_es::Recorded;
use gantry_kernel::OffsetDateTime;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};
use sqlx::{AssertSqlSafe, Executor};
use tracing::Instrument;

use crate::db::Db;
use crate::trace::Trace;

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
    /// Stops this projection at this event until it can be applied, as does a panic; nothing is skipped.
    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()>;

    /// Takes in several events, oldest first, with the same outcome as one after the other. Worth its own code where one
    /// statement can write many rows.
    ///
    /// # Errors
    /// As [`Projection::apply`]; the events are then tried one by one, to find the one that cannot be taken in.
    async fn apply_batch(&self, tx: &DatabaseTransaction, events: &[&Recorded]) -> anyhow::Result<()> {
        one_after_another(self, tx, events).await
    }
}

/// What [`Projection::apply_batch`] does by itself: for whoever has a shorter way for some batches only.
///
/// # Errors
/// As [`Projection::apply`].
pub async fn one_after_another<P: Projection + ?Sized>(projection: &P, tx: &DatabaseTransaction, events: &[&Recorded]) -> anyhow::Result<()> {
    for event in events {
        apply(projection, tx, event).await?;
    }
    Ok(())
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
    /// Since when a rebuild is wanted or under way.
    #[serde(skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub rebuild_since: Option<OffsetDateTime>,
    /// Why the last rebuild came to nothing; the tables before it stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rebuild_error: Option<String>,
}

/// All checkpoints of a service.
///
/// # Errors
/// When the database refuses.
pub async fn checkpoints(db: &Db) -> Result<Vec<Checkpoint>, sqlx::Error> {
    let sql = "select name, version, source, position, sequence, error, rebuild_since, rebuild_error from projections order by name";
    type Row = (String, i32, String, i64, i64, Option<String>, Option<OffsetDateTime>, Option<String>);
    let rows: Vec<Row> = sqlx::query_as(sql).fetch_all(&db.pool).await?;
    let checkpoint = |(name, version, source, position, sequence, error, rebuild_since, rebuild_error)| Checkpoint {
        name,
        version,
        source,
        position,
        sequence,
        error,
        rebuild_since,
        rebuild_error,
    };
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

/// Events to take in, with the JetStream sequence of each (0 for the own log). Shared, because each projection of a log has them.
pub type Batch = Vec<(Arc<Recorded>, i64)>;

/// What feeds a runner.
#[async_trait]
pub trait Source: Send + Sync {
    /// Events after the checkpoint, in order; empty when there are none now.
    async fn next(&self, position: i64, sequence: i64) -> anyhow::Result<Batch>;

    /// Another reader of the same events, for a rebuild beside this one.
    fn again(&self) -> Box<dyn Source>;

    /// Whether `next` itself waits for news, so that the runner need not.
    fn waits(&self) -> bool {
        false
    }
}

/// Takes in one event as the last part of the trace that wrote it. For [`Projection::apply_batch`], where events come alone.
///
/// # Errors
/// See [`Projection::apply`].
pub async fn apply<P: Projection + ?Sized>(projection: &P, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
    let Some(trace) = event.meta.trace.as_deref().and_then(|t| t.parse::<Trace>().ok()) else { return projection.apply(tx, event).await };
    let span =
        tracing::debug_span!(target: "trace", "projection", otel.name = projection.name(), otel.kind = "consumer", event.kind = event.kind, event.position);
    if span.is_disabled() {
        // Nobody collects spans: only what is written because of this event belongs to its trace.
        return trace.around(projection.apply(tx, event)).await;
    }
    trace.adopt(&span);
    let trace = Trace::of(&span).unwrap_or(trace);
    trace.around(projection.apply(tx, event)).instrument(span).await
}

/// Moves the checkpoint from `from` to `position`; `false`: it is somewhere else, or its tables are of another version than `version`.
/// Nobody else moves it before this transaction ends.
///
/// The transaction's commit then does not wait for the disk: rows and checkpoint are lost together or not at all, and what a power cut
/// takes away is taken in once more from the log, which was on the disk before. Whatever is committed later, and does wait, is on the disk
/// only after this is.
pub(crate) async fn move_checkpoint(tx: &DatabaseTransaction, name: &str, version: i32, from: i64, position: i64, sequence: i64) -> Result<bool, DbErr> {
    let sql = "update projections set position = $2, sequence = $3, error = null, failed_at = null where name = $1 and position = $4 and version = $5
               returning set_config('synchronous_commit', 'off', true)";
    let values = [name.into(), position.into(), sequence.into(), from.into(), version.into()];
    Ok(tx.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?.is_some())
}

/// Keeps others from moving the checkpoint before this transaction ends, whose commit does not wait for the disk either. Gives its
/// position and the version of its tables.
pub(crate) async fn lock_checkpoint(tx: &DatabaseTransaction, name: &str) -> Result<(i64, i32), DbErr> {
    let sql = "select position, version, set_config('synchronous_commit', 'off', true) from projections where name = $1 for update";
    let row = tx.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [name.into()])).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound(format!("projection {name}")))?;
    Ok((row.try_get("", "position")?, row.try_get("", "version")?))
}

pub(crate) async fn save_checkpoint(tx: &DatabaseTransaction, name: &str, position: i64, sequence: i64) -> Result<(), DbErr> {
    let sql = "update projections set position = $2, sequence = $3, error = null, failed_at = null where name = $1";
    let values = [name.into(), position.into(), sequence.into()];
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}
