//! Projections of the own log that go together: what they all take in of the same events is one transaction instead of one each. A write that
//! waits for seven of them waits for two round trips less of six.
//!
//! Each keeps its own checkpoint and its own runner. Who is far behind, stands at an event that it cannot take in, or is moved by somebody
//! else meanwhile goes by itself until that is over: checkpoints move from where they were read or not at all, so nothing counts twice.

use std::sync::Arc;
use std::time::Duration;

use gantry_es::Recorded;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement, TransactionTrait};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::endless::tried;
use crate::log::Log;
use crate::projection::Projection;
use crate::runner::BATCH;

/// How long all go by themselves after they could not go together, and the longest that one of them does before it is asked again.
const APART: Duration = Duration::from_secs(1);
/// How often in a row somebody else may have moved a checkpoint first, as another replica that is as fast.
const MISSES: u32 = 3;

/// One of those who go together.
pub(crate) struct Member {
    pub projection: Arc<dyn Projection>,
    /// How far it is, for whoever waits for it.
    pub report: watch::Sender<i64>,
    /// Wakes its own runner.
    pub alone: Arc<watch::Sender<i64>>,
}

pub(crate) struct Together {
    pub log: Log,
    pub members: Vec<Member>,
}

/// Where the members stand, in their order. None: it goes by itself.
struct Standing {
    at: Vec<Option<i64>>,
    read: Instant,
}

impl Standing {
    /// Whether it is time to ask whether those who go by themselves still must.
    fn is_old(&self) -> bool {
        self.at.iter().any(Option::is_none) && self.read.elapsed() >= APART
    }
}

/// What became of a round.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    /// Up to here; there was something to take in.
    Reached(i64),
    Nothing,
    /// Somebody else moved a checkpoint.
    Missed,
}

impl Together {
    pub async fn run(self, mut wake: watch::Receiver<i64>, cancel: CancellationToken) {
        let (mut standing, mut apart, mut misses) = (None, None::<Instant>, 0);
        loop {
            wake.mark_unchanged();
            if apart.is_none_or(|since| since.elapsed() >= APART) {
                let round = tokio::select! {
                    round = self.round(&mut standing) => round,
                    // A transaction cut here is rolled back: nothing is half done.
                    () = cancel.cancelled() => return,
                };
                apart = None;
                match round {
                    Ok(Round::Reached(position)) => {
                        misses = 0;
                        self.wake_lonely(standing.as_ref());
                        if *wake.borrow() > position {
                            continue;
                        }
                    }
                    Ok(Round::Nothing) => {
                        misses = 0;
                        self.wake_lonely(standing.as_ref());
                    }
                    Ok(Round::Missed) if misses < MISSES => {
                        (standing, misses) = (None, misses + 1);
                        continue;
                    }
                    Ok(Round::Missed) => (standing, misses, apart) = (None, 0, Some(Instant::now())),
                    // Each by itself finds out who cannot go on, and says why.
                    Err(error) => {
                        tracing::debug!(error = format!("{error:#}"), "projections go by themselves for a while");
                        (standing, apart) = (None, Some(Instant::now()));
                    }
                }
            }
            if apart.is_some() {
                self.wake_lonely(None);
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = wake.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(Duration::from_secs(2)) => {}
            }
        }
    }

    /// Wakes the runners of those who go by themselves; all of them where it is not known.
    fn wake_lonely(&self, standing: Option<&Standing>) {
        let head = self.log.head();
        for (nth, member) in self.members.iter().enumerate() {
            if standing.is_none_or(|standing| standing.at[nth].is_none()) {
                member.alone.send_replace(head);
            }
        }
    }

    /// Takes in what comes after the one that is least far, each what it has not had yet.
    async fn round(&self, known: &mut Option<Standing>) -> anyhow::Result<Round> {
        if known.as_ref().is_none_or(Standing::is_old) {
            *known = Some(self.read_standing().await?);
        }
        let Some(standing) = known else { return Ok(Round::Nothing) };
        let Some(from) = standing.at.iter().flatten().min().copied() else { return Ok(Round::Nothing) };
        let batch = self.log.read_shared(from, BATCH).await?;
        let Some(last) = batch.last().map(|event| event.position) else { return Ok(Round::Nothing) };
        let going: Vec<(usize, i64)> = standing.at.iter().enumerate().filter_map(|(nth, at)| Some((nth, at.filter(|at| *at < last)?))).collect();
        let tx = self.log.db.orm.begin().await?;
        let expected: Vec<Expected<'_>> = going.iter().map(|(nth, at)| Expected::of(&*self.members[*nth].projection, *at)).collect();
        if !move_checkpoints(&tx, &expected, last).await? {
            tx.rollback().await?;
            return Ok(Round::Missed);
        }
        for (nth, at) in &going {
            let events: Vec<&Recorded> = batch.iter().map(|event| &**event).filter(|event| event.position > *at).collect();
            let projection = &self.members[*nth].projection;
            // One that panics goes by itself like one that fails, and says there at which event.
            tried(projection.apply_batch(&tx, &events)).await.map_err(|error| error.context(projection.name()))?;
        }
        tx.commit().await?;
        for (nth, _) in going {
            standing.at[nth] = Some(last);
            self.report(nth, last);
        }
        Ok(Round::Reached(last))
    }

    /// Who can go along: not those whose tables are another version's or who stand at an error, and not those who have far to go, for whom the others would wait.
    async fn read_standing(&self) -> anyhow::Result<Standing> {
        let (read, head) = (Instant::now(), self.log.head());
        let names: Vec<&str> = self.members.iter().map(|member| member.projection.name()).collect();
        let sql = "select name, position, version, error is not null from projections where name = any($1)";
        let rows: Vec<(String, i64, i32, bool)> = sqlx::query_as(sql).bind(&names).fetch_all(&self.log.db.pool).await?;
        let at = |member: &Member| {
            let (name, version) = (member.projection.name(), member.projection.version());
            rows.iter().find(|row| row.0 == name && row.2 == version).filter(|row| !row.3 && row.1 >= head - BATCH).map(|row| row.1)
        };
        let standing = Standing { at: self.members.iter().map(at).collect(), read };
        for (nth, at) in standing.at.iter().enumerate() {
            // Another replica may have taken in what this one was waiting for.
            if let Some(at) = at {
                self.report(nth, *at);
            }
        }
        Ok(standing)
    }

    /// Its own runner may be further.
    fn report(&self, nth: usize, position: i64) {
        self.members[nth].report.send_if_modified(|at| {
            let further = position > *at;
            if further {
                *at = position;
            }
            further
        });
    }
}

/// Where a checkpoint is expected, and tables of which version.
struct Expected<'a> {
    name: &'a str,
    at: i64,
    version: i32,
}

impl<'a> Expected<'a> {
    fn of(projection: &'a dyn Projection, at: i64) -> Self {
        Self { name: projection.name(), at, version: projection.version() }
    }
}

/// Moves all of these checkpoints from where they are expected to `position`, or none of them: also not where another version of the program
/// has made its tables meanwhile. Nobody else moves them before this transaction
/// ends, whose commit does not wait for the disk (see `projection::move_checkpoint`).
async fn move_checkpoints(tx: &DatabaseTransaction, expected: &[Expected<'_>], position: i64) -> Result<bool, DbErr> {
    // Locked in one order everywhere, or two replicas could wait for each other.
    let sql = "with mine as (
            select p.name from projections p join unnest($1::text[], $2::bigint[], $5::int[]) e(name, at, version)
                on p.name = e.name and p.position = e.at and p.version = e.version
            order by p.name for update of p)
        update projections p set position = $3, error = null, failed_at = null from mine
        where p.name = mine.name and (select count(*) from mine) = $4
        returning set_config('synchronous_commit', 'off', true)";
    let names: Vec<String> = expected.iter().map(|one| one.name.to_owned()).collect();
    let at: Vec<i64> = expected.iter().map(|one| one.at).collect();
    let versions: Vec<i32> = expected.iter().map(|one| one.version).collect();
    let count = i64::try_from(expected.len()).unwrap_or(i64::MAX);
    let values = [names.into(), at.into(), position.into(), count.into(), versions.into()];
    Ok(!tx.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?.is_empty())
}
