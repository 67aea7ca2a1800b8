//! Keeps projections up to date, and rebuilds them when an operator asks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gantry_es::{DecodeError, Recorded};
use gantry_kernel::OffsetDateTime;
use sea_orm::{DatabaseConnection, DatabaseTransaction, TransactionTrait};
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::db::Db;
use crate::endless::{endless, tried};
use crate::log::Log;
use crate::progress::Progress;
use crate::projection::{Batch, Projection, Source, apply, lock_checkpoint, move_checkpoint, prepare, save_checkpoint};
use crate::rebuild::rebuild_from;
use crate::together::{Member, Together};

pub(crate) const BATCH: i64 = 1_000;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The same where nothing is wrong with the events: a database or a bus that is away comes back, and is not to be found late.
const LONGEST_PAUSE_AWAY: Duration = Duration::from_secs(3);
/// The same where a newer program wrote what this one cannot read: the replica that can takes it in for both.
const LONGEST_PAUSE_OLDER: Duration = Duration::from_secs(1);
/// For how long a checkpoint that was read is gone on from in memory: somebody else may have moved it, or want a rebuild.
const REMEMBERED: Duration = Duration::from_secs(1);

/// One transaction: take in what is after the checkpoint, and move it there. Returns the new position.
/// On a poison event, everything before it is kept, and the error names it.
///
/// # Errors
/// See [`Projection::apply`].
pub async fn run_batch(orm: &DatabaseConnection, projection: &dyn Projection, batch: &Batch) -> anyhow::Result<i64> {
    let (Some((first, _)), Some((last, sequence))) = (batch.first(), batch.last()) else { return catch_up(orm, projection, batch).await };
    let tx = orm.begin().await?;
    if !move_checkpoint(&tx, projection.name(), projection.version(), first.position - 1, last.position, *sequence).await? {
        tx.rollback().await?;
        return catch_up(orm, projection, batch).await;
    }
    let events: Vec<&Recorded> = batch.iter().map(|(event, _)| &**event).collect();
    if tried(projection.apply_batch(&tx, &events)).await.is_ok() {
        tx.commit().await?;
        return Ok(last.position);
    }
    tx.rollback().await?;
    one_by_one(orm, projection, batch).await
}

/// The same where the checkpoint is not right before the batch.
async fn catch_up(orm: &DatabaseConnection, projection: &dyn Projection, batch: &Batch) -> anyhow::Result<i64> {
    let tx = orm.begin().await?;
    let at = locked(&tx, projection).await?;
    if leaves_out(batch, at) {
        tx.rollback().await?;
        return Ok(at);
    }
    // Another replica, or a redelivery, was here before.
    let fresh: Vec<&Recorded> = batch.iter().map(|(event, _)| &**event).filter(|e| e.position > at).collect();
    let Some((last, sequence)) = batch.last().filter(|_| !fresh.is_empty()) else {
        tx.rollback().await?;
        return Ok(at);
    };
    if tried(projection.apply_batch(&tx, &fresh)).await.is_ok() {
        save_checkpoint(&tx, projection.name(), last.position, *sequence).await?;
        tx.commit().await?;
        return Ok(last.position);
    }
    tx.rollback().await?;
    one_by_one(orm, projection, batch).await
}

/// The position of the checkpoint, which nobody else moves before this transaction ends.
async fn locked(tx: &DatabaseTransaction, projection: &dyn Projection) -> anyhow::Result<i64> {
    let (at, tables) = lock_checkpoint(tx, projection.name()).await?;
    let program = projection.version();
    if tables != program {
        return Err(OtherTables { tables, program }.into());
    }
    Ok(at)
}

/// The checkpoint was set back since it was read, as by a newer version that begins anew: what comes next is not in this batch.
fn leaves_out(batch: &[(Arc<Recorded>, i64)], at: i64) -> bool {
    batch.first().is_some_and(|(event, _)| event.position > at + 1)
}

/// The same for a batch that did not go through: keeps what comes before the poison.
async fn one_by_one(orm: &DatabaseConnection, projection: &dyn Projection, batch: &[(Arc<Recorded>, i64)]) -> anyhow::Result<i64> {
    let tx = orm.begin().await?;
    let at = locked(&tx, projection).await?;
    if leaves_out(batch, at) {
        tx.rollback().await?;
        return Ok(at);
    }
    let mut reached = None;
    for (index, (event, sequence)) in batch.iter().enumerate().filter(|(_, (event, _))| event.position > at) {
        if let Err(error) = tried(apply(projection, &tx, event)).await {
            let error = error.context(Poison(format!("event {} `{}` of {} at {}", event.id, event.kind, event.stream, event.position)));
            // Whatever the failed statement left of the transaction cannot be committed: do the good part again.
            tx.rollback().await?;
            if reached.is_some() {
                Box::pin(one_by_one(orm, projection, &batch[..index])).await?;
            }
            return Err(error);
        }
        reached = Some((event.position, *sequence));
    }
    if let Some((position, sequence)) = reached {
        save_checkpoint(&tx, projection.name(), position, sequence).await?;
    }
    tx.commit().await?;
    Ok(reached.map_or(at, |(position, _)| position))
}

/// An event that a projection did not take in.
#[derive(Debug, Error)]
#[error("{0}")]
struct Poison(String);

/// Another version of the program has made the tables anew. Statements of this one may well go through there, and would leave out what is new.
#[derive(Debug, Error)]
#[error(
    "its tables are of version {tables}, and this program is for version {program}: a program of that version has to take in what comes. \
     Where this one is to stay, have it built anew (`gantry admin rebuild`)"
)]
struct OtherTables {
    tables: i32,
    program: i32,
}

/// Keeps one projection up to date until cancelled.
pub struct ProjectionRunner;

pub(crate) struct OwnLog(pub Log);

#[async_trait]
impl Source for OwnLog {
    async fn next(&self, position: i64, _: i64) -> anyhow::Result<Batch> {
        Ok(self.0.read_shared(position, BATCH).await?.into_iter().map(|event| (event, 0)).collect())
    }

    fn again(&self) -> Box<dyn Source> {
        Box::new(Self(self.0.clone()))
    }
}

impl ProjectionRunner {
    /// Starts a projection of the own log, rebuilding it first if its version was raised.
    ///
    /// # Errors
    /// When its tables cannot be made.
    pub async fn start(log: &Log, projection: Arc<dyn Projection>, progress: &Progress, cancel: &CancellationToken, tasks: &TaskTracker) -> anyhow::Result<()> {
        let report = made(log, &*projection, progress).await?;
        let wake = log.watch_head();
        let name = format!("projection {}", projection.name());
        endless(name, tasks, cancel, Self::run(log.db.clone(), Box::new(OwnLog(log.clone())), projection, report, wake, cancel.clone()));
        Ok(())
    }

    /// The same for projections that go together: events are taken in by all of them in one transaction, as long as each can. For those that
    /// take little time with an event, for each waits for the others.
    ///
    /// # Errors
    /// When their tables cannot be made.
    pub async fn start_together(
        log: &Log,
        projections: Vec<Arc<dyn Projection>>,
        progress: &Progress,
        cancel: &CancellationToken,
        tasks: &TaskTracker,
    ) -> anyhow::Result<()> {
        let mut members = Vec::with_capacity(projections.len());
        for projection in projections {
            let report = made(log, &*projection, progress).await?;
            let alone = Arc::new(watch::Sender::new(log.head()));
            let (db, source, wake, stop, keeps) = (log.db.clone(), Box::new(OwnLog(log.clone())), alone.subscribe(), cancel.clone(), alone.clone());
            let (own, told) = (projection.clone(), report.clone());
            endless(format!("projection {}", projection.name()), tasks, cancel, async move {
                Self::run(db, source, own, told, wake, stop).await;
                // Until then: it goes on by its timer even if nobody is left to wake it.
                drop(keeps);
            });
            members.push(Member { projection, report, alone });
        }
        let name = format!("projections of {} that go together", log.origin());
        endless(name, tasks, cancel, Together { log: log.clone(), members }.run(log.watch_head(), cancel.clone()));
        Ok(())
    }

    /// The loop itself, for any source. `wake` changes when there may be something to read.
    pub async fn run(
        db: Db,
        source: Box<dyn Source>,
        projection: Arc<dyn Projection>,
        report: watch::Sender<i64>,
        wake: watch::Receiver<i64>,
        cancel: CancellationToken,
    ) {
        let wanted = Notify::new();
        tokio::select! {
            () = Self::follow(&db, &*source, &*projection, report, wake, &wanted, &cancel) => {}
            never = rebuild_when(&db, &*source, &*projection, &wanted) => match never {},
        }
    }

    async fn follow(
        db: &Db,
        source: &dyn Source,
        projection: &dyn Projection,
        report: watch::Sender<i64>,
        mut wake: watch::Receiver<i64>,
        rebuild: &Notify,
        cancel: &CancellationToken,
    ) {
        let mut pause = FIRST_PAUSE;
        let mut left = None;
        // Where the last failed round stood.
        let mut stood = None;
        loop {
            wake.mark_unchanged();
            let before = *report.borrow();
            let result = tokio::select! {
                result = step(db, source, projection, rebuild, &mut left) => result,
                // A transaction cut here is rolled back: nothing is half done.
                () = cancel.cancelled() => return,
            };
            match result {
                Ok((position, more)) => {
                    (pause, stood) = (FIRST_PAUSE, None);
                    tell(&report, before, position);
                    // What was appended meanwhile is seen at `wake`; a further look for what is not there would cost every write one.
                    if source.waits() || more && *wake.borrow() > position {
                        continue;
                    }
                    tokio::select! {
                        () = cancel.cancelled() => return,
                        changed = wake.changed() => if changed.is_err() { return },
                        () = tokio::time::sleep(Duration::from_secs(2)) => {}
                    }
                }
                Err(error) => {
                    let other = error.is::<OtherTables>();
                    let older = other || error.downcast_ref::<DecodeError>().is_some_and(DecodeError::is_newer);
                    let text = format!("{error:#}");
                    let at: Option<i64> =
                        sqlx::query_scalar("select position from projections where name = $1").bind(projection.name()).fetch_one(&db.pool).await.ok();
                    // What came before the poison is in; whoever waits for that must not wait for the poison.
                    if let Some(position) = at {
                        tell(&report, before, position);
                    }
                    let moved = at.is_some() && at != stood;
                    if moved {
                        // It is another event that it stands before: what grew before the last one is no measure for this.
                        pause = FIRST_PAUSE;
                    }
                    // Mostly a program of that version is there, and takes in at once what has come: nothing stands still then.
                    if !(other && moved) {
                        stands_still(db, projection, older, text, at).await;
                    }
                    stood = at.or(stood);
                    tokio::select! {
                        () = cancel.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(match error.is::<Poison>() {
                        _ if older => LONGEST_PAUSE_OLDER,
                        true => LONGEST_PAUSE,
                        false => LONGEST_PAUSE_AWAY,
                    });
                }
            }
        }
    }
}

/// Has its tables made, or built anew where its version was raised; reports where it stands.
async fn made(log: &Log, projection: &dyn Projection, progress: &Progress) -> anyhow::Result<watch::Sender<i64>> {
    if prepare(&log.db, projection, &log.origin).await? {
        crate::rebuild::rebuild(log, projection).await?;
    }
    let at: i64 = sqlx::query_scalar("select position from projections where name = $1").bind(projection.name()).fetch_one(&log.db.pool).await?;
    Ok(progress.register(projection.name(), at))
}

/// What a round has found, unless somebody has said meanwhile that it is further: those who go together take in what they can without this runner.
fn tell(report: &watch::Sender<i64>, before: i64, position: i64) {
    report.send_if_modified(|at| {
        let counts = position >= *at || *at == before;
        if counts {
            *at = position;
        }
        counts
    });
}

/// That it stands still at this position, and why.
async fn stands_still(db: &Db, projection: &dyn Projection, older: bool, error: String, at: Option<i64>) {
    let projection = projection.name();
    // Whoever moved on meanwhile does not stand there; and what is said already is not written once more at each try.
    let sql = "update projections set error = $2, failed_at = now() where name = $1 and position = coalesce($3, position) and error is distinct from $2";
    let saved = sqlx::query(sql).bind(projection).bind(&error).bind(at).execute(&db.pool).await;
    let is_known = saved.as_ref().is_ok_and(|done| done.rows_affected() == 0);
    if !older {
        tracing::error!(projection, error, "a projection stands still and will try again");
    } else if !is_known {
        // It is tried every second, for as long as the newer version is not there.
        tracing::warn!(projection, error, "a newer version has to take in what it wrote; this one goes on behind it");
    }
    if let Err(error) = saved {
        tracing::warn!(projection, error = %error, "the projection's state could not be saved");
    }
}

/// Where a round has left the checkpoint.
#[derive(Clone, Copy)]
struct Left {
    position: i64,
    sequence: i64,
    /// When it was read last.
    read: Instant,
}

/// One round: the position reached, and whether there may be more. `left`: by the last round, and by this one if all went well.
async fn step(db: &Db, source: &dyn Source, projection: &dyn Projection, rebuild: &Notify, left: &mut Option<Left>) -> anyhow::Result<(i64, bool)> {
    let (Left { position, sequence, read }, erred) = match left.take().filter(|left| left.read.elapsed() < REMEMBERED) {
        Some(left) => (left, false),
        None => read_checkpoint(db, projection, rebuild).await?,
    };
    let batch = source.next(position, sequence).await?;
    if batch.is_empty() {
        if erred {
            // It failed at what is over, as a database that was away: nothing is left that it could stand before.
            let mended = sqlx::query("update projections set error = null, failed_at = null where name = $1 and position = $2");
            mended.bind(projection.name()).bind(position).execute(&db.pool).await?;
        }
        return Ok((position, false));
    }
    let reached = run_batch(&db.orm, projection, &batch).await?;
    *left = batch.last().filter(|(last, _)| last.position == reached).map(|(_, sequence)| Left { position: reached, sequence: *sequence, read });
    Ok((reached, true))
}

/// Where the projection stands, and whether it stands still.
async fn read_checkpoint(db: &Db, projection: &dyn Projection, rebuild: &Notify) -> anyhow::Result<(Left, bool)> {
    let read = Instant::now();
    let (position, sequence, wanted, erred): (i64, i64, bool, bool) =
        sqlx::query_as("select position, sequence, rebuild_since is not null, error is not null from projections where name = $1")
            .bind(projection.name())
            .fetch_one(&db.pool)
            .await?;
    if wanted {
        rebuild.notify_one();
    }
    Ok((Left { position, sequence, read }, erred))
}

/// Rebuilds whenever an operator wants it, while the projection goes on being followed and served.
async fn rebuild_when(db: &Db, source: &dyn Source, projection: &dyn Projection, wanted: &Notify) -> std::convert::Infallible {
    loop {
        wanted.notified().await;
        let name = projection.name();
        // The follower may have called while the last rebuild still ran: what is wanted now stands in the row.
        let since = match wanted_since(db, name).await {
            Ok(Some(since)) => since,
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(projection = name, error = %error, "whether a rebuild is wanted could not be read");
                continue;
            }
        };
        match rebuild_from(db, projection, &*source.again()).await {
            Ok(Some(position)) => tracing::info!(projection = name, event.position = position, "a projection was built anew and swapped in"),
            // Another replica is at it.
            Ok(None) => tokio::time::sleep(Duration::from_secs(2)).await,
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(projection = name, error, "a projection could not be built anew; the one before it goes on serving");
                // A request that came meanwhile is another one, and still open.
                let saved = sqlx::query("update projections set rebuild_since = null, rebuild_error = $2 where name = $1 and rebuild_since = $3");
                if let Err(error) = saved.bind(name).bind(error).bind(since).execute(&db.pool).await {
                    tracing::warn!(projection = name, error = %error, "the projection's state could not be saved");
                }
            }
        }
    }
}

async fn wanted_since(db: &Db, name: &str) -> sqlx::Result<Option<OffsetDateTime>> {
    sqlx::query_scalar("select rebuild_since from projections where name = $1").bind(name).fetch_one(&db.pool).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_earlier_does_not_take_back_what_was_said_since() {
        let report = watch::Sender::new(5);
        tell(&report, 5, 7);
        assert_eq!(*report.borrow(), 7);
        tell(&report, 5, 6);
        assert_eq!(*report.borrow(), 7, "others have come to 7 since 5 was read");
        // Set back by a newer version that begins anew.
        tell(&report, 7, 2);
        assert_eq!(*report.borrow(), 2);
    }
}
