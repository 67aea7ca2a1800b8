//! Uploads in progress: `uploads/<id>/{repository,data}`. The offset is the length of `data`, so an upload survives a restart.
//!
//! The digest is computed while the bytes stream by. When its state is lost (restart, another replica, a failed write)
//! the file is read once more; a client never has to care.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use thiserror::Error;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use super::blob_fs::{BlobFs, blocking};
use crate::domain::digest::{Algorithm, Digest, Hasher};
use crate::domain::name::RepositoryName;
use crate::domain::sums::{BLOCK, Summing, Sums};

#[derive(Debug, Error)]
pub enum UploadError {
    #[error("there is no such upload")]
    Unknown,
    #[error("another request is writing to this upload")]
    Busy,
    #[error("the upload stands at byte {at}, the chunk starts at {start}")]
    OutOfOrder { at: u64, start: u64 },
    #[error("the chunk has {got} bytes, its header says {said}")]
    Length { said: u64, got: u64 },
    #[error("a blob has at most {0} bytes")]
    TooLarge(u64),
    #[error("the content has digest {found}")]
    Digest { found: Digest },
    #[error("the connection broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no byte came for {0:?}")]
    Slow(Duration),
    #[error("the store cannot be written")]
    Io(#[from] io::Error),
}

/// What a request says about the bytes it carries, and the bounds it must keep.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// Where it says it starts; `None` appends.
    pub start: Option<u64>,
    /// How long it says it is.
    pub length: Option<u64>,
    /// Bytes the whole blob may have.
    pub max: u64,
    /// Longest pause between two pieces.
    pub patience: Duration,
}

/// A complete, verified, durable file that is not yet a blob.
#[derive(Debug)]
pub struct Staged {
    pub digest: Digest,
    pub size: u64,
    pub sums: Sums,
    pub(super) path: PathBuf,
}

impl Staged {
    /// A whole file that was checked and is on the disk.
    pub(super) fn of(digest: Digest, size: u64, sums: Sums, path: PathBuf) -> Self {
        Self { digest, size, sums, path }
    }
}

/// The digest's state of each upload this process is writing.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<Option<Progress>>>>>);

struct Progress {
    hasher: Hasher,
    summing: Summing,
    offset: u64,
}

type Guard = OwnedMutexGuard<Option<Progress>>;

impl BlobFs {
    fn upload_dir(&self, id: Uuid) -> PathBuf {
        self.root.join("uploads").join(id.to_string())
    }

    /// # Errors
    /// I/O.
    pub async fn start_upload(&self, id: Uuid, repository: &RepositoryName, algorithm: Algorithm) -> Result<(), UploadError> {
        let (dir, owner) = (self.upload_dir(id), format!("{repository} {}", algorithm.as_str()));
        blocking(move || {
            fs::create_dir(&dir)?;
            File::create_new(dir.join("data"))?;
            // Last: an upload without an owner does not exist.
            fs::write(dir.join("repository"), owner)
        })
        .await?;
        Ok(())
    }

    /// How many bytes have come.
    ///
    /// # Errors
    /// Unknown id, also when it belongs to another repository.
    pub async fn upload_offset(&self, id: Uuid, repository: &RepositoryName) -> Result<u64, UploadError> {
        self.owner(id, repository).await?;
        let data = self.upload_dir(id).join("data");
        blocking(move || Ok(fs::metadata(data)?.len())).await.map_err(over)
    }

    /// Appends a body; returns the new offset. What came before a broken connection stays.
    ///
    /// # Errors
    /// See [`UploadError`].
    pub async fn append<E>(&self, id: Uuid, repository: &RepositoryName, chunk: Chunk, body: impl Stream<Item = Result<Bytes, E>>) -> Result<u64, UploadError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let algorithm = self.owner(id, repository).await?;
        let guard = self.lock(id).await?;
        let dir = self.upload_dir(id);
        let path = dir.join("data");
        let (file, at) = blocking(move || {
            let file = OpenOptions::new().append(true).open(path)?;
            let at = file.metadata()?.len();
            Ok((file, at))
        })
        .await
        .map_err(over)?;
        // Two replicas may share the folder.
        file.try_lock().map_err(|_| UploadError::Busy)?;
        if let Some(start) = chunk.start.filter(|start| *start != at) {
            return Err(UploadError::OutOfOrder { at, start });
        }
        // The writer has a thread of its own, so that hashing and writing go on while the next piece is on its way.
        let (pieces, inbox) = tokio::sync::mpsc::channel::<Bytes>(8);
        let data = dir.join("data");
        let writer = tokio::task::spawn_blocking(move || write(file, &data, at, algorithm, inbox, guard));
        let fed = feed(chunk, at, body, pieces).await;
        let offset = writer.await.map_err(io::Error::other)??;
        match fed {
            Ok(()) => Ok(offset),
            // A chunk that lied about its length is as if it never came; a broken one may be resumed.
            Err(error @ (UploadError::Length { .. } | UploadError::TooLarge(_))) => {
                self.truncate(id, at).await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn truncate(&self, id: Uuid, to: u64) -> Result<(), UploadError> {
        let mut guard = self.lock(id).await?;
        *guard = None;
        let data = self.upload_dir(id).join("data");
        Ok(blocking(move || OpenOptions::new().write(true).open(data)?.set_len(to)).await?)
    }

    /// Checks the digest of all that came and makes it durable. The upload stays until [`BlobFs::end_upload`].
    ///
    /// # Errors
    /// Another digest: the upload is then over, as the specification's clients expect.
    pub async fn finish(&self, id: Uuid, repository: &RepositoryName, wanted: &Digest) -> Result<Staged, UploadError> {
        self.owner(id, repository).await?;
        let mut guard = self.lock(id).await?;
        let path = self.upload_dir(id).join("data");
        let known = guard.take();
        let (staged, algorithm) = (path.clone(), wanted.algorithm());
        let (size, found, sums) = blocking(move || {
            let file = File::open(&staged)?;
            let size = file.metadata()?.len();
            let progress = match known {
                Some(progress) if progress.offset == size && progress.hasher.algorithm() == algorithm => progress,
                _ => hash_file(&staged, algorithm)?,
            };
            file.sync_all()?;
            Ok((size, progress.hasher.finish(), progress.summing.finish()))
        })
        .await
        .map_err(over)?;
        drop(guard);
        if found != *wanted {
            self.end_upload(id).await?;
            return Err(UploadError::Digest { found });
        }
        Ok(Staged { digest: found, size, sums, path })
    }

    /// Forgets an upload and what is left of its bytes.
    ///
    /// # Errors
    /// I/O.
    pub async fn end_upload(&self, id: Uuid) -> Result<(), UploadError> {
        self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        let dir = self.upload_dir(id);
        Ok(blocking(move || match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await?)
    }

    /// # Errors
    /// Unknown id, also when it belongs to another repository.
    pub async fn cancel_upload(&self, id: Uuid, repository: &RepositoryName) -> Result<(), UploadError> {
        self.owner(id, repository).await?;
        let guard = self.lock(id).await?;
        drop(guard);
        self.end_upload(id).await
    }

    /// Removes uploads that nobody has touched for `age`; returns how many.
    ///
    /// # Errors
    /// I/O.
    pub async fn remove_stale_uploads(&self, age: Duration) -> io::Result<u64> {
        let folder = self.root.join("uploads");
        let stale = blocking(move || {
            let mut stale = Vec::new();
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                let touched = fs::metadata(path.join("data")).or_else(|_| fs::metadata(&path)).and_then(|m| m.modified());
                // File times come from the same machine clock; a clock that steps back only delays the removal.
                #[allow(clippy::disallowed_methods, reason = "compared with file times, which no Env can set")]
                let old = touched.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|d| d > age));
                if old {
                    stale.push(path);
                }
            }
            Ok(stale)
        })
        .await?;
        let mut removed = 0;
        for path in stale {
            let id = path.file_name().and_then(|n| n.to_str()).and_then(|n| Uuid::parse_str(n).ok());
            if let Some(id) = id {
                self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            }
            blocking(move || if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }).await?;
            removed += 1;
        }
        Ok(removed)
    }

    async fn owner(&self, id: Uuid, repository: &RepositoryName) -> Result<Algorithm, UploadError> {
        let path = self.upload_dir(id).join("repository");
        let text = blocking(move || match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await?
        .ok_or(UploadError::Unknown)?;
        let (owner, algorithm) = text.split_once(' ').ok_or(UploadError::Unknown)?;
        if owner != repository.as_str() {
            return Err(UploadError::Unknown);
        }
        Algorithm::parse(algorithm).ok_or(UploadError::Unknown)
    }

    /// One writer at a time. A writer whose client has gone ends soon, so a short wait is enough.
    async fn lock(&self, id: Uuid) -> Result<Guard, UploadError> {
        let session = self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default().clone();
        tokio::time::timeout(Duration::from_secs(5), session.lock_owned()).await.map_err(|_| UploadError::Busy)
    }
}

/// The data moved to its place and the process was killed before it removed the rest: the upload is over.
fn over(error: io::Error) -> UploadError {
    if error.kind() == io::ErrorKind::NotFound { UploadError::Unknown } else { UploadError::Io(error) }
}

/// What is read of a body that cannot be kept: a client that is still sending would see a broken connection instead of the answer.
const DRAINED: u64 = 64 << 20;

/// Passes the body on to the writer, watching its length and pace.
async fn feed<E>(chunk: Chunk, at: u64, body: impl Stream<Item = Result<Bytes, E>>, pieces: tokio::sync::mpsc::Sender<Bytes>) -> Result<(), UploadError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut body = std::pin::pin!(body);
    let mut got = 0u64;
    loop {
        let piece = match tokio::time::timeout(chunk.patience, body.next()).await {
            Err(_) => return Err(UploadError::Slow(chunk.patience)),
            Ok(None) => break,
            Ok(Some(Err(error))) => return Err(UploadError::Broken(error.into())),
            Ok(Some(Ok(piece))) => piece,
        };
        got += piece.len() as u64;
        if let Some(said) = chunk.length.filter(|said| got > *said) {
            return Err(UploadError::Length { said, got });
        }
        if at.saturating_add(got) > chunk.max {
            return Err(UploadError::TooLarge(chunk.max));
        }
        // The writer hangs up only after a fault of its own, which its result tells.
        if pieces.send(piece).await.is_err() {
            let mut left = DRAINED;
            while let Ok(Some(Ok(piece))) = tokio::time::timeout(chunk.patience, body.next()).await {
                left = left.saturating_sub(piece.len() as u64);
                if left == 0 {
                    break;
                }
            }
            return Ok(());
        }
    }
    match chunk.length {
        Some(said) if said != got => Err(UploadError::Length { said, got }),
        _ => Ok(()),
    }
}

/// Holds the guard until the last byte is written, also when the request's future is dropped half-way.
fn write(
    mut file: File,
    path: &std::path::Path,
    at: u64,
    algorithm: Algorithm,
    mut inbox: tokio::sync::mpsc::Receiver<Bytes>,
    mut guard: Guard,
) -> io::Result<u64> {
    // Taken out: after an error half-way the state is lost, and the next request reads the file again.
    let mut progress = match guard.take() {
        Some(progress) if progress.offset == at => progress,
        _ => hash_file(path, algorithm)?,
    };
    while let Some(piece) = inbox.blocking_recv() {
        file.write_all(&piece)?;
        progress.hasher.update(&piece);
        progress.summing.update(&piece);
        progress.offset += piece.len() as u64;
    }
    let offset = progress.offset;
    *guard = Some(progress);
    Ok(offset)
}

fn hash_file(path: &std::path::Path, algorithm: Algorithm) -> io::Result<Progress> {
    let mut progress = Progress { hasher: Hasher::new(algorithm), summing: Summing::default(), offset: 0 };
    let mut file = File::open(path)?;
    let mut buffer = vec![0; BLOCK];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(progress);
        }
        progress.hasher.update(&buffer[..n]);
        progress.summing.update(&buffer[..n]);
        progress.offset += n as u64;
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use proptest::prelude::*;

    use super::*;

    const ID: Uuid = Uuid::from_u128(7);

    fn name() -> RepositoryName {
        RepositoryName::parse("acme/shop/web").unwrap()
    }

    fn chunk(start: Option<u64>) -> Chunk {
        Chunk { start, length: None, max: 1 << 30, patience: Duration::from_secs(5) }
    }

    fn body(pieces: &[&'static [u8]]) -> impl Stream<Item = Result<Bytes, io::Error>> + use<> {
        stream::iter(pieces.iter().map(|p| Ok(Bytes::from_static(p))).collect::<Vec<_>>())
    }

    async fn begun() -> (tempfile::TempDir, BlobFs) {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobFs::open(folder.path()).unwrap();
        store.start_upload(ID, &name(), Algorithm::Sha256).await.unwrap();
        (folder, store)
    }

    #[tokio::test]
    async fn an_upload_in_pieces_becomes_a_blob() {
        let (_folder, store) = begun().await;
        assert_eq!(store.append(ID, &name(), chunk(Some(0)), body(&[b"hel", b"lo "])).await.unwrap(), 6);
        assert_eq!(store.append(ID, &name(), chunk(Some(6)), body(&[b"world"])).await.unwrap(), 11);
        for algorithm in [Algorithm::Sha512, Algorithm::Sha256] {
            let digest = Digest::of(algorithm, b"hello world");
            let staged = store.finish(ID, &name(), &digest).await.unwrap();
            assert_eq!(staged.size, 11);
            if algorithm == Algorithm::Sha256 {
                store.publish([&staged]).await.unwrap();
                store.end_upload(ID).await.unwrap();
                assert_eq!(store.size(&digest).await.unwrap(), Some(11));
            }
        }
        assert!(matches!(store.upload_offset(ID, &name()).await, Err(UploadError::Unknown)));
    }

    #[tokio::test]
    async fn an_upload_goes_on_after_a_restart() {
        let (folder, store) = begun().await;
        store.append(ID, &name(), chunk(None), body(&[b"hello "])).await.unwrap();
        drop(store);
        let store = BlobFs::open(folder.path()).unwrap();
        assert_eq!(store.upload_offset(ID, &name()).await.unwrap(), 6);
        store.append(ID, &name(), chunk(Some(6)), body(&[b"world"])).await.unwrap();
        assert!(store.finish(ID, &name(), &Digest::of(Algorithm::Sha256, b"hello world")).await.is_ok());
    }

    #[tokio::test]
    async fn what_came_before_the_connection_broke_stays() {
        let (_folder, store) = begun().await;
        let broken = stream::iter([Ok(Bytes::from_static(b"hello ")), Err(io::Error::other("reset"))]);
        assert!(matches!(store.append(ID, &name(), chunk(None), broken).await, Err(UploadError::Broken(_))));
        assert_eq!(store.upload_offset(ID, &name()).await.unwrap(), 6);
        store.append(ID, &name(), chunk(Some(6)), body(&[b"world"])).await.unwrap();
        assert!(store.finish(ID, &name(), &Digest::of(Algorithm::Sha256, b"hello world")).await.is_ok());
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_leaves_a_usable_upload() {
        let (_folder, store) = begun().await;
        let endless = body(&[b"hello "]).chain(stream::pending());
        let name = name();
        let request = store.append(ID, &name, chunk(None), endless);
        assert!(tokio::time::timeout(Duration::from_millis(50), request).await.is_err());
        assert_eq!(store.append(ID, &name, chunk(Some(6)), body(&[b"world"])).await.unwrap(), 11);
        assert!(store.finish(ID, &name, &Digest::of(Algorithm::Sha256, b"hello world")).await.is_ok());
    }

    #[tokio::test]
    async fn chunks_out_of_order_or_with_a_wrong_length_change_nothing() {
        let (_folder, store) = begun().await;
        store.append(ID, &name(), chunk(None), body(&[b"hello"])).await.unwrap();
        let gap = store.append(ID, &name(), chunk(Some(9)), body(&[b"x"])).await;
        assert!(matches!(gap, Err(UploadError::OutOfOrder { at: 5, start: 9 })));
        for said in [1, 9] {
            let lied = store.append(ID, &name(), Chunk { length: Some(said), ..chunk(None) }, body(&[b"xyz"])).await;
            assert!(matches!(lied, Err(UploadError::Length { .. })));
        }
        let large = store.append(ID, &name(), Chunk { max: 6, ..chunk(None) }, body(&[b"xyz"])).await;
        assert!(matches!(large, Err(UploadError::TooLarge(6))));
        assert_eq!(store.upload_offset(ID, &name()).await.unwrap(), 5);
        assert!(store.finish(ID, &name(), &Digest::of(Algorithm::Sha256, b"hello")).await.is_ok());
    }

    #[tokio::test]
    async fn a_wrong_digest_ends_the_upload() {
        let (_folder, store) = begun().await;
        store.append(ID, &name(), chunk(None), body(&[b"hello"])).await.unwrap();
        let wrong = Digest::of(Algorithm::Sha256, b"other");
        assert!(matches!(store.finish(ID, &name(), &wrong).await, Err(UploadError::Digest { .. })));
        assert!(matches!(store.upload_offset(ID, &name()).await, Err(UploadError::Unknown)));
        assert_eq!(store.size(&wrong).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_upload_of_another_repository_is_unknown() {
        let (_folder, store) = begun().await;
        let other = RepositoryName::parse("acme/shop/other").unwrap();
        assert!(matches!(store.append(ID, &other, chunk(None), body(&[b"x"])).await, Err(UploadError::Unknown)));
        assert!(matches!(store.cancel_upload(ID, &other).await, Err(UploadError::Unknown)));
        store.cancel_upload(ID, &name()).await.unwrap();
        assert!(matches!(store.upload_offset(ID, &name()).await, Err(UploadError::Unknown)));
    }

    #[tokio::test]
    async fn only_uploads_left_alone_are_removed() {
        let (_folder, store) = begun().await;
        assert_eq!(store.remove_stale_uploads(Duration::from_secs(60)).await.unwrap(), 0);
        assert_eq!(store.remove_stale_uploads(Duration::ZERO).await.unwrap(), 1);
        assert!(matches!(store.upload_offset(ID, &name()).await, Err(UploadError::Unknown)));
    }

    #[tokio::test]
    async fn a_sender_that_falls_silent_is_cut_off() {
        let (_folder, store) = begun().await;
        let slow = store.append(ID, &name(), Chunk { patience: Duration::from_millis(20), ..chunk(None) }, stream::pending::<Result<Bytes, io::Error>>()).await;
        assert!(matches!(slow, Err(UploadError::Slow(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// However the content is cut, and wherever the process restarts, the digest is the content's.
        #[test]
        fn any_cut_gives_the_same_digest(cuts in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), any::<bool>()), 0..6)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (folder, mut store) = begun().await;
                let mut whole = Vec::new();
                for (piece, restart) in cuts {
                    let start = whole.len() as u64;
                    whole.extend_from_slice(&piece);
                    let one = stream::iter([Ok::<_, io::Error>(Bytes::from(piece))]);
                    store.append(ID, &name(), chunk(Some(start)), one).await.unwrap();
                    if restart {
                        store = BlobFs::open(folder.path()).unwrap();
                    }
                }
                store.finish(ID, &name(), &Digest::of(Algorithm::Sha256, &whole)).await.unwrap();
            });
        }
    }
}
