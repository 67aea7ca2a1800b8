//! Makes finished uploads blobs, many at a time: one transaction and one sync of the disk serve everybody who waits. Small content
//! lives in the database, so that a batch of it is one statement and nothing else.

use std::io;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::App;
use crate::adapters::blob_store::{Staged, UploadError};
use crate::adapters::blobs::Blobs;
use crate::domain::name::RepositoryName;
use crate::error::{Error, Result, is_away};
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
#[derive(Clone, Debug)]
struct Fault {
    /// The store's word, if it was the store.
    kind: Option<io::ErrorKind>,
    text: String,
}

impl Fault {
    fn is_away(&self) -> bool {
        self.kind.is_some_and(|kind| is_away(&kind.into()))
    }
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

/// The doors to the tasks that publish: what lives in the database does not wait for the store. Cheap to clone.
#[derive(Clone)]
pub struct Arrivals {
    inline: mpsc::Sender<Arrival>,
    stored: mpsc::Sender<Arrival>,
}

impl Arrivals {
    /// Starts the tasks.
    pub fn start(host: &gantry_host::Host, blobs: &Blobs) -> Self {
        let door = |what: &str| {
            let (door, waiting) = mpsc::channel(WAITING);
            host.keep_running(what, run(host.clone(), blobs.clone(), waiting));
            door
        };
        Self { inline: door("small arrivals"), stored: door("arrivals") }
    }

    /// Publishes; on return the blob is durable, and readable in `repository`.
    async fn publish(&self, repository: Option<RepositoryName>, staged: Staged) -> Result<()> {
        let (done, outcome) = oneshot::channel();
        let door = if staged.inline().is_some() { &self.inline } else { &self.stored };
        let arrival = Arrival { repository, staged, done };
        let busy = || Error::Denied(gantry_kernel::Problem::unavailable("the registry's database"));
        match tokio::time::timeout(PATIENCE, door.send(arrival)).await {
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

    /// The same for content that nobody tries to publish again: of what does not become a blob nothing stays.
    ///
    /// # Errors
    /// The store.
    pub async fn publish_or_discard(&self, repository: Option<&RepositoryName>, staged: Staged) -> Result<()> {
        let file = staged.file();
        let published = self.publish(repository, staged).await;
        if published.is_err()
            && let Some(file) = file
        {
            self.blobs.discard(file).await;
        }
        published
    }
}

async fn run(host: gantry_host::Host, blobs: Blobs, mut waiting: mpsc::Receiver<Arrival>) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            got = waiting.recv_many(&mut batch, BATCH) => if got == 0 { return },
            () = host.cancel.cancelled() => return,
        }
        settle(&host, &blobs, std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).await;
    }
}

/// Publishes them and tells everybody who waits.
async fn settle(host: &gantry_host::Host, blobs: &Blobs, batch: Vec<Arrival>) {
    let alone = batch.len() == 1;
    let whole = commit(host, blobs, &batch).await.map_err(Fault::from);
    match whole {
        Ok(()) => tell(batch, &Ok(())),
        // The store is away for all of them: asked for each, it would keep everybody waiting in turn.
        Err(fault) if alone || fault.is_away() => tell(batch, &Err(fault)),
        // One may have spoilt it for all: each by itself, so that everybody gets their own answer.
        Err(_) => {
            let mut away: Option<Fault> = None;
            for one in batch {
                let outcome = match &away {
                    Some(fault) => Err(fault.clone()),
                    None => commit(host, blobs, std::slice::from_ref(&one)).await.map_err(Fault::from),
                };
                if let Err(fault) = &outcome
                    && fault.is_away()
                {
                    away = Some(fault.clone());
                }
                let _ = one.done.send(outcome);
            }
        }
    }
}

fn tell(batch: Vec<Arrival>, outcome: &Result<(), Fault>) {
    for one in batch {
        // Who no longer waits needs no answer.
        let _ = one.done.send(outcome.clone());
    }
}

/// The rows' locks order this with collection: content appears in the store while nobody can be removing it.
async fn commit(host: &gantry_host::Host, blobs: &Blobs, batch: &[Arrival]) -> anyhow::Result<()> {
    let arrived: Vec<Arrived<'_>> = batch.iter().map(Arrival::arrived).collect();
    if arrived.iter().all(|a| a.bytes.is_some()) {
        content::keep(&host.db().pool, &arrived, host.env.now()).await?;
        return Ok(());
    }
    let mut tx = host.db().pool.begin().await?;
    content::keep(&mut *tx, &arrived, host.env.now()).await?;
    blobs.publish(&batch.iter().map(|a| &a.staged).collect::<Vec<_>>()).await?;
    tx.commit().await?;
    Ok(())
}
