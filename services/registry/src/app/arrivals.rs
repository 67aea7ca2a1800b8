//! Makes finished uploads blobs, many at a time: one transaction and one sync of the disk serve everybody who waits. Small content
//! lives in the database, so that a batch of it is one statement and nothing else.

use std::io;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::App;
use crate::adapters::blob_store::{Staged, UploadError};
use crate::adapters::blobs::Blobs;
use crate::domain::name::RepositoryName;
use crate::error::{Error, Result};
use crate::store::content::{self, Arrived};

/// Most blobs of one transaction.
const BATCH: usize = 64;
/// Most that may wait; more would mean that the database stands still.
const WAITING: usize = 4_096;
/// Longest wait for a place and for the outcome.
const PATIENCE: Duration = Duration::from_secs(60);

/// A complete, checked, durable file that is to be a blob.
pub struct Arrival {
    /// Where it is to be readable; none for a manifest.
    pub repository: Option<RepositoryName>,
    pub staged: Staged,
    done: oneshot::Sender<Result<(), Fault>>,
}

impl Arrival {
    fn arrived(&self) -> Arrived<'_> {
        let Staged { digest, size, sums, .. } = &self.staged;
        Arrived { repository: self.repository.as_ref(), digest, size: *size, sums, bytes: self.staged.inline().map(AsRef::as_ref) }
    }
}

/// Why it is no blob: every waiting request gets its own.
struct Fault {
    /// The store's word, if it was the store.
    kind: Option<io::ErrorKind>,
    text: String,
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        Self { kind: error.downcast_ref::<io::Error>().map(io::Error::kind), text: format!("{error:#}") }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault.kind {
            Some(kind) => Self::Upload(UploadError::Io(io::Error::new(kind, fault.text))),
            None => Self::Internal(anyhow::anyhow!(fault.text)),
        }
    }
}

/// The door to the task that publishes. Cheap to clone.
#[derive(Clone)]
pub struct Arrivals(mpsc::Sender<Arrival>);

impl Arrivals {
    /// Starts the task.
    pub fn start(host: &gantry_host::Host, blobs: Blobs) -> Self {
        let (door, waiting) = mpsc::channel(WAITING);
        host.tracker.spawn(run(host.clone(), blobs, waiting));
        Self(door)
    }

    /// Publishes; on return the blob is durable and readable in `repository`.
    async fn publish(&self, repository: Option<RepositoryName>, staged: Staged) -> Result<()> {
        let (done, outcome) = oneshot::channel();
        let arrival = Arrival { repository, staged, done };
        let busy = || Error::Denied(gantry_kernel::Problem::unavailable("the registry's database"));
        match tokio::time::timeout(PATIENCE, self.0.send(arrival)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(busy()),
        }
        match tokio::time::timeout(PATIENCE, outcome).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(fault))) => Err(fault.into()),
            Ok(Err(_)) | Err(_) => Err(busy()),
        }
    }
}

impl App {
    /// Makes a finished file a blob. On return it is durable, and readable in `repository` if one is given.
    ///
    /// # Errors
    /// The store.
    pub async fn publish(&self, repository: Option<&RepositoryName>, staged: Staged) -> Result<()> {
        self.blobs.prepare(&staged).await?;
        self.arrivals.publish(repository.cloned(), staged).await
    }
}

async fn run(host: gantry_host::Host, blobs: Blobs, mut waiting: mpsc::Receiver<Arrival>) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            got = waiting.recv_many(&mut batch, BATCH) => if got == 0 { return },
            () = host.cancel.cancelled() => return,
        }
        let whole = commit(&host, &blobs, &batch).await;
        match whole {
            Ok(()) => batch.drain(..).for_each(|one| {
                let _ = one.done.send(Ok(()));
            }),
            // One may have spoilt it for all: each by itself, so that everybody gets their own answer.
            Err(_) if batch.len() > 1 => {
                for one in batch.drain(..) {
                    let outcome = commit(&host, &blobs, std::slice::from_ref(&one)).await;
                    let _ = one.done.send(outcome.map_err(Fault::from));
                }
            }
            Err(error) => {
                if let Some(one) = batch.pop() {
                    let _ = one.done.send(Err(error.into()));
                }
            }
        }
    }
}

/// The rows' locks order this with collection: content appears in the store while nobody can be removing it.
async fn commit(host: &gantry_host::Host, blobs: &Blobs, batch: &[Arrival]) -> anyhow::Result<()> {
    let arrived: Vec<Arrived<'_>> = batch.iter().map(Arrival::arrived).collect();
    if arrived.iter().all(|a| a.bytes.is_some()) {
        return Ok(content::keep(&host.db().pool, &arrived, host.env.now()).await?);
    }
    let mut tx = host.db().pool.begin().await?;
    content::keep(&mut *tx, &arrived, host.env.now()).await?;
    blobs.publish(&batch.iter().map(|a| &a.staged).collect::<Vec<_>>()).await?;
    tx.commit().await?;
    Ok(())
}
