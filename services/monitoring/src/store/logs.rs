//! Log blocks: one row per batch of the agent, one partition a day, each batch once.

use gantry_contract::logs::{LogBatch, LogLine};
use gantry_kernel::{AppId, InstanceId, OffsetDateTime};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgPool, Postgres, QueryBuilder, Row};
use time::{Date, UtcOffset};

use crate::domain::lines;

/// Blocks read at a time.
const PAGE: i64 = 64;
/// A search that finds little stops here and says that there is more.
const MOST_BLOCKS: usize = 4_096;

/// A line with where it is from.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Line {
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// `stdout` or `stderr`.
    pub stream: String,
    pub text: String,
    #[schema(value_type = uuid::Uuid)]
    pub instance: InstanceId,
    pub workload: String,
    pub node: String,
    /// Which start of the container (0, 1, ...).
    pub attempt: i32,
}

#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub since: Option<OffsetDateTime>,
    /// Exclusive.
    pub until: Option<OffsetDateTime>,
    pub instance: Option<InstanceId>,
    pub workload: Option<String>,
    pub attempt: Option<i32>,
    pub stream: Option<String>,
    pub contains: Option<String>,
}

impl Filter {
    fn takes(&self, line: &LogLine) -> bool {
        self.since.is_none_or(|since| line.at >= since)
            && self.until.is_none_or(|until| line.at < until)
            && self.stream.as_ref().is_none_or(|stream| *stream == line.stream)
            && self.contains.as_ref().is_none_or(|text| line.text.contains(text.as_str()))
    }
}

/// The day a batch is filed under: that of its first line.
pub fn day_of(batch: &LogBatch) -> Option<Date> {
    batch.lines.first().map(|line| line.at.to_offset(UtcOffset::UTC).date())
}

/// Makes the partition of `day` if there is none, under the owner's connection.
///
/// # Errors
/// When the database refuses.
pub async fn ensure_day(admin: &PgPool, day: Date) -> Result<(), sqlx::Error> {
    let (name, next) = (partition(day), day.next_day().unwrap_or(day));
    // Nearly always; each batch asks.
    let there: bool = sqlx::query_scalar("select to_regclass($1) is not null").bind(&name).fetch_one(admin).await?;
    if there {
        return Ok(());
    }
    let sql = format!("create table if not exists {name} partition of log_blocks for values from ('{day}') to ('{next}')");
    let mut tx = admin.begin().await?;
    // `if not exists` alone can still race between two replicas.
    sqlx::query("select pg_advisory_xact_lock(7407001)").execute(&mut *tx).await?;
    sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    tx.commit().await
}

/// Drops the days before `before`. Returns how many.
///
/// # Errors
/// When the database refuses.
pub async fn drop_days(admin: &PgPool, before: Date) -> Result<usize, sqlx::Error> {
    let sql = "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'log_blocks'::regclass and c.relname < $1";
    let old: Vec<String> = sqlx::query_scalar(sql).bind(partition(before)).fetch_all(admin).await?;
    for name in &old {
        sqlx::query(AssertSqlSafe(format!("drop table {name}"))).execute(admin).await?;
    }
    Ok(old.len())
}

fn partition(day: Date) -> String {
    format!("log_blocks_{:04}{:02}{:02}", day.year(), u8::from(day.month()), day.day())
}

/// Adds batches in one transaction; a batch that is there already changes nothing.
///
/// # Errors
/// When the database refuses; then nothing was added.
pub async fn add(pool: &PgPool, batches: &[(LogBatch, Vec<u8>)]) -> Result<u64, sqlx::Error> {
    let mut tx = pool.begin().await?;
    // Numbers become visible in order, so that a follower can go on from one.
    let mut seq: i64 = sqlx::query_scalar("select seq from log_blocks_head for update").fetch_one(&mut *tx).await?;
    let mut added = 0;
    for (batch, block) in batches {
        let Some(day) = day_of(batch) else { continue };
        let times = || batch.lines.iter().map(|line| line.at);
        let done = sqlx::query(
            "insert into log_blocks (day, app, seq, workload, instance, node, attempt, file_offset, first_at, last_at, lines, block)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) on conflict do nothing",
        )
        .bind(day)
        .bind(batch.app_id.0)
        .bind(seq + 1)
        .bind(&batch.workload)
        .bind(batch.instance.0)
        .bind(&batch.node)
        .bind(i32::try_from(batch.attempt).unwrap_or(i32::MAX))
        .bind(i64::try_from(batch.offset).unwrap_or(i64::MAX))
        .bind(times().min())
        .bind(times().max())
        .bind(i32::try_from(batch.lines.len()).unwrap_or(i32::MAX))
        .bind(block)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if done > 0 {
            seq += 1;
            added += 1;
        }
    }
    sqlx::query("update log_blocks_head set seq = $1").bind(seq).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(added)
}

/// The newest `limit` lines that fit, in order of time; whether there are older ones.
///
/// # Errors
/// When the database refuses.
pub async fn newest(pool: &PgPool, app: AppId, filter: &Filter, limit: usize) -> Result<(Vec<Line>, bool), sqlx::Error> {
    let (mut found, mut edge, mut read): (Vec<Line>, Option<(OffsetDateTime, i64)>, usize) = (Vec::new(), None, 0);
    let mut more = false;
    loop {
        let mut query = select(app, filter);
        if let Some((at, seq)) = edge {
            query.push(" and (last_at, seq) < (").push_bind(at).push(", ").push_bind(seq).push(")");
        }
        query.push(" order by last_at desc, seq desc limit ").push_bind(PAGE);
        let rows = query.build().fetch_all(pool).await?;
        for row in &rows {
            found.extend(lines_of(row, filter)?);
        }
        read += rows.len();
        let Some(last) = rows.last() else { break };
        let oldest: OffsetDateTime = last.try_get("last_at")?;
        edge = Some((oldest, last.try_get("seq")?));
        // What was not read yet ends at or before `oldest`, so lines from then on are all here.
        let certain = found.iter().filter(|line| line.at > oldest).count();
        if rows.len() < usize::try_from(PAGE).unwrap_or(usize::MAX) {
            break;
        }
        if certain > limit || read >= MOST_BLOCKS {
            more = true;
            break;
        }
    }
    // Stable: lines of one instant stay in the order in which their instance printed them.
    found.sort_by_key(|line| (line.at, line.instance, line.attempt));
    let surplus = found.len().saturating_sub(limit);
    Ok((found.split_off(surplus), more || surplus > 0))
}

/// Lines of blocks after number `after`, and the number reached.
///
/// # Errors
/// When the database refuses.
pub async fn after(pool: &PgPool, app: AppId, filter: &Filter, after: i64) -> Result<(Vec<(i64, Line)>, i64), sqlx::Error> {
    let mut query = select(app, filter);
    query.push(" and seq > ").push_bind(after).push(" order by seq limit ").push_bind(PAGE);
    let (mut found, mut reached) = (Vec::new(), after);
    for row in &query.build().fetch_all(pool).await? {
        reached = row.try_get("seq")?;
        found.extend(lines_of(row, filter)?.into_iter().map(|line| (reached, line)));
    }
    Ok((found, reached))
}

/// The number of the newest block.
///
/// # Errors
/// When the database refuses.
pub async fn head(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select seq from log_blocks_head").fetch_one(pool).await
}

fn select(app: AppId, filter: &Filter) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("select seq, workload, instance, node, attempt, last_at, block from log_blocks where app = ");
    query.push_bind(app.0);
    if let Some(since) = filter.since {
        query.push(" and last_at >= ").push_bind(since);
        // A batch may run past midnight, never for a day: earlier partitions need not be opened.
        query.push(" and day >= ").push_bind(since.to_offset(UtcOffset::UTC).date().previous_day());
    }
    if let Some(until) = filter.until {
        query.push(" and first_at < ").push_bind(until);
    }
    if let Some(instance) = filter.instance {
        query.push(" and instance = ").push_bind(instance.0);
    }
    if let Some(workload) = &filter.workload {
        query.push(" and workload = ").push_bind(workload.clone());
    }
    if let Some(attempt) = filter.attempt {
        query.push(" and attempt = ").push_bind(attempt);
    }
    query
}

fn lines_of(row: &PgRow, filter: &Filter) -> Result<Vec<Line>, sqlx::Error> {
    let block: Vec<u8> = row.try_get("block")?;
    let lines = lines::unpack(&block).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let (workload, node): (String, String) = (row.try_get("workload")?, row.try_get("node")?);
    let (instance, attempt) = (InstanceId(row.try_get("instance")?), row.try_get("attempt")?);
    let line = |line: LogLine| Line { at: line.at, stream: line.stream, text: line.text, instance, workload: workload.clone(), node: node.clone(), attempt };
    Ok(lines.into_iter().filter(|l| filter.takes(l)).map(line).collect())
}
