//! The handle to a service's log: one task gathers the appends of many callers into one transaction.

use std::sync::Arc;
use std::time::Duration;

use gantry_kernel::Env;
use sqlx::postgres::PgListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::append::{Answer, Append, AppendError, Appended};
use crate::batch::{Memory, append_batch};
use crate::db::Db;
use crate::snapshot::{self, Draft};
use crate::trace::Trace;

/// Rows of one transaction at most. More would only make the callers of the batch wait for one another.
const BATCH_EVENTS: usize = 1_000;
/// Appends that may wait; past that callers are told to come back.
const WAITING: usize = 4_096;

struct Request {
    append: Append,
    answer: oneshot::Sender<Answer>,
}

/// Cheap to clone; all clones share the append task.
#[derive(Clone)]
pub struct Log {
    pub(crate) db: Db,
    pub(crate) origin: Arc<str>,
    queue: mpsc::Sender<Request>,
    pub(crate) drafts: mpsc::Sender<Draft>,
    head: watch::Receiver<i64>,
    pub env: Env,
}

impl Log {
    /// Starts the append task and the listener. `origin` is the service's name.
    ///
    /// # Errors
    /// When the head cannot be read.
    pub async fn open(db: Db, origin: &str, env: Env, cancel: &CancellationToken, tasks: &TaskTracker) -> Result<Self, sqlx::Error> {
        let (queue, requests) = mpsc::channel(WAITING);
        let (moved, head) = watch::channel(read_head(&db).await?);
        let moved = Arc::new(moved);
        let (drafts, to_keep) = mpsc::channel(snapshot::WAITING);
        let log = Self { db, origin: origin.into(), queue, drafts, head, env };
        tasks.spawn(snapshot::write_task(log.db.clone(), to_keep, cancel.clone()));
        tasks.spawn(append_task(log.db.clone(), log.origin.clone(), log.env.clone(), requests, moved.clone(), cancel.clone()));
        tasks.spawn(listen_task(log.db.clone(), moved, cancel.clone()));
        Ok(log)
    }

    /// Appends, durably: when this returns `Ok`, the events survive a power cut.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append(&self, mut append: Append) -> Result<Appended, AppendError> {
        if append.meta.trace.is_none() {
            append.meta.trace = Trace::current().map(|t| t.to_string());
        }
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Request { append, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AppendError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => AppendError::Closed,
        })?;
        answered.await.map_err(|_| AppendError::Closed)?
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }

    pub fn db(&self) -> &Db {
        &self.db
    }

    /// The highest position this process knows of.
    pub fn head(&self) -> i64 {
        *self.head.borrow()
    }

    /// Changes whenever the log grows, whoever wrote.
    pub fn watch_head(&self) -> watch::Receiver<i64> {
        self.head.clone()
    }
}

async fn read_head(db: &Db) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select position from log_head").fetch_one(&db.pool).await
}

async fn append_task(db: Db, origin: Arc<str>, env: Env, mut requests: mpsc::Receiver<Request>, moved: Arc<watch::Sender<i64>>, cancel: CancellationToken) {
    let mut memory = Memory::default();
    loop {
        let first = tokio::select! {
            request = requests.recv() => request,
            // Whoever is still waiting gets an answer: drain, then stop.
            () = cancel.cancelled() => { requests.close(); requests.recv().await }
        };
        let Some(first) = first else { return };
        let mut size = events_of(&first);
        let mut batch = vec![first];
        while size < BATCH_EVENTS
            && let Ok(next) = requests.try_recv()
        {
            size += events_of(&next);
            batch.push(next);
        }
        let (appends, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|r| (r.append, r.answer)).unzip();
        match append_batch(&db.pool, &origin, &env, &mut memory, &appends).await {
            Ok(results) => {
                if let Some(last) = results.iter().rev().find_map(|r| r.as_ref().ok()).map(|a| a.position) {
                    moved.send_if_modified(|head| raise(head, last));
                }
                for (answer, result) in answers.into_iter().zip(results) {
                    // The caller may have given up; its events stand all the same.
                    let _ = answer.send(result);
                }
            }
            Err(error) => {
                tracing::warn!(error = %error, appends = answers.len(), "the event log could not be written");
                let error = Arc::new(error);
                for answer in answers {
                    let _ = answer.send(Err(AppendError::Sql(error.clone())));
                }
            }
        }
    }
}

fn events_of(request: &Request) -> usize {
    request.append.writes.iter().map(|w| w.events.len()).sum()
}

fn raise(head: &mut i64, to: i64) -> bool {
    let higher = to > *head;
    if higher {
        *head = to;
    }
    higher
}

/// Hears of other replicas' appends, and of work put on the list; the timer stands in for lost notifications.
async fn listen_task(db: Db, moved: Arc<watch::Sender<i64>>, cancel: CancellationToken) {
    let (events, todos) = (format!("{}_events", db.schema), format!("{}_todos", db.schema));
    let mut listener: Option<PgListener> = None;
    loop {
        if listener.is_none()
            && let Ok(mut fresh) = PgListener::connect_with(&db.admin).await
            && fresh.listen_all([&*events, &*todos]).await.is_ok()
        {
            listener = Some(fresh);
            // What was said before this nobody heard.
            db.tell_todo_news();
        }
        let heard = async {
            match &mut listener {
                Some(listener) => listener.recv().await.map(|n| {
                    if n.channel() == todos {
                        db.tell_todo_news();
                    }
                    n.payload().parse::<i64>().ok()
                }),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            heard = heard => match heard {
                Ok(Some(position)) => { moved.send_if_modified(|head| raise(head, position)); }
                Ok(None) => {}
                Err(_) => listener = None,
            },
            () = tokio::time::sleep(Duration::from_secs(2)) => {
                if let Ok(position) = read_head(&db).await {
                    moved.send_if_modified(|head| raise(head, position));
                }
            }
        }
    }
}
