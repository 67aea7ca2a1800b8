//! Durable work: put down in the transaction that makes it necessary, done at least once, retried with growing pauses.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::db::Db;

/// How long one try may take before another replica may take it over; renewed while the handler runs.
const LOCK: Duration = Duration::from_secs(30);
const LONGEST_PAUSE_SECS: f64 = 60.0;

/// The list of pending work.
pub struct Todo;

impl Todo {
    /// Adds work under `name`; the same `key` twice is one piece of work (the later payload counts).
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn enqueue(db: &impl ConnectionTrait, name: &str, key: &str, payload: &Value) -> Result<(), DbErr> {
        let sql = "insert into todos (name, key, payload) values ($1, $2, $3)
                   on conflict (name, key) do update set payload = excluded.payload, due = now(), attempts = 0";
        let values = [name.into(), key.into(), payload.clone().into()];
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
        for _ in 0..handler.concurrency().max(1) {
            tasks.spawn(work(db.clone(), handler.clone(), cancel.clone()));
        }
    }
}

async fn work(db: Db, handler: Arc<dyn TodoHandler>, cancel: CancellationToken) {
    while !cancel.is_cancelled() {
        match take(&db, handler.name()).await {
            Ok(Some(item)) => {
                let id = item.id;
                let attempts = item.attempts;
                let done = tokio::select! {
                    done = handler.handle(item) => done,
                    () = renew(&db, id) => unreachable!("renewing never ends"),
                    // Not finished: the lock runs out and somebody continues.
                    () = cancel.cancelled() => { let _ = finish(&db, id, None, 0).await; return }
                };
                let error = done.err().map(|e| format!("{e:#}"));
                if let Some(error) = &error {
                    tracing::warn!(todo = handler.name(), attempts, error, "work failed and will be tried again");
                }
                let finished = match error {
                    None => sqlx::query("delete from todos where id = $1").bind(id).execute(&db.pool).await.map(|_| ()),
                    Some(error) => finish(&db, id, Some(&error), attempts).await,
                };
                if let Err(error) = finished {
                    tracing::warn!(todo = handler.name(), error = %error, "the outcome could not be saved; the work will be done again");
                }
            }
            Ok(None) => pause(&cancel, Duration::from_millis(250)).await,
            Err(error) => {
                tracing::warn!(todo = handler.name(), error = %error, "the work list cannot be read");
                pause(&cancel, Duration::from_secs(1)).await;
            }
        }
    }
}

async fn pause(cancel: &CancellationToken, how_long: Duration) {
    tokio::select! {
        () = cancel.cancelled() => {}
        () = tokio::time::sleep(how_long) => {}
    }
}

async fn take(db: &Db, name: &str) -> Result<Option<TodoItem>, sqlx::Error> {
    let row: Option<(i64, String, Value, i32)> = sqlx::query_as(
        "update todos set locked_until = now() + $2 * interval '1 second', attempts = attempts + 1 where id = (
            select id from todos where name = $1 and due <= now() and (locked_until is null or locked_until < now())
            order by due limit 1 for update skip locked)
         returning id, key, payload, attempts",
    )
    .bind(name)
    .bind(LOCK.as_secs_f64())
    .fetch_optional(&db.pool)
    .await?;
    Ok(row.map(|(id, key, payload, attempts)| TodoItem { id, key, payload, attempts }))
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
