//! The handle to a service's log: one task gathers the appends of many callers into one transaction.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use gantry_kernel::Env;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::append::{Answer, Append, AppendError, Appended};
use crate::batch::{Batch, Memory, append_batch, tell};
use crate::db::Db;
use crate::endless::endless;
use crate::recent::Recent;
use crate::snapshot::{self, Draft};
use crate::trace::Trace;

/// Rows of one transaction at most. More would only make the callers of the batch wait for one another.
const BATCH_EVENTS: usize = 1_000;
/// How often everybody else who can run is let run before an append goes without those who did not come.
const PATIENCE: usize = 16;
/// How long the first of a transaction waits for others at most.
const LONGEST_WAIT: Duration = Duration::from_millis(2);
/// How long a transaction may go without a word of the database. Whoever appends has mostly given up by then; those who come next get
/// another connection, because this one may have fallen silent for good.
const ANSWER: Duration = Duration::from_secs(30);
/// Between two words to the other replicas.
const TELL: Duration = Duration::from_millis(10);
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
    pub(crate) recent: Arc<Recent>,
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
        let log = Self { db, origin: origin.into(), queue, drafts, head, recent: Arc::default(), env };
        let start = |what: &str, task: BoxFuture<'static, ()>| endless(format!("{what} of {origin}"), tasks, cancel, task);
        start("snapshots", snapshot::write_task(log.db.clone(), to_keep, cancel.clone()).boxed());
        let writing = Writing { db: log.db.clone(), origin: log.origin.clone(), env: log.env.clone(), recent: log.recent.clone(), moved: moved.clone() };
        start("appends", writing.run(requests, cancel.clone()).boxed());
        start("news", listen_task(log.db.clone(), moved, cancel.clone()).boxed());
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

/// What the task that appends has. No handle to the log: it ends when nobody else has one.
struct Writing {
    db: Db,
    origin: Arc<str>,
    env: Env,
    recent: Arc<Recent>,
    moved: Arc<watch::Sender<i64>>,
}

impl Writing {
    /// Writes whatever waits, one transaction after the other.
    async fn run(self, mut requests: mpsc::Receiver<Request>, cancel: CancellationToken) {
        let (mut memory, mut told, mut before) = (Memory::default(), Told::default(), 0);
        loop {
            let unused = memory.held.until();
            let first = tokio::select! {
                request = requests.recv() => request,
                () = told.due() => { told.late(&self.db, &mut memory).await; continue }
                () = at(unused) => { memory.held.give_back(); continue }
                // Whoever is still waiting gets an answer: drain, then stop.
                () = cancel.cancelled() => { requests.close(); requests.recv().await }
            };
            let Some(first) = first else { return told.late(&self.db, &mut memory).await };
            let batch = gather(first, &mut requests, before).await;
            before = batch.len();
            self.write(batch, &mut memory, &mut told).await;
        }
    }

    async fn write(&self, requests: Vec<Request>, memory: &mut Memory, told: &mut Told) {
        // In their order: the last is next.
        let mut parts = vec![requests];
        while let Some(part) = parts.pop() {
            let (appends, answers): (Vec<_>, Vec<_>) = part.into_iter().map(|r| (r.append, r.answer)).unzip();
            let tells = told.is_long_ago();
            let batch = Batch { pool: &self.db.writer, origin: &self.origin, env: &self.env, appends: &appends, tells };
            // What was given up may be done all the same, as when a commit's answer is lost.
            let done = timeout(ANSWER, append_batch(&batch, memory)).await;
            match done.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))) {
                Ok(results) => {
                    self.recent.add(results.iter().flatten().flat_map(|appended| &appended.events));
                    if let Some(last) = results.iter().rev().find_map(|r| r.as_ref().ok()).map(|a| a.position) {
                        told.wrote(last, tells);
                        self.moved.send_if_modified(|head| raise(head, last));
                    }
                    for (answer, result) in answers.into_iter().zip(results) {
                        // The caller may have given up; its events stand all the same.
                        let _ = answer.send(result);
                    }
                }
                // Nothing was written. One of them holds what the database does not take; those who came along with it are not refused for it.
                Err(error) if appends.len() > 1 && is_about_content(&error) => {
                    let requests = appends.into_iter().zip(answers).map(|(append, answer)| Request { append, answer });
                    let mut first: Vec<Request> = requests.collect();
                    let second = first.split_off(first.len() / 2);
                    parts.extend([second, first]);
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
}

/// The database is well and takes others: data that do not fit, a broken constraint, something too large (classes of SQLSTATE).
fn is_about_content(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|e| e.code());
    code.is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
}

/// `first` and what waits behind it. Half of those who write at this time (`before`: who just got an answer) make a good
/// transaction: one half's is stored while the other half's calls come in. Fewer are given a moment for others to join them.
async fn gather(first: Request, requests: &mut mpsc::Receiver<Request>, before: usize) -> Vec<Request> {
    let enough = (before + 1 + requests.len()) / 2;
    let started = Instant::now();
    let mut size = events_of(&first);
    let mut batch = vec![first];
    let mut patience = PATIENCE;
    while size < BATCH_EVENTS {
        match requests.try_recv() {
            Ok(next) => {
                size += events_of(&next);
                batch.push(next);
            }
            Err(_) if batch.len() < enough && patience > 0 && started.elapsed() < LONGEST_WAIT => {
                patience -= 1;
                tokio::task::yield_now().await;
            }
            Err(_) => break,
        }
    }
    batch
}

/// How far the other replicas have been told. Each word of it wakes every one of them, so there is one in a while.
#[derive(Default)]
struct Told {
    at: Option<Instant>,
    /// A position that they do not know of yet.
    owed: Option<i64>,
}

impl Told {
    fn is_long_ago(&self) -> bool {
        self.at.is_none_or(|at| at.elapsed() >= TELL)
    }

    fn wrote(&mut self, position: i64, told: bool) {
        if told {
            *self = Self { at: Some(Instant::now()), owed: None };
        } else {
            self.owed = Some(position);
        }
    }

    /// Until what is owed should be said.
    async fn due(&self) {
        match (self.owed, self.at) {
            (Some(_), Some(at)) => tokio::time::sleep_until(at + TELL).await,
            _ => std::future::pending().await,
        }
    }

    async fn late(&mut self, db: &Db, memory: &mut Memory) {
        let Some(position) = self.owed.take() else { return };
        self.at = Some(Instant::now());
        // Lost: they look for themselves every other second.
        let told = timeout(ANSWER, tell(&db.writer, memory, position)).await;
        if let Err(error) = told.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))) {
            tracing::debug!(error = %error, "the other replicas were not told of an append");
        }
    }
}

/// Until then; for ever where there is no such time.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
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
        if listener.is_none() {
            let fresh = tokio::select! {
                () = cancel.cancelled() => return,
                fresh = timeout(ANSWER, listen(&db.admin, [&*events, &*todos])) => fresh,
            };
            if let Ok(Ok(fresh)) = fresh {
                listener = Some(fresh);
                // What was said before this nobody heard.
                db.tell_todo_news();
            }
        }
        let heard = async {
            match &mut listener {
                Some(listener) => listener.try_recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            heard = heard => match heard {
                Ok(Some(word)) if word.channel() == todos => db.tell_todo_news(),
                Ok(Some(word)) => {
                    if let Ok(position) = word.payload().parse() {
                        moved.send_if_modified(|head| raise(head, position));
                    }
                }
                Ok(None) | Err(_) => listener = None,
            },
            () = tokio::time::sleep(Duration::from_secs(2)) => {
                if let Ok(Ok(position)) = timeout(ANSWER, read_head(&db)).await {
                    moved.send_if_modified(|head| raise(head, position));
                }
            }
        }
    }
}

/// It says when its connection is lost, instead of making another: what was said in between would never be asked for.
async fn listen(pool: &PgPool, channels: [&str; 2]) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen_all(channels).await?;
    Ok(listener)
}
