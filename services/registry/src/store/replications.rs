//! Runs of replications: what each is to do, how far it is, and what came of every item.

use gantry_kernel::{OffsetDateTime, Uuid};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement, Value};

/// One run. `rule` is as it was when the run began.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Run {
    pub id: Uuid,
    pub org: Uuid,
    pub project: Uuid,
    pub name: String,
    pub rule: serde_json::Value,
    /// `hand`, `schedule` or `event`.
    pub cause: String,
    pub dry_run: bool,
    pub by_whom: String,
    /// `waiting`, `running`, `done`, `failed` or `cancelled`.
    pub state: String,
    /// Only this repository and tag, and whether the tag is gone: an event's.
    pub only_repository: Option<String>,
    pub only_tag: Option<String>,
    pub gone: bool,
    pub planned: bool,
    /// Tags that were the same at both ends.
    pub same: i64,
    pub tries: i32,
    pub error: Option<String>,
    pub created_at: OffsetDateTime,
    pub started_at: Option<OffsetDateTime>,
    pub finished_at: Option<OffsetDateTime>,
}

impl Run {
    pub fn is_over(&self) -> bool {
        !matches!(self.state.as_str(), "waiting" | "running")
    }
}

/// One tag of a run.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Item {
    pub number: i32,
    /// At the source; without the project on our side.
    pub repository: String,
    /// At the other end.
    pub other: String,
    pub tag: String,
    pub digest: Option<String>,
    /// `copy`, `delete`, `differs`.
    pub action: String,
    /// `waiting`, `done`, `failed` or `skipped`.
    pub state: String,
    pub tries: i32,
    pub error: Option<String>,
    /// Sent over the wire.
    pub bytes: i64,
    pub blobs: i32,
    /// Blobs that were there already, or were mounted there.
    pub blobs_there: i32,
    pub finished_at: Option<OffsetDateTime>,
}

/// How many items are in which state, and what they took.
#[derive(Clone, Debug, Default, FromQueryResult)]
pub struct Counts {
    pub waiting: i64,
    pub done: i64,
    pub failed: i64,
    pub skipped: i64,
    pub bytes: i64,
}

const RUN: &str = "id, org, project, name, rule, cause, dry_run, by_whom, state, only_repository, only_tag, gone, planned, same, tries, error, created_at, started_at, finished_at";
const ITEM: &str = "number, repository, other, tag, digest, action, state, tries, error, bytes, blobs, blobs_there, finished_at";

fn statement(sql: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

/// Begins a run. `false`: the rule has one by hand or schedule that is not over, or this one was begun before.
///
/// # Errors
/// Database.
pub async fn begin(db: &impl ConnectionTrait, run: &Run) -> Result<bool, DbErr> {
    let sql = "insert into replication_runs (id, org, project, name, rule, cause, dry_run, by_whom, state, only_repository, only_tag, gone, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, 'waiting', $9, $10, $11, $12) on conflict do nothing";
    let values = [
        run.id.into(),
        run.org.into(),
        run.project.into(),
        run.name.as_str().into(),
        run.rule.clone().into(),
        run.cause.as_str().into(),
        run.dry_run.into(),
        run.by_whom.as_str().into(),
        run.only_repository.clone().into(),
        run.only_tag.clone().into(),
        run.gone.into(),
        run.created_at.into(),
    ];
    Ok(db.execute_raw(statement(sql, values)).await?.rows_affected() > 0)
}

/// # Errors
/// Database.
pub async fn find(db: &impl ConnectionTrait, project: Option<Uuid>, id: Uuid) -> Result<Option<Run>, DbErr> {
    let sql = format!("select {RUN} from replication_runs where id = $1 and ($2::uuid is null or project = $2)");
    Run::find_by_statement(statement(sql, [id.into(), project.into()])).one(db).await
}

/// Runs of a project, or of one rule of it, newest first, from before `before`.
///
/// # Errors
/// Database.
pub async fn list(db: &impl ConnectionTrait, project: Uuid, name: &str, before: Option<Uuid>, limit: u64) -> Result<Vec<Run>, DbErr> {
    let sql = format!(
        "select {RUN} from replication_runs where project = $1 and name = $2
         and ($3::uuid is null or (created_at, id) < (select b.created_at, b.id from replication_runs b where b.id = $3)) order by created_at desc, id desc limit $4"
    );
    let values = [project.into(), name.into(), before.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()];
    Run::find_by_statement(statement(sql, values)).all(db).await
}

/// # Errors
/// Database.
pub async fn started(db: &impl ConnectionTrait, id: Uuid, at: OffsetDateTime) -> Result<(), DbErr> {
    let sql = "update replication_runs set state = 'running', started_at = coalesce(started_at, $2) where id = $1 and state in ('waiting', 'running')";
    db.execute_raw(statement(sql, [id.into(), at.into()])).await.map(|_| ())
}

/// A try failed before anything could be done; how many did so far.
///
/// # Errors
/// Database.
pub async fn tried(db: &impl ConnectionTrait, id: Uuid, error: &str) -> Result<(), DbErr> {
    db.execute_raw(statement("update replication_runs set tries = tries + 1, error = $2 where id = $1", [id.into(), error.into()])).await.map(|_| ())
}

/// Ends a run that is not over. `false`: it was.
///
/// # Errors
/// Database.
pub async fn finish(db: &impl ConnectionTrait, id: Uuid, state: &str, error: Option<&str>, at: OffsetDateTime) -> Result<bool, DbErr> {
    let sql = "update replication_runs set state = $2, error = $3, finished_at = $4 where id = $1 and state in ('waiting', 'running')";
    let values = [id.into(), state.into(), error.map(str::to_owned).into(), at.into()];
    Ok(db.execute_raw(statement(sql, values)).await?.rows_affected() > 0)
}

/// Writes down what a run is to do, once.
///
/// # Errors
/// Database.
pub async fn planned(db: &impl ConnectionTrait, id: Uuid, items: &[Item], same: i64) -> Result<(), DbErr> {
    let texts = |f: fn(&Item) -> String| items.iter().map(f).collect::<Vec<String>>();
    // What there is comes from a plan that was not written down to its end.
    db.execute_raw(statement("delete from replication_items where run = $1", [id.into()])).await?;
    let sql = "with put as (
            insert into replication_items (run, number, repository, other, tag, digest, action, state)
            select $1, n, r, o, t, nullif(d, ''), a, s
            from unnest($2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[]) as i (n, r, o, t, d, a, s)
            on conflict do nothing)
        update replication_runs set planned = true, same = $9, error = null where id = $1";
    let values = [
        id.into(),
        items.iter().map(|i| i.number).collect::<Vec<i32>>().into(),
        texts(|i| i.repository.clone()).into(),
        texts(|i| i.other.clone()).into(),
        texts(|i| i.tag.clone()).into(),
        texts(|i| i.digest.clone().unwrap_or_default()).into(),
        texts(|i| i.action.clone()).into(),
        texts(|i| i.state.clone()).into(),
        same.into(),
    ];
    db.execute_raw(statement(sql, values)).await?;
    Ok(())
}

/// Items of a run after number `after`.
///
/// # Errors
/// Database.
pub async fn items(db: &impl ConnectionTrait, id: Uuid, state: Option<&str>, after: i32, limit: u64) -> Result<Vec<Item>, DbErr> {
    let sql = format!("select {ITEM} from replication_items where run = $1 and ($2::text is null or state = $2) and number > $3 order by number limit $4");
    let values = [id.into(), state.map(str::to_owned).into(), after.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()];
    Item::find_by_statement(statement(sql, values)).all(db).await
}

/// Writes down what came of an item.
///
/// # Errors
/// Database.
pub async fn came_of(db: &impl ConnectionTrait, id: Uuid, item: &Item) -> Result<(), DbErr> {
    let sql = "update replication_items set state = $3, tries = $4, error = $5, bytes = $6, blobs = $7, blobs_there = $8, finished_at = $9 where run = $1 and number = $2";
    let values = [
        id.into(),
        item.number.into(),
        item.state.as_str().into(),
        item.tries.into(),
        item.error.clone().into(),
        item.bytes.into(),
        item.blobs.into(),
        item.blobs_there.into(),
        item.finished_at.into(),
    ];
    db.execute_raw(statement(sql, values)).await.map(|_| ())
}

/// # Errors
/// Database.
pub async fn counts(db: &impl ConnectionTrait, id: Uuid) -> Result<Counts, DbErr> {
    let sql = "select count(*) filter (where state = 'waiting') as waiting, count(*) filter (where state = 'done') as done,
        count(*) filter (where state = 'failed') as failed, count(*) filter (where state = 'skipped') as skipped, coalesce(sum(bytes), 0)::bigint as bytes
        from replication_items where run = $1";
    Ok(Counts::find_by_statement(statement(sql, [id.into()])).one(db).await?.unwrap_or_default())
}

/// When the schedule of a rule was last looked at; the first time is `now`.
///
/// # Errors
/// Database.
pub async fn looked(db: &impl ConnectionTrait, project: Uuid, name: &str, now: OffsetDateTime) -> Result<OffsetDateTime, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        looked_at: OffsetDateTime,
    }
    let sql = "insert into replication_schedules as s (project, name, looked_at) values ($1, $2, $3)
        on conflict (project, name) do update set looked_at = s.looked_at returning looked_at";
    let row = Row::find_by_statement(statement(sql, [project.into(), name.into(), now.into()])).one(db).await?;
    Ok(row.map_or(now, |r| r.looked_at))
}

/// # Errors
/// Database.
pub async fn look_again(db: &impl ConnectionTrait, project: Uuid, name: &str, from: OffsetDateTime) -> Result<(), DbErr> {
    let sql = "update replication_schedules set looked_at = $3 where project = $1 and name = $2";
    db.execute_raw(statement(sql, [project.into(), name.into(), from.into()])).await.map(|_| ())
}

/// Removes reports of runs that ended before `before`.
///
/// # Errors
/// Database.
pub async fn remove_old(db: &impl ConnectionTrait, before: OffsetDateTime) -> Result<(), DbErr> {
    let sql =
        "with gone as (delete from replication_runs where finished_at < $1 returning id) delete from replication_items where run in (select id from gone)";
    db.execute_raw(statement(sql, [before.into()])).await.map(|_| ())
}
