//! What webhooks were told, or are to be, and how the receivers are.

use gantry_kernel::{OffsetDateTime, Uuid};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement, Value};

/// One event for one receiver.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Delivery {
    pub id: Uuid,
    pub org: Uuid,
    pub project: Uuid,
    pub webhook: String,
    /// The CloudEvents type.
    pub kind: String,
    /// As it is sent and signed.
    pub body: String,
    /// `waiting`, `delivered` or `dead`.
    pub state: String,
    pub tries: i32,
    pub due_at: OffsetDateTime,
    pub created_at: OffsetDateTime,
    pub ended_at: Option<OffsetDateTime>,
    /// Of the last try.
    pub status: Option<i32>,
    pub error: Option<String>,
    /// The last tries: when, status, error, milliseconds, the beginning of the answer.
    pub log: serde_json::Value,
}

/// How a receiver is.
#[derive(Clone, Debug, Default, FromQueryResult)]
pub struct State {
    /// In a row, over all events.
    pub failures: i32,
    pub paused_at: Option<OffsetDateTime>,
    pub why: Option<String>,
}

/// How much waits and how much was given up.
#[derive(Clone, Copy, Debug, Default, FromQueryResult)]
pub struct Counts {
    pub waiting: i64,
    pub delivered: i64,
    pub dead: i64,
}

const COLUMNS: &str = "id, org, project, webhook, kind, body, state, tries, due_at, created_at, ended_at, status, error, log";
/// Tries that the log remembers.
const LOGGED: i32 = 20;

fn statement(sql: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

/// Puts down what is to be told. `false`: it was before.
///
/// # Errors
/// Database.
pub async fn put(db: &impl ConnectionTrait, d: &Delivery) -> Result<bool, DbErr> {
    let sql =
        "insert into webhook_deliveries (id, org, project, webhook, kind, body, state, due_at, created_at) values ($1, $2, $3, $4, $5, $6, 'waiting', $7, $8)
        on conflict (id) do nothing";
    let values = [
        d.id.into(),
        d.org.into(),
        d.project.into(),
        d.webhook.as_str().into(),
        d.kind.as_str().into(),
        d.body.as_str().into(),
        d.due_at.into(),
        d.created_at.into(),
    ];
    Ok(db.execute_raw(statement(sql, values)).await?.rows_affected() > 0)
}

/// # Errors
/// Database.
pub async fn find(db: &impl ConnectionTrait, project: Option<Uuid>, id: Uuid) -> Result<Option<Delivery>, DbErr> {
    let sql = format!("select {COLUMNS} from webhook_deliveries where id = $1 and ($2::uuid is null or project = $2)");
    Delivery::find_by_statement(statement(sql, [id.into(), project.into()])).one(db).await
}

/// What a webhook was told, newest first, from before `before`.
///
/// # Errors
/// Database.
pub async fn list(
    db: &impl ConnectionTrait,
    project: Uuid,
    webhook: &str,
    state: Option<&str>,
    before: Option<Uuid>,
    limit: u64,
) -> Result<Vec<Delivery>, DbErr> {
    let sql = format!(
        "select {COLUMNS} from webhook_deliveries where project = $1 and webhook = $2 and ($3::text is null or state = $3)
         and ($4::uuid is null or (created_at, id) < (select b.created_at, b.id from webhook_deliveries b where b.id = $4)) order by created_at desc, id desc limit $5"
    );
    let values = [project.into(), webhook.into(), state.map(str::to_owned).into(), before.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()];
    Delivery::find_by_statement(statement(sql, values)).all(db).await
}

/// What one try came to.
pub struct Tried<'a> {
    /// `waiting`, `delivered` or `dead`.
    pub state: &'a str,
    pub due_at: OffsetDateTime,
    pub ended_at: Option<OffsetDateTime>,
    pub status: Option<i32>,
    pub error: Option<String>,
    pub entry: serde_json::Value,
}

/// # Errors
/// Database.
pub async fn tried(db: &impl ConnectionTrait, id: Uuid, tried: Tried<'_>) -> Result<(), DbErr> {
    let sql = "update webhook_deliveries set state = $2, tries = tries + 1, due_at = $3, ended_at = $4, status = $5, error = $6,
        log = (case when jsonb_array_length(log) >= $8 then log - 0 else log end) || jsonb_build_array($7::jsonb) where id = $1";
    let values =
        [id.into(), tried.state.into(), tried.due_at.into(), tried.ended_at.into(), tried.status.into(), tried.error.into(), tried.entry.into(), LOGGED.into()];
    db.execute_raw(statement(sql, values)).await.map(|_| ())
}

/// What is due, of receivers that are not paused.
///
/// # Errors
/// Database.
pub async fn due(db: &impl ConnectionTrait, now: OffsetDateTime, limit: i64) -> Result<Vec<Uuid>, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        id: Uuid,
    }
    let sql = "select d.id from webhook_deliveries d left join webhook_states s on s.project = d.project and s.name = d.webhook
        where d.state = 'waiting' and d.due_at <= $1 and s.paused_at is null order by d.due_at limit $2";
    Ok(Row::find_by_statement(statement(sql, [now.into(), limit.into()])).all(db).await?.into_iter().map(|r| r.id).collect())
}

/// # Errors
/// Database.
pub async fn counts(db: &impl ConnectionTrait, project: Uuid, webhook: &str) -> Result<Counts, DbErr> {
    let sql = "select count(*) filter (where state = 'waiting') as waiting, count(*) filter (where state = 'delivered') as delivered,
        count(*) filter (where state = 'dead') as dead from webhook_deliveries where project = $1 and webhook = $2";
    Ok(Counts::find_by_statement(statement(sql, [project.into(), webhook.into()])).one(db).await?.unwrap_or_default())
}

/// Has what ended in `state` (or anything that ended) since `since` told once more. The same ids: receivers know repetitions by them.
///
/// # Errors
/// Database.
pub async fn replay(
    db: &impl ConnectionTrait,
    project: Uuid,
    webhook: &str,
    state: Option<&str>,
    since: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Result<u64, DbErr> {
    let sql = "update webhook_deliveries set state = 'waiting', tries = 0, due_at = $5, ended_at = null
        where project = $1 and webhook = $2 and state <> 'waiting' and ($3::text is null or state = $3) and ($4::timestamptz is null or created_at >= $4)";
    let values = [project.into(), webhook.into(), state.map(str::to_owned).into(), since.into(), now.into()];
    Ok(db.execute_raw(statement(sql, values)).await?.rows_affected())
}

/// # Errors
/// Database.
pub async fn replay_one(db: &impl ConnectionTrait, id: Uuid, now: OffsetDateTime) -> Result<(), DbErr> {
    let sql = "update webhook_deliveries set state = 'waiting', tries = 0, due_at = $2, ended_at = null where id = $1";
    db.execute_raw(statement(sql, [id.into(), now.into()])).await.map(|_| ())
}

/// # Errors
/// Database.
pub async fn state(db: &impl ConnectionTrait, project: Uuid, name: &str) -> Result<State, DbErr> {
    let sql = "select failures, paused_at, why from webhook_states where project = $1 and name = $2";
    Ok(State::find_by_statement(statement(sql, [project.into(), name.into()])).one(db).await?.unwrap_or_default())
}

/// The receiver answered well, or was resumed: it starts anew.
///
/// # Errors
/// Database.
pub async fn well(db: &impl ConnectionTrait, project: Uuid, name: &str) -> Result<(), DbErr> {
    let sql = "delete from webhook_states where project = $1 and name = $2";
    db.execute_raw(statement(sql, [project.into(), name.into()])).await.map(|_| ())
}

/// The receiver failed once more; with `most` in a row, or when it says that it is gone, it is paused. Whether it is now.
///
/// # Errors
/// Database.
pub async fn failed(db: &impl ConnectionTrait, project: Uuid, name: &str, why: &str, most: i32, now: OffsetDateTime) -> Result<bool, DbErr> {
    let sql = "insert into webhook_states as s (project, name, failures, paused_at, why) values ($1, $2, 1, case when 1 >= $4 then $5 end, $3)
        on conflict (project, name) do update set failures = s.failures + 1, why = excluded.why,
            paused_at = coalesce(s.paused_at, case when s.failures + 1 >= $4 then $5 end)
        returning failures, paused_at, why";
    let row = State::find_by_statement(statement(sql, [project.into(), name.into(), why.into(), most.into(), now.into()])).one(db).await?;
    Ok(row.is_some_and(|s| s.paused_at.is_some()))
}

/// Everything that waits is due now.
///
/// # Errors
/// Database.
pub async fn all_due(db: &impl ConnectionTrait, project: Uuid, name: &str, now: OffsetDateTime) -> Result<u64, DbErr> {
    let sql = "update webhook_deliveries set due_at = $3 where project = $1 and webhook = $2 and state = 'waiting'";
    Ok(db.execute_raw(statement(sql, [project.into(), name.into(), now.into()])).await?.rows_affected())
}

/// Forgets what was delivered before `delivered`, and what was given up before `dead`.
///
/// # Errors
/// Database.
pub async fn remove_old(db: &impl ConnectionTrait, delivered: OffsetDateTime, dead: OffsetDateTime) -> Result<(), DbErr> {
    let sql = "delete from webhook_deliveries where (state = 'delivered' and ended_at < $1) or (state = 'dead' and ended_at < $2)";
    db.execute_raw(statement(sql, [delivered.into(), dead.into()])).await.map(|_| ())
}
