//! Durable work: put down in the transaction that makes it necessary, done at least once, retried with growing pauses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::db::Db;
use crate::endless::{endless, tried};
use crate::trace::Trace;

/// How long one try may take before another replica may take it over; renewed while the handler runs.
const LOCK: Duration = Duration::from_secs(30);
const LONGEST_PAUSE_SECS: f64 = 60.0;
/// The list is looked at this often even if nobody says that something was added: a notification may be lost.
const LOOK: Duration = Duration::from_secs(10);
const AFTER_FAULT: Duration = Duration::from_secs(1);
/// Nothing that was tried is put off or locked for so long.
const SET_BACK: Duration = Duration::from_secs(300);

/// The list of pending work.
pub struct Todo;

impl Todo {
    /// Adds work under `name`; the same `key` twice is one piece of work (the later payload counts). What is added while work of this key
    /// is under way is done after it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn enqueue(db: &impl ConnectionTrait, name: &str, key: &str, payload: &Value) -> Result<(), DbErr> {
        Self::enqueue_after(db, name, key, payload, Duration::ZERO).await
    }

    /// As [`Todo::enqueue`] for each of these, the earliest first, by one statement.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn enqueue_all(db: &impl ConnectionTrait, name: &str, all: Vec<TodoNew>) -> Result<(), DbErr> {
        // Each once, and in one order everywhere: one statement may not touch a row twice, and two replicas could wait for each other.
        let all: BTreeMap<String, TodoNew> = all.into_iter().map(|one| (one.key.clone(), one)).collect();
        if all.is_empty() {
            return Ok(());
        }
        let (keys, rest): (Vec<String>, Vec<(String, String)>) =
            all.into_iter().map(|(key, one)| (key, (one.payload.to_string(), one.trace.map(|t| t.to_string()).unwrap_or_default()))).unzip();
        let (payloads, traces): (Vec<String>, Vec<String>) = rest.into_iter().unzip();
        let sql = "with put as (insert into todos (name, key, payload, trace, due)
                     select $1::text, k, p::json, nullif(t, ''), now() from unnest($2::text[], $3::text[], $4::text[]) n(k, p, t) order by k
                     on conflict (name, key) do update
                     set payload = excluded.payload, trace = excluded.trace, due = excluded.due, attempts = 0 returning name)
                   select pg_notify(current_schema() || '_todos', name) from put limit 1";
        let values = [name.into(), keys.into(), payloads.into(), traces.into()];
        db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
        Ok(())
    }

    /// As [`Todo::enqueue`], but not to be begun before `pause` is over, by the database's clock. Of the same key the later pause counts.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn enqueue_after(db: &impl ConnectionTrait, name: &str, key: &str, payload: &Value, pause: Duration) -> Result<(), DbErr> {
        // The notification is sent with the commit, and never without it. No tries yet: that is how a runner sees that what it is at was
        // put down once more.
        let sql = "with put as (insert into todos (name, key, payload, trace, due) values ($1, $2, $3, $4, now() + $5 * interval '1 second')
                     on conflict (name, key) do update
                     set payload = excluded.payload, trace = excluded.trace, due = excluded.due, attempts = 0 returning name)
                   select pg_notify(current_schema() || '_todos', name) from put";
        let values = [name.into(), key.into(), payload.clone().into(), Trace::current().map(|t| t.to_string()).into(), pause.as_secs_f64().into()];
        db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
        Ok(())
    }
}

/// Work to be put on the list with other work of its name.
#[derive(Clone, Debug)]
pub struct TodoNew {
    pub key: String,
    pub payload: Value,
    /// The trace that makes it necessary.
    pub trace: Option<Trace>,
}

/// One piece of work.
#[derive(Clone, Debug)]
pub struct TodoItem {
    pub id: i64,
    pub key: String,
    pub payload: Value,
    /// 1 at the first try.
    pub attempts: i32,
    /// The trace that made it necessary.
    pub trace: Option<Trace>,
}

#[async_trait]
pub trait TodoHandler: Send + Sync + 'static {
    /// Stable; which work this handler takes.
    fn name(&self) -> &'static str;

    /// Pieces done at once by this process.
    fn concurrency(&self) -> usize {
        4
    }

    /// Does it. May be called again for the same key after a crash: must be idempotent.
    ///
    /// # Errors
    /// It is tried again later; the error is kept for operators.
    async fn handle(&self, item: TodoItem) -> anyhow::Result<()>;
}

/// Works on the list until cancelled.
pub struct TodoRunner;

impl TodoRunner {
    pub fn start(db: Db, handler: Arc<dyn TodoHandler>, cancel: &CancellationToken, tasks: &TaskTracker) {
        endless(format!("work of {}", handler.name()), tasks, cancel, hand_out(db, handler, cancel.clone(), tasks.clone()));
    }
}

/// Takes work whenever there is room for it. Sleeps until somebody adds some, or the next piece falls due.
async fn hand_out(db: Db, handler: Arc<dyn TodoHandler>, cancel: CancellationToken, tasks: TaskTracker) {
    let room = Arc::new(Semaphore::new(handler.concurrency().max(1)));
    let mut news = db.todo_news();
    loop {
        let permit = tokio::select! {
            () = cancel.cancelled() => return,
            permit = room.clone().acquire_owned() => permit.expect("nobody closes it"),
        };
        news.mark_unchanged();
        let pause = match take(&db, handler.name()).await {
            Ok(Some((item, turn))) => {
                let (db, handler, cancel) = (db.clone(), handler.clone(), cancel.clone());
                tasks.spawn(async move {
                    work(&db, &*handler, item, turn, &cancel).await;
                    drop(permit);
                });
                continue;
            }
            Ok(None) => until_due(&db, handler.name()).await.unwrap_or(AFTER_FAULT),
            Err(error) => {
                tracing::warn!(todo = handler.name(), error = %error, "the work list cannot be read");
                AFTER_FAULT
            }
        };
        drop(permit);
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = news.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// What this process took, and as which of all turns: another one's turn is not touched, however late this one is. Tries alone do not
/// tell them apart: they begin anew when the work is put down once more. (They are compared, too, while a program runs beside this one
/// that does not count turns.)
#[derive(Clone, Copy)]
struct Taken {
    id: i64,
    attempts: i32,
    turn: i64,
}

async fn work(db: &Db, handler: &dyn TodoHandler, item: TodoItem, turn: i64, cancel: &CancellationToken) {
    let taken = Taken { id: item.id, attempts: item.attempts, turn };
    let attempts = taken.attempts;
    let done = tokio::select! {
        done = tried(handle(handler, item)) => done,
        () = renew(db, taken) => unreachable!("renewing never ends"),
        // Not finished: it is given back, and somebody continues.
        () = cancel.cancelled() => { let _ = give_back(db, taken).await; return }
    };
    let error = done.err().map(|e| format!("{e:#}"));
    if let Some(error) = &error {
        tracing::warn!(todo = handler.name(), attempts, error, "work failed and will be tried again");
    }
    let over = match &error {
        None => forget(db, taken).await,
        Some(error) => put_off(db, taken, error).await.map(|()| false),
    };
    match over {
        Ok(true) => {}
        // It has a new time, which may come before the one that is slept to.
        Ok(false) => db.tell_todo_news(),
        Err(error) => tracing::warn!(todo = handler.name(), error = %error, "the outcome could not be saved; the work will be done again"),
    }
}

/// The next piece and its turn.
async fn take(db: &Db, name: &str) -> Result<Option<(TodoItem, i64)>, sqlx::Error> {
    let row: Option<(i64, String, Value, i32, Option<String>, i64)> = sqlx::query_as(
        "update todos set locked_until = now() + $2 * interval '1 second', attempts = attempts + 1, turn = turn + 1 where id = (
            select id from todos where name = $1 and due <= now() and (locked_until is null or locked_until < now())
            order by due limit 1 for update skip locked)
         returning id, key, payload, attempts, trace, turn",
    )
    .bind(name)
    .bind(LOCK.as_secs_f64())
    .fetch_optional(&db.pool)
    .await?;
    Ok(row.map(|(id, key, payload, attempts, trace, turn)| (TodoItem { id, key, payload, attempts, trace: trace.and_then(|t| t.parse().ok()) }, turn)))
}

async fn handle(handler: &dyn TodoHandler, item: TodoItem) -> anyhow::Result<()> {
    let Some(trace) = item.trace else { return handler.handle(item).await };
    let span = tracing::debug_span!(target: "trace", "todo", otel.name = handler.name(), otel.kind = "consumer", attempts = item.attempts);
    trace.adopt(&span);
    let trace = Trace::of(&span).unwrap_or(trace);
    trace.around(handler.handle(item)).instrument(span).await
}

/// How long until the next piece may be taken, at most [`LOOK`].
async fn until_due(db: &Db, name: &str) -> Result<Duration, sqlx::Error> {
    // What was tried is put off and locked for a minute at most: the clock was set back since, and this would wait for as long as that.
    let sql = "with again as (
                   update todos set due = least(due, now()), locked_until = null
                    where name = $1 and attempts > 0 and greatest(due, locked_until) > now() + $2 * interval '1 second' returning id)
               select extract(epoch from min(greatest(due, locked_until)) - clock_timestamp())::float8, exists (select from again) from todos where name = $1";
    let (seconds, again): (Option<f64>, bool) = sqlx::query_as(sql).bind(name).bind(SET_BACK.as_secs_f64()).fetch_one(&db.pool).await?;
    if again {
        return Ok(Duration::ZERO);
    }
    Ok(seconds.map_or(LOOK, |s| Duration::from_secs_f64(s.max(0.01)).min(LOOK)))
}

async fn renew(db: &Db, taken: Taken) {
    loop {
        tokio::time::sleep(LOCK / 3).await;
        let _ = sqlx::query("update todos set locked_until = now() + $3 * interval '1 second' where id = $1 and turn = $2")
            .bind(taken.id)
            .bind(taken.turn)
            .bind(LOCK.as_secs_f64())
            .execute(&db.pool)
            .await;
    }
}

/// Whether the work is over. What was put down once more meanwhile (it has no tries) is given back instead: it may be about something
/// that this work did not see.
async fn forget(db: &Db, taken: Taken) -> Result<bool, sqlx::Error> {
    let sql = "delete from todos where id = $1 and attempts = $2 and turn = $3";
    let gone = sqlx::query(sql).bind(taken.id).bind(taken.attempts).bind(taken.turn).execute(&db.pool).await?.rows_affected() > 0;
    if !gone {
        give_back(db, taken).await?;
    }
    Ok(gone)
}

/// After an error, with a pause that grows. What was put down once more meanwhile keeps its own time.
async fn put_off(db: &Db, taken: Taken, error: &str) -> Result<(), sqlx::Error> {
    let pause = (0.5 * 2f64.powi(taken.attempts.min(10))).min(LONGEST_PAUSE_SECS);
    let sql = "update todos set locked_until = null, last_error = $4, due = case attempts when 0 then due else now() + $5 * interval '1 second' end
        where id = $1 and attempts in (0, $2) and turn = $3";
    sqlx::query(sql).bind(taken.id).bind(taken.attempts).bind(taken.turn).bind(error).bind(pause).execute(&db.pool).await?;
    Ok(())
}

/// Others may take it. If somebody has already, because this process was slow to say that it lives, it stays theirs.
async fn give_back(db: &Db, taken: Taken) -> Result<(), sqlx::Error> {
    let sql = "update todos set locked_until = null where id = $1 and attempts in (0, $2) and turn = $3";
    sqlx::query(sql).bind(taken.id).bind(taken.attempts).bind(taken.turn).execute(&db.pool).await?;
    Ok(())
}
