//! Uploads on their way into a bucket. Bytes are gathered into parts of `part_bytes`; what is left over at the end of a request
//! waits in the database when it is little, else as an object of its own. The digest is computed while the bytes stream by; when
//! its state is lost (restart, another replica) the parts are joined and read once more.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use super::super::blob_fs::blocking;
use super::super::blob_store::{Body, Chunk, Place, Staged, UploadError};
use super::super::feed::{QUEUE, Room, feed};
use super::super::upload_fs::Progress;
use super::BlobS3;
use super::fault::io as fault;
use crate::domain::digest::{Algorithm, Digest};
use crate::domain::littering::Open;
use crate::domain::name::RepositoryName;
use crate::domain::sums::Sums;
use crate::error::is_away;
use crate::store::uploads::{self, Refused, Upload};

mod writing;

use writing::Writing;

/// The digest's state of each upload this process is writing.
pub type Sessions = Mutex<HashMap<Uuid, Progress>>;

/// How long a writer that was killed keeps others away.
const LEASE: Duration = Duration::from_secs(10);
/// Longer than that: who resumes after a crash waits instead of failing.
const WAIT: Duration = Duration::from_secs(12);
const LOOK: Duration = Duration::from_millis(200);
const STALE: i64 = 500;
/// Uploads that are looked at together, the oldest of all.
const MOST_OPEN: i64 = 100_000;

/// An upload that this request has for itself.
struct Held {
    row: Upload,
    writer: Uuid,
}

impl BlobS3 {
    fn pool(&self) -> &sqlx::PgPool {
        &self.host.db().pool
    }

    pub(super) async fn begin(&self, id: Uuid, repository: &RepositoryName, algorithm: Algorithm) -> Result<(), UploadError> {
        Ok(uploads::begin(self.pool(), id, repository, algorithm.as_str(), self.host.env.now()).await.map_err(io::Error::other)?)
    }

    pub(super) async fn offset(&self, id: Uuid, repository: &RepositoryName) -> Result<u64, UploadError> {
        let offset = uploads::offset(self.pool(), id, repository).await.map_err(io::Error::other)?;
        offset.map(i64::unsigned_abs).ok_or(UploadError::Unknown)
    }

    async fn take(&self, id: Uuid, repository: &RepositoryName) -> Result<Held, UploadError> {
        let (writer, deadline) = (self.host.env.uuid(), Instant::now() + WAIT);
        loop {
            let now = self.host.env.now();
            match uploads::take(self.pool(), id, repository, writer, now, now + LEASE).await.map_err(io::Error::other)? {
                Ok(row) => return Ok(Held { row, writer }),
                Err(Refused::Unknown) => return Err(UploadError::Unknown),
                Err(Refused::Busy) if Instant::now() >= deadline => return Err(UploadError::Busy),
                Err(Refused::Busy) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    async fn release(&self, held: &Held) {
        if let Err(error) = uploads::release(self.pool(), held.row.id, held.writer).await {
            tracing::warn!(upload.id = %held.row.id, error = %error, "an upload stays taken for some seconds");
        }
    }

    /// Writes down how far it is; `done` lets go of it.
    async fn save(&self, held: &Held, done: bool) -> Result<(), UploadError> {
        let saved = uploads::save(self.pool(), &held.row, held.writer, done, self.host.env.now()).await.map_err(io::Error::other)?;
        if saved { Ok(()) } else { Err(self.lost(held.row.id).await) }
    }

    /// Why a writer has its upload no more: it is over, or another request has it.
    async fn lost(&self, id: Uuid) -> UploadError {
        match uploads::find(self.pool(), id).await {
            Ok(None) => UploadError::Unknown,
            Ok(Some(_)) => UploadError::Busy,
            Err(error) => UploadError::Io(io::Error::other(error)),
        }
    }

    pub(super) async fn take_in(&self, id: Uuid, repository: &RepositoryName, chunk: Chunk, body: Body<'_>) -> Result<u64, UploadError> {
        let held = self.take(id, repository).await?;
        let at = held.row.offset_bytes.unsigned_abs();
        if held.row.whole {
            self.release(&held).await;
            return Err(UploadError::Unknown);
        }
        if let Some(start) = chunk.start.filter(|start| *start != at) {
            self.release(&held).await;
            return Err(UploadError::OutOfOrder { at, start });
        }
        let (pieces, inbox) = mpsc::channel(QUEUE);
        let (verdict, told) = oneshot::channel();
        // A task of its own: what has come is kept also when the client is gone and this request with it.
        let writing = self.host.tracker.spawn(Writing::start(self.clone(), held).run(inbox, told));
        let fed = feed(chunk, at, body, pieces, Room::default()).await;
        // A chunk that lied about its length is as if it never came; a broken one may be resumed.
        let _ = verdict.send(!matches!(fed, Err(UploadError::Length { .. } | UploadError::TooLarge(_))));
        let offset = writing.await.map_err(io::Error::other)?;
        match fed {
            Ok(()) => offset.map_err(UploadError::or_over),
            Err(error) => Err(error),
        }
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Progress>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn data_key(&self, id: Uuid) -> Path {
        self.upload_prefix(id).join("data")
    }

    fn tail_key(&self, row: &Upload) -> Path {
        self.upload_prefix(row.id).join(format!("tail-{}-{}", row.parts_bytes, row.offset_bytes))
    }

    /// What is behind the parts.
    async fn tail(&self, row: &Upload) -> io::Result<Bytes> {
        if let Some(tail) = &row.tail {
            return Ok(Bytes::copy_from_slice(tail));
        }
        if row.whole || row.offset_bytes == row.parts_bytes {
            return Ok(Bytes::new());
        }
        self.s3.get(&self.tail_key(row)).await.map_err(fault)?.bytes().await.map_err(fault)
    }

    pub(super) async fn complete(&self, id: Uuid, repository: &RepositoryName, wanted: &Digest, inline: u64) -> Result<Staged, UploadError> {
        let mut held = self.take(id, repository).await?;
        match self.verify(&mut held, wanted, inline).await {
            Ok(staged) => {
                self.save(&held, true).await?;
                Ok(staged)
            }
            Err(error @ UploadError::Digest { .. }) => {
                self.end(id).await?;
                Err(error)
            }
            Err(error) => {
                self.release(&held).await;
                Err(error.or_over())
            }
        }
    }

    /// Checks the digest of `bytes`, which are all that comes: the bucket does not see them. `None` when the upload has bytes already, or
    /// somebody is writing to it.
    pub(super) async fn whole(&self, id: Uuid, repository: &RepositoryName, wanted: &Digest, bytes: &Bytes) -> Result<Option<Staged>, UploadError> {
        let untouched = uploads::untouched(self.pool(), id, repository, self.host.env.now()).await.map_err(io::Error::other)?;
        if !untouched.ok_or(UploadError::Unknown)? {
            return Ok(None);
        }
        let (algorithm, content) = (wanted.algorithm(), bytes.clone());
        let (found, sums) = blocking(move || Ok((Digest::of(algorithm, &content), Sums::of(&content)))).await?;
        if found != *wanted {
            self.end(id).await?;
            return Err(UploadError::Digest { found });
        }
        Ok(Some(Staged::of(found, bytes.len() as u64, sums, Place::Inline(bytes.clone()))))
    }

    async fn verify(&self, held: &mut Held, wanted: &Digest, inline: u64) -> Result<Staged, UploadError> {
        let (id, size, algorithm) = (held.row.id, held.row.offset_bytes.unsigned_abs(), wanted.algorithm());
        let known = self.sessions().remove(&id);
        if held.row.multipart.is_none() && !held.row.whole {
            let bytes = self.tail(&held.row).await?;
            let content = bytes.clone();
            let (found, sums) = blocking(move || Ok((Digest::of(algorithm, &content), Sums::of(&content)))).await?;
            if found != *wanted {
                return Err(UploadError::Digest { found });
            }
            let place = if size <= inline { Place::Inline(bytes) } else { Place::Memory(bytes) };
            return Ok(Staged::of(found, size, sums, place));
        }
        let known = known.filter(|p| p.offset == size && p.hasher.algorithm() == algorithm).map(|p| (p.hasher.finish(), p.summing.finish()));
        if let Some((found, _)) = known.as_ref().filter(|(found, _)| found != wanted) {
            return Err(UploadError::Digest { found: found.clone() });
        }
        if !held.row.whole {
            self.join(held).await?;
        }
        let (found, sums) = match known {
            Some(known) => known,
            None => self.read_again(held, algorithm).await?,
        };
        if found != *wanted {
            return Err(UploadError::Digest { found });
        }
        Ok(Staged::of(found, size, sums, Place::Object(self.data_key(id))))
    }

    /// Makes one object of the parts.
    async fn join(&self, held: &mut Held) -> Result<(), UploadError> {
        let key = self.data_key(held.row.id);
        let Some(multipart) = held.row.multipart.clone() else { return Err(UploadError::Unknown) };
        let tail = self.tail(&held.row).await?;
        let mut parts: Vec<PartId> = held.row.parts.iter().map(|content_id| PartId { content_id: content_id.clone() }).collect();
        let joined = async {
            if !tail.is_empty() {
                parts.push(self.patient.put_part(&key, &multipart, parts.len(), tail.into()).await?);
            }
            self.patient.complete_multipart(&key, &multipart, parts).await
        };
        if let Err(error) = self.holding(held, joined).await?.map_err(fault) {
            // Joined before, by a process that was killed before it could write that down.
            let there = self.s3.head(&key).await.map_err(fault);
            if error.kind() != io::ErrorKind::NotFound || !there.is_ok_and(|meta| meta.size == held.row.offset_bytes.unsigned_abs()) {
                return Err(error.into());
            }
        }
        held.row = Upload { multipart: None, parts: Vec::new(), parts_bytes: held.row.offset_bytes, tail: None, whole: true, ..held.row.clone() };
        self.save(held, false).await
    }

    async fn read_again(&self, held: &Held, algorithm: Algorithm) -> Result<(Digest, Sums), UploadError> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let (_, mut stream) = self.get(&self.data_key(held.row.id), None).await?.ok_or_else(missing)?;
        let mut progress = Progress::new(algorithm);
        let mut gathered = BytesMut::new();
        let mut held_until = Instant::now();
        loop {
            let next = stream.next().await.transpose()?;
            let over = next.is_none();
            gathered.extend_from_slice(&next.unwrap_or_default());
            if over || gathered.len() >= crate::domain::sums::BLOCK {
                let block = gathered.split().freeze();
                progress = blocking(move || {
                    progress.take(&block);
                    Ok(progress)
                })
                .await?;
            }
            if over {
                return Ok((progress.hasher.finish(), progress.summing.finish()));
            }
            if held_until.elapsed() > LEASE / 3 {
                self.hold(held).await?;
                held_until = Instant::now();
            }
        }
    }

    /// Keeps the upload while `work` goes on.
    async fn holding<T>(&self, held: &Held, work: impl Future<Output = T>) -> Result<T, UploadError> {
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(LEASE / 3, &mut work).await {
                Ok(done) => return Ok(done),
                Err(_) => self.hold(held).await?,
            }
        }
    }

    async fn hold(&self, held: &Held) -> Result<(), UploadError> {
        let now = self.host.env.now();
        let kept = uploads::hold(self.pool(), held.row.id, held.writer, now, now + LEASE).await.map_err(io::Error::other)?;
        if kept { Ok(()) } else { Err(self.lost(held.row.id).await) }
    }

    pub(super) async fn cancel(&self, id: Uuid, repository: &RepositoryName) -> Result<(), UploadError> {
        self.take(id, repository).await?;
        Ok(self.end(id).await?)
    }

    /// The row goes last: whatever is interrupted is begun again with the next look for stale uploads.
    pub(super) async fn end(&self, id: Uuid) -> io::Result<()> {
        if self.clear(id).await? { uploads::forget(self.pool(), id).await.map_err(io::Error::other) } else { Ok(()) }
    }

    /// The same where nobody is told that it is over.
    pub(super) async fn end_published(&self, id: Uuid) -> io::Result<()> {
        if self.clear(id).await? { uploads::forget_published(self.pool(), id).await.map_err(io::Error::other) } else { Ok(()) }
    }

    /// Removes what the bucket has of an upload; whether there is such an upload.
    async fn clear(&self, id: Uuid) -> io::Result<bool> {
        self.sessions().remove(&id);
        let Some(row) = uploads::find(self.pool(), id).await.map_err(io::Error::other)? else { return Ok(false) };
        if let Some(multipart) = &row.multipart {
            match self.s3.abort_multipart(&self.data_key(id), multipart).await.map_err(fault) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if row.multipart.is_some() || row.whole || (row.tail.is_none() && row.offset_bytes > row.parts_bytes) {
            let keys: Vec<Path> = self.s3.list(Some(&self.upload_prefix(id))).map_ok(|meta| meta.location).try_collect().await.map_err(fault)?;
            self.delete(keys).await?;
        }
        Ok(true)
    }

    pub(super) async fn under_way(&self) -> io::Result<Vec<(String, Open)>> {
        let now = self.host.env.now();
        let rows = uploads::open(self.pool(), MOST_OPEN).await.map_err(io::Error::other)?;
        let open = |(id, repository, bytes, touched_at): (Uuid, String, i64, time::OffsetDateTime)| {
            // One that was touched by a clock that is ahead is not idle.
            let idle = Duration::try_from(now - touched_at).unwrap_or_default();
            (repository, Open { id, bytes: bytes.unsigned_abs(), idle })
        };
        Ok(rows.into_iter().map(open).collect())
    }

    pub(super) async fn remove_stale(&self, age: Duration) -> io::Result<u64> {
        let before = self.host.env.now() - age;
        let mut removed = 0;
        loop {
            let stale = uploads::stale(self.pool(), before, STALE).await.map_err(io::Error::other)?;
            let mut ended = 0;
            for id in &stale {
                match self.end(*id).await {
                    Ok(()) => ended += 1,
                    Err(error) if is_away(&error) => return Err(error),
                    // The others go all the same.
                    Err(error) => tracing::warn!(upload.id = %id, error = %error, "a stale upload could not be removed and will be"),
                }
            }
            removed += ended;
            // Where none of so many could be ended, the next look would find the same.
            if ended == 0 || stale.len() < usize::try_from(STALE).unwrap_or(usize::MAX) {
                break;
            }
        }
        // Left behind by a process that was killed between the store and the database.
        let folder = self.prefix.clone().join("uploads");
        let mut objects = self.s3.list(Some(&folder));
        let mut orphans = Vec::new();
        while let Some(meta) = objects.next().await.transpose().map_err(fault)? {
            let id = meta.location.prefix_match(&folder).and_then(|mut rest| Uuid::parse_str(rest.next()?.as_ref()).ok());
            let old = meta.last_modified.timestamp() < before.unix_timestamp();
            if let Some(id) = id.filter(|_| old)
                && uploads::find(self.pool(), id).await.map_err(io::Error::other)?.is_none()
            {
                orphans.push(meta.location);
            }
        }
        self.delete(orphans).await?;
        Ok(removed)
    }
}
