//! Durable work: put down in the transaction that makes it necessary, done at least once, retried with growing pauses.

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
use crate::trace::Trace;

/// How long one try may take before another replica may take it over; renewed while the handler runs.
const LOCK: Duration = Duration::from_secs(30);
const LONGEST_PAUSE_SECS: f64 = 60.0;
/// The list is looked at this often even if nobody says that something was added: a notification may be lost.
const LOOK: Duration = Duration::from_secs(10);
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// The list of pending work.
pub struct Todo;

impl Todo {
    /// Adds work under `name`; the same `key` twice is one piece of work (the later payload counts).
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn enqueue(db: &impl ConnectionTrait, name: &str, key: &str, payload: &Value) -> Result<(), DbErr> {
        // The notification is sent with the commit, and never without it.
        let sql = "with put as (insert into todos (name, key, payload, trace) values ($1, $2, $3, $4)
                     on conflict (name, key) do update
                     set payload = excluded.payload, trace = excluded.trace, due = now(), attempts = 0 returning name)
                   select pg_notify(current_schema() || '_todos', name) from put";
        let values = [name.into(), key.into(), payload.clone().into(), Trace::current().map(|t| t.to_string()).into()];
        db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
        Ok(())
    }
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
        tasks.spawn(hand_out(db, handler, cancel.clone(), tasks.clone()));
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
            Ok(Some(item)) => {
                let (db, handler, cancel) = (db.clone(), handler.clone(), cancel.clone());
                tasks.spawn(async move {
                    work(&db, &*handler, item, &cancel).await;
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

async fn work(db: &Db, handler: &dyn TodoHandler, item: TodoItem, cancel: &CancellationToken) {
    let (id, attempts) = (item.id, item.attempts);
    let done = tokio::select! {
        done = handle(handler, item) => done,
        () = renew(db, id) => unreachable!("renewing never ends"),
        // Not finished: it is given back, and somebody continues.
        () = cancel.cancelled() => { let _ = finish(db, id, None, 0).await; return }
    };
    let error = done.err().map(|e| format!("{e:#}"));
    if let Some(error) = &error {
        tracing::warn!(todo = handler.name(), attempts, error, "work failed and will be tried again");
    }
    let failed = error.is_some();
    let finished = match error {
        None => sqlx::query("delete from todos where id = $1").bind(id).execute(&db.pool).await.map(|_| ()),
        Some(error) => finish(db, id, Some(&error), attempts).await,
    };
    if let Err(error) = finished {
        tracing::warn!(todo = handler.name(), error = %error, "the outcome could not be saved; the work will be done again");
    }
    if failed {
        // It has a new time, which may come before the one that is slept to.
        db.tell_todo_news();
    }
}

async fn take(db: &Db, name: &str) -> Result<Option<TodoItem>, sqlx::Error> {
    let row: Option<(i64, String, Value, i32, Option<String>)> = sqlx::query_as(
        "update todos set locked_until = now() + $2 * interval '1 second', attempts = attempts + 1 where id = (
            select id from todos where name = $1 and due <= now() and (locked_until is null or locked_until < now())
            order by due limit 1 for update skip locked)
         returning id, key, payload, attempts, trace",
    )
    .bind(name)
    .bind(LOCK.as_secs_f64())
    .fetch_optional(&db.pool)
    .await?;
    Ok(row.map(|(id, key, payload, attempts, trace)| TodoItem { id, key, payload, attempts, trace: trace.and_then(|t| t.parse().ok()) }))
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
    let sql = "select extract(epoch from min(greatest(due, locked_until)) - clock_timestamp())::float8 from todos where name = $1";
    let seconds: Option<f64> = sqlx::query_scalar(sql).bind(name).fetch_one(&db.pool).await?;
    Ok(seconds.map_or(LOOK, |s| Duration::from_secs_f64(s.max(0.01)).min(LOOK)))
}

async fn renew(db: &Db, id: i64) {
    loop {
        tokio::time::sleep(LOCK / 3).await;
        let _ = sqlx::query("update todos set locked_until = now() + $2 * interval '1 second' where id = $1")
            .bind(id)
            .bind(LOCK.as_secs_f64())
            .execute(&db.pool)
            .await;
    }
}

async fn finish(db: &Db, id: i64, error: Option<&str>, attempts: i32) -> Result<(), sqlx::Error> {
    let pause = if error.is_some() { (0.5 * 2f64.powi(attempts.min(10))).min(LONGEST_PAUSE_SECS) } else { 0.0 };
    sqlx::query("update todos set locked_until = null, last_error = $2, due = now() + $3 * interval '1 second' where id = $1")
        .bind(id)
        .bind(error)
        .bind(pause)
        .execute(&db.pool)
        .await?;
    Ok(())
}
