//! Keeps security facts: one task gathers those of many requests into one durable statement, so that a flood of sign-ins
//! costs one commit per batch. Each request still waits until its own fact is kept.

use std::sync::Arc;

use gantry_contract::audit::AuditFact;
use sqlx::PgPool;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::store::facts::{self, Head, Kept};

/// Rows of one statement at most.
const BATCH: usize = 500;
/// Facts that may wait; past that, requests wait to hand theirs over.
const WAITING: usize = 1_024;
/// How often another replica may come first before we say that the chain cannot be written.
const TRIES: usize = 50;

/// Why a fact was not kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotKept {
    #[error("the database refused the record")]
    Sql(#[source] Arc<sqlx::Error>),
    #[error("other replicas were always faster")]
    Contended,
    #[error("the service is shutting down")]
    Closed,
}

struct Request {
    fact: Kept,
    answer: oneshot::Sender<Result<(), NotKept>>,
}

/// Cheap to clone; all clones share the task.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Request>,
    /// Told after each batch: there is something to publish.
    pub grown: Arc<Notify>,
}

impl Recorder {
    pub fn start(pool: PgPool, cancel: &CancellationToken, tasks: &TaskTracker) -> Self {
        let (queue, requests) = mpsc::channel(WAITING);
        let grown = Arc::new(Notify::new());
        gantry_host::endless("record of identity", tasks, cancel, run(pool, requests, grown.clone(), cancel.clone()));
        Self { queue, grown }
    }

    /// Durable when this returns `Ok`.
    ///
    /// # Errors
    /// See [`NotKept`].
    pub async fn keep(&self, fact: &AuditFact) -> Result<(), NotKept> {
        let text = serde_json::to_string(fact).unwrap_or_default();
        let (answer, answered) = oneshot::channel();
        let fact = Kept { id: fact.id, at: fact.at, text };
        self.queue.send(Request { fact, answer }).await.map_err(|_| NotKept::Closed)?;
        answered.await.map_err(|_| NotKept::Closed)?
    }
}

async fn run(pool: PgPool, mut requests: mpsc::Receiver<Request>, grown: Arc<Notify>, cancel: CancellationToken) {
    let mut head = None;
    loop {
        let first = tokio::select! {
            request = requests.recv() => request,
            // Whoever is still waiting gets an answer: drain, then stop.
            () = cancel.cancelled() => { requests.close(); requests.recv().await }
        };
        let Some(first) = first else { return };
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = requests.try_recv()
        {
            batch.push(next);
        }
        let (facts, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|r| (r.fact, r.answer)).unzip();
        let result = append(&pool, &mut head, &facts).await;
        if result.is_ok() {
            grown.notify_one();
        }
        for answer in answers {
            // The caller may have given up; its fact stands all the same.
            let _ = answer.send(result.clone());
        }
    }
}

/// `head`: where we left the chain; nothing after a failure, which may have written all the same.
async fn append(pool: &PgPool, head: &mut Option<Head>, facts: &[Kept]) -> Result<(), NotKept> {
    for _ in 0..TRIES {
        let before = match head.take() {
            Some(head) => head,
            None => facts::head(pool).await.map_err(|e| NotKept::Sql(Arc::new(e)))?,
        };
        if let Some(end) = facts::append(pool, &before, facts).await.map_err(|e| NotKept::Sql(Arc::new(e)))? {
            *head = Some(end);
            return Ok(());
        }
    }
    Err(NotKept::Contended)
}
