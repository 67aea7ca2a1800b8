//! All content by its digest: what is small lives in the database, where it is durable with the row that names it and costs no
//! file; the rest in the store.

use std::collections::HashMap;
use std::io::{self, Seek, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use sqlx::PgPool;
use url::Url;
use uuid::Uuid;

use super::blob_fs::blocking;
use super::blob_store::{Blob, BlobStore, BodyError, Chunk, Opened, Place, Staged, UploadError};
use super::spool::{self, Coming, Incoming};
use crate::domain::digest::{Algorithm, Digest};
use crate::domain::littering::Open;
use crate::domain::name::RepositoryName;
use crate::domain::sums::{BLOCK, Sums};
use crate::store::small;

/// The content. Cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn BlobStore>,
    pool: PgPool,
    /// Content of at most so many bytes lives in the database; 0: only empty content does.
    inline: u64,
}

impl Blobs {
    pub fn new(store: impl BlobStore, pool: PgPool, inline: u64) -> Self {
        Self { store: Arc::new(store), pool, inline }
    }

    async fn small(&self, digest: &Digest) -> io::Result<Option<Bytes>> {
        Ok(small::read(&self.pool, digest).await.map_err(io::Error::other)?.map(Bytes::from))
    }

    /// Bytes `part` of a blob; it begins and ends at block borders or the blob's end. A missing blob is `None`.
    ///
    /// # Errors
    /// I/O.
    pub async fn open(&self, digest: &Digest, part: Range<u64>) -> io::Result<Option<Opened>> {
        match self.small(digest).await? {
            Some(bytes) => Ok(Some(opened(&bytes, part))),
            None => self.store.open(digest, part).await,
        }
    }

    /// The same for content that is known not to be in the database.
    ///
    /// # Errors
    /// I/O.
    pub async fn open_stored(&self, digest: &Digest, part: Range<u64>) -> io::Result<Option<Opened>> {
        self.store.open(digest, part).await
    }

    /// The whole blob as a file.
    ///
    /// # Errors
    /// I/O; a missing blob is `None`.
    pub async fn read(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        let Some(bytes) = self.small(digest).await? else { return self.store.local(digest).await };
        let folder = self.store.spool().to_owned();
        let file = blocking(move || {
            // Without a name: it is gone when it is closed, whatever happens.
            let mut file = tempfile::tempfile_in(&folder)?;
            file.write_all(&bytes)?;
            file.rewind()?;
            Ok(Blob { size: bytes.len() as u64, file })
        });
        Ok(Some(file.await?))
    }

    /// The whole of a small blob.
    ///
    /// # Errors
    /// I/O, or more than `limit` bytes.
    pub async fn read_small(&self, digest: &Digest, limit: u64) -> io::Result<Option<Vec<u8>>> {
        match small::read(&self.pool, digest).await.map_err(io::Error::other)? {
            Some(bytes) if bytes.len() as u64 > limit => {
                Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} bytes, at most {limit} are read here", bytes.len())))
            }
            Some(bytes) => Ok(Some(bytes)),
            None => self.store.read_small(digest, limit).await,
        }
    }

    /// The whole of small blobs, by their digests; those that are missing are left out.
    ///
    /// # Errors
    /// I/O, or more than `limit` bytes.
    pub async fn read_smalls(&self, digests: &[&Digest], limit: u64) -> io::Result<HashMap<String, Vec<u8>>> {
        let names: Vec<&str> = digests.iter().map(|d| d.as_str()).collect();
        let mut found: HashMap<String, Vec<u8>> = small::read_many(&self.pool, &names).await.map_err(io::Error::other)?.into_iter().collect();
        for digest in digests {
            if found.contains_key(digest.as_str()) {
                continue;
            }
            if let Some(bytes) = self.store.read_small(digest, limit).await? {
                found.insert(digest.to_string(), bytes);
            }
        }
        Ok(found)
    }

    /// # Errors
    /// I/O; a missing blob is `None`.
    pub async fn size(&self, digest: &Digest) -> io::Result<Option<u64>> {
        match small::size(&self.pool, digest).await.map_err(io::Error::other)? {
            Some(size) => Ok(Some(size)),
            None => self.store.size(digest).await,
        }
    }

    /// The same for content that is known not to be in the database.
    ///
    /// # Errors
    /// I/O; a missing blob is `None`.
    pub async fn stored_size(&self, digest: &Digest) -> io::Result<Option<u64>> {
        self.store.size(digest).await
    }

    /// Takes bytes at hand (a manifest), to be published. `digest` must be theirs.
    ///
    /// # Errors
    /// I/O.
    pub async fn stage(&self, name: Uuid, digest: Digest, bytes: Bytes) -> io::Result<Staged> {
        if bytes.len() as u64 <= self.inline {
            let sums = Sums::of(&bytes);
            return Ok(Staged::of(digest, bytes.len() as u64, sums, Place::Inline(bytes)));
        }
        self.store.stage(name, digest, bytes).await
    }

    /// See [`BlobStore::prepare`].
    ///
    /// # Errors
    /// I/O.
    pub async fn prepare(&self, staged: &Staged) -> io::Result<()> {
        if staged.inline().is_some() { Ok(()) } else { self.store.prepare(staged).await }
    }

    /// Makes what is not for the database readable under its digest. On return names and contents are durable.
    ///
    /// # Errors
    /// I/O; what is staged then stays as it was.
    pub async fn publish(&self, staged: &[&Staged]) -> io::Result<()> {
        let stored: Vec<&Staged> = staged.iter().copied().filter(|s| s.inline().is_none()).collect();
        if stored.is_empty() { Ok(()) } else { self.store.publish(&stored).await }
    }

    /// Removes the file of content that has not become a blob and that nobody tries again: it would lie there until somebody looks for stale uploads.
    /// One that has become a blob all the same is there no more.
    pub async fn discard(&self, file: PathBuf) {
        let name = file.display().to_string();
        match blocking(move || std::fs::remove_file(file)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(file = name, error = %error, "content that could not be kept could not be removed and will be");
            }
            _ => {}
        }
    }

    /// Removes blobs from the store. The caller has made sure that nothing refers to them, and has removed what is in the database.
    ///
    /// # Errors
    /// I/O; a missing blob is fine.
    pub async fn remove(&self, digests: &[Digest]) -> io::Result<()> {
        if digests.is_empty() { Ok(()) } else { self.store.remove(digests).await }
    }

    /// # Errors
    /// I/O.
    pub async fn start_upload(&self, id: Uuid, repository: &RepositoryName, algorithm: Algorithm) -> Result<(), UploadError> {
        self.store.start_upload(id, repository, algorithm).await
    }

    /// How many bytes have come.
    ///
    /// # Errors
    /// Unknown id, also when it belongs to another repository.
    pub async fn upload_offset(&self, id: Uuid, repository: &RepositoryName) -> Result<u64, UploadError> {
        self.store.upload_offset(id, repository).await
    }

    /// Appends a body; returns the new offset. What came before a broken connection stays.
    ///
    /// # Errors
    /// See [`UploadError`].
    pub async fn append<E>(
        &self,
        id: Uuid,
        repository: &RepositoryName,
        chunk: Chunk,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<u64, UploadError>
    where
        E: Into<BodyError>,
    {
        self.store.append(id, repository, chunk, body.map(|piece| piece.map_err(Into::into)).boxed()).await
    }

    /// See [`BlobStore::finish`].
    ///
    /// # Errors
    /// Another digest: the upload is then over, as the specification's clients expect.
    pub async fn finish(&self, id: Uuid, repository: &RepositoryName, wanted: &Digest) -> Result<Staged, UploadError> {
        self.store.finish(id, repository, wanted, self.inline).await
    }

    /// See [`BlobStore::finish_whole`].
    ///
    /// # Errors
    /// Another digest: the upload is then over.
    pub async fn finish_whole(&self, id: Uuid, repository: &RepositoryName, wanted: &Digest, bytes: &Bytes) -> Result<Option<Staged>, UploadError> {
        if bytes.len() as u64 > self.inline { Ok(None) } else { self.store.finish_whole(id, repository, wanted, bytes).await }
    }

    /// Forgets an upload and what is left of its bytes.
    ///
    /// # Errors
    /// I/O.
    pub async fn end_upload(&self, id: Uuid) -> Result<(), UploadError> {
        self.store.end_upload(id).await
    }

    /// # Errors
    /// Unknown id, also when it belongs to another repository.
    pub async fn cancel_upload(&self, id: Uuid, repository: &RepositoryName) -> Result<(), UploadError> {
        self.store.cancel_upload(id, repository).await
    }

    /// Removes uploads that nobody has touched for `age`; returns how many.
    ///
    /// # Errors
    /// I/O.
    pub async fn remove_stale_uploads(&self, age: Duration) -> io::Result<u64> {
        self.store.remove_stale_uploads(age).await
    }

    /// See [`BlobStore::open_uploads`].
    ///
    /// # Errors
    /// I/O.
    pub async fn open_uploads(&self) -> io::Result<Vec<(String, Open)>> {
        self.store.open_uploads().await
    }

    /// See [`BlobStore::stored`].
    ///
    /// # Errors
    /// I/O.
    pub async fn stored(&self, part: u8, before: SystemTime) -> io::Result<Vec<(Digest, u64)>> {
        self.store.stored(part, before).await
    }

    /// See [`BlobStore::tidy`].
    ///
    /// # Errors
    /// I/O.
    pub async fn tidy(&self, age: Duration) -> io::Result<()> {
        self.store.tidy(age).await
    }

    /// Makes room for content of `size` bytes from another registry, which is to have `digest`.
    ///
    /// # Errors
    /// I/O.
    pub async fn incoming(&self, name: Uuid, digest: Digest, size: u64) -> io::Result<(Incoming, Coming)> {
        spool::incoming(self.store.spool(), name, digest, size, self.inline).await
    }

    /// Where a client may fetch content of the store itself, if it may.
    ///
    /// # Errors
    /// I/O.
    pub async fn redirect(&self, digest: &Digest) -> io::Result<Option<Url>> {
        self.store.redirect(digest).await
    }
}

/// A part of content at hand.
pub fn opened(bytes: &Bytes, part: Range<u64>) -> Opened {
    let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
    let wanted = bytes.slice(at(part.start)..at(part.end).max(at(part.start)));
    let blocks: Vec<io::Result<Bytes>> = (0..wanted.len()).step_by(BLOCK).map(|from| Ok(wanted.slice(from..(from + BLOCK).min(wanted.len())))).collect();
    Opened { size: bytes.len() as u64, blocks: futures::stream::iter(blocks).boxed() }
}
