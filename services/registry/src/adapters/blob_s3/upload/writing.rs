//! One request's bytes on their way: gathered into parts, each sent while the next one fills and its digest is computed.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use object_store::multipart::{MultipartStore, PartId};
use object_store::{ObjectStoreExt, PutPayload};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::super::fault::io as fault;
use super::{BlobS3, Held, LEASE};
use crate::adapters::blob_fs::blocking;
use crate::adapters::blob_store::UploadError;
use crate::adapters::feed::Batch;
use crate::adapters::upload_fs::Progress;
use crate::domain::digest::Algorithm;

/// A rest of at most so many bytes waits in the database.
const SHORT_TAIL: usize = 64 << 10;
const HOLD_EVERY: Duration = Duration::from_millis(LEASE.as_millis() as u64 / 3);

/// States of digests kept. Uploads that went on at another replica leave theirs; one that is lost costs reading once more.
const MOST_SESSIONS: usize = 10_000;

/// A part that is being sent, and the digest's state behind it.
type Sending = JoinHandle<io::Result<(Option<Progress>, PartId)>>;

pub struct Writing {
    store: BlobS3,
    held: Held,
    /// None: the state of the digest is lost.
    progress: Option<Progress>,
    /// Of the part that fills.
    filling: Vec<Bytes>,
    filled: usize,
    /// Of `filling`, what the digest has not seen.
    unseen: Vec<Bytes>,
    sending: Option<Sending>,
    parts: Vec<String>,
    parts_bytes: u64,
}

impl Writing {
    pub fn start(store: BlobS3, held: Held) -> Self {
        let offset = held.row.offset_bytes.unsigned_abs();
        let known = store.sessions().remove(&held.row.id).filter(|p| p.offset == offset);
        let progress = known.or_else(|| if offset == 0 { Algorithm::parse(&held.row.algorithm).map(Progress::new) } else { None });
        let (parts, parts_bytes) = (held.row.parts.clone(), held.row.parts_bytes.unsigned_abs());
        Self { store, held, progress, filling: Vec::new(), filled: 0, unseen: Vec::new(), sending: None, parts, parts_bytes }
    }

    /// Takes what comes until there is no more; the new offset. `told`: whether it counts; a request that is gone counts.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<Batch>, told: oneshot::Receiver<bool>) -> Result<u64, UploadError> {
        let poured = self.pour(&mut inbox).await;
        // Who feeds it notices now, also after a fault.
        drop(inbox);
        let outcome = match poured {
            Ok(()) if told.await.unwrap_or(true) => return self.keep_or_release().await,
            Ok(()) => Ok(self.held.row.offset_bytes.unsigned_abs()),
            Err(error) => Err(error),
        };
        // A part that is still on its way would take the place of the next writer's.
        let _ = self.sent().await;
        self.store.release(&self.held).await;
        outcome
    }

    async fn pour(&mut self, inbox: &mut mpsc::Receiver<Batch>) -> Result<(), UploadError> {
        let tail = self.store.tail(&self.held.row).await?;
        if !tail.is_empty() {
            self.filled = tail.len();
            self.filling.push(tail);
        }
        loop {
            match tokio::time::timeout(HOLD_EVERY, inbox.recv()).await {
                Ok(None) => return Ok(()),
                Ok(Some(batch)) => {
                    for piece in batch.pieces {
                        self.take(piece).await?;
                    }
                }
                Err(_) => self.store.hold(&self.held).await?,
            }
        }
    }

    async fn take(&mut self, mut piece: Bytes) -> Result<(), UploadError> {
        let part = usize::try_from(self.store.config.part_bytes).unwrap_or(usize::MAX);
        while !piece.is_empty() {
            // What waited may be more than a part has now: the configuration was changed.
            let now = piece.split_to(piece.len().min(part.saturating_sub(self.filled)));
            self.filled += now.len();
            self.unseen.push(now.clone());
            self.filling.push(now);
            if self.filled >= part {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Begins to send the part that is full, once the one before is there.
    async fn send(&mut self) -> Result<(), UploadError> {
        self.sent().await?;
        let (store, key) = (self.store.clone(), self.store.data_key(self.held.row.id));
        let id = match &self.held.row.multipart {
            Some(id) => id.clone(),
            None => {
                // Nothing of the upload has to be there yet: what is missing is the bucket, which is no fault of the client's.
                let id = store.s3.create_multipart(&key).await.map_err(fault).map_err(unless_missing)?;
                // At once: parts that nobody knows of would be paid for without being seen.
                self.held.row.multipart = Some(id.clone());
                store.save(&self.held, false).await?;
                id
            }
        };
        store.hold(&self.held).await?;
        let (number, payload) = (self.parts.len(), std::mem::take(&mut self.filling).into_iter().collect::<PutPayload>());
        let (unseen, progress) = (std::mem::take(&mut self.unseen), self.progress.take());
        self.parts_bytes += self.filled as u64;
        self.filled = 0;
        self.sending = Some(self.store.host.tracker.spawn(async move {
            let sent = async { store.patient.put_part(&key, &id, number, payload).await.map_err(fault) };
            let (progress, part) = tokio::join!(seen(progress, unseen), sent);
            Ok((progress?, part?))
        }));
        Ok(())
    }

    /// Waits for the part that is being sent.
    async fn sent(&mut self) -> Result<(), UploadError> {
        let Some(mut sending) = self.sending.take() else { return Ok(()) };
        let (progress, part) = loop {
            match tokio::time::timeout(HOLD_EVERY, &mut sending).await {
                Ok(done) => break done.map_err(io::Error::other)??,
                Err(_) => self.store.hold(&self.held).await?,
            }
        };
        self.progress = progress;
        self.parts.push(part.content_id);
        Ok(())
    }

    async fn keep_or_release(mut self) -> Result<u64, UploadError> {
        let kept = self.keep().await;
        if kept.is_err() {
            self.store.release(&self.held).await;
        }
        kept
    }

    /// Writes down what came, with what is left over.
    async fn keep(&mut self) -> Result<u64, UploadError> {
        self.sent().await?;
        self.progress = seen(self.progress.take(), std::mem::take(&mut self.unseen)).await?;
        let offset = self.parts_bytes + self.filled as u64;
        let mut row = self.held.row.clone();
        row.offset_bytes = i64::try_from(offset).map_err(io::Error::other)?;
        row.parts_bytes = i64::try_from(self.parts_bytes).map_err(io::Error::other)?;
        row.parts = std::mem::take(&mut self.parts);
        row.tail = None;
        if self.filled > SHORT_TAIL {
            let payload = std::mem::take(&mut self.filling).into_iter().collect::<PutPayload>();
            self.store.patient.put(&self.store.tail_key(&row), payload).await.map_err(fault)?;
        } else if self.filled > 0 {
            let mut tail = BytesMut::with_capacity(self.filled);
            self.filling.iter().for_each(|piece| tail.extend_from_slice(piece));
            row.tail = Some(tail.to_vec());
        }
        let held = Held { row, writer: self.held.writer };
        self.store.save(&held, true).await?;
        if let Some(progress) = self.progress.take() {
            let mut sessions = self.store.sessions();
            if sessions.len() >= MOST_SESSIONS {
                sessions.clear();
            }
            sessions.insert(held.row.id, progress);
        }
        Ok(offset)
    }
}

fn unless_missing(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::NotFound { io::Error::other(error) } else { error }
}

/// Has the digest see these bytes, on a thread for such work.
async fn seen(progress: Option<Progress>, bytes: Vec<Bytes>) -> io::Result<Option<Progress>> {
    let Some(mut progress) = progress else { return Ok(None) };
    blocking(move || {
        bytes.iter().for_each(|piece| progress.take(piece));
        Ok(Some(progress))
    })
    .await
}
