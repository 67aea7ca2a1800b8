//! Uploads in progress: `uploads/<id>/{repository,data}`. The offset is the length of `data`, so an upload survives a restart. One that
//! was begun a moment ago is only remembered (`begun`): most small content comes whole with the next request and needs no file.
//!
//! The digest is computed while the bytes stream by (`writing`). When its state is lost (restart, another replica, a failed write)
//! the file is read once more; a client never has to care.

mod begun;
mod writing;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::Stream;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::blob_fs::{BlobFs, blocking};
use super::blob_store::{BodyError, Chunk, Place, Staged, UploadError};
use super::feed::{Batch, QUEUE, feed};
use crate::domain::digest::{Algorithm, Digest};
use crate::domain::name::RepositoryName;
use crate::domain::sums::Sums;

pub(super) use begun::Begun;
pub(super) use writing::Progress;
use writing::{Guard, hash_file, write};

/// States of digests kept. Uploads that went on at another replica leave theirs; one that is lost costs reading once more.
const MOST_SESSIONS: usize = 10_000;

/// Content of at most so many bytes is summed where it is.
const SUMMED_HERE: usize = 64 << 10;

/// The digest's state of each upload this process is writing.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<Option<Progress>>>>>);

impl BlobFs {
    fn upload_dir(&self, id: Uuid) -> PathBuf {
        self.root.join("uploads").join(id.to_string())
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
        E: Into<BodyError>,
    {
        let algorithm = self.owner(id, repository).await?;
        let guard = self.lock(id).await?;
        let dir = self.upload_dir(id);
        let path = dir.join("data");
        let (file, at) = blocking(move || {
            let file = OpenOptions::new().append(true).open(&path)?;
            let at = locked(&file, &path)?.len();
            Ok((file, at))
        })
        .await
        .map_err(over)?;
        if let Some(start) = chunk.start.filter(|start| *start != at) {
            return Err(UploadError::OutOfOrder { at, start });
        }
        // Writing and hashing have a thread each, so that both go on while the next piece is on its way.
        let (pieces, inbox) = mpsc::channel::<Batch>(QUEUE);
        let data = dir.join("data");
        let writer = tokio::task::spawn_blocking(move || write(file, &data, at, algorithm, inbox, guard));
        let fed = feed(chunk, at, body, pieces).await;
        let (offset, mut guard, file) = writer.await.map_err(io::Error::other)??;
        match fed {
            Ok(()) => Ok(offset),
            // A chunk that lied about its length is as if it never came; a broken one may be resumed.
            Err(error @ (UploadError::Length { .. } | UploadError::TooLarge(_))) => {
                *guard = None;
                blocking(move || {
                    // Both until it is done, the file's lock first to go: nobody writes behind what is cut off.
                    let (_guard, file) = (guard, file);
                    file.set_len(at)
                })
                .await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Checks the digest of all that came and makes it durable; at most `inline` bytes come back in memory instead. The upload
    /// stays until [`BlobFs::end_upload`].
    ///
    /// # Errors
    /// Another digest: the upload is then over, as the specification's clients expect.
    pub async fn finish(&self, id: Uuid, repository: &RepositoryName, wanted: &Digest, inline: u64) -> Result<Staged, UploadError> {
        self.owner(id, repository).await?;
        let mut guard = self.lock(id).await?;
        let dir = self.upload_dir(id);
        let path = dir.join("whole");
        let known = guard.take();
        let (staged, algorithm) = (path.clone(), wanted.algorithm());
        let (size, found, sums, small) = blocking(move || {
            // Under another name nobody can append any more. It has it already when publishing failed and is tried again.
            let data = dir.join("data");
            let mut file = match File::open(&data) {
                Ok(file) => {
                    locked(&file, &data)?;
                    fs::rename(&data, &staged)?;
                    file
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => File::open(&staged)?,
                Err(error) => return Err(error),
            };
            let size = file.metadata()?.len();
            if size <= inline {
                let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
                file.read_to_end(&mut bytes)?;
                return Ok((size, Digest::of(algorithm, &bytes), Sums::of(&bytes), Some(Bytes::from(bytes))));
            }
            let progress = match known {
                Some(progress) if progress.offset == size && progress.hasher.algorithm() == algorithm => progress,
                _ => hash_file(&staged, algorithm)?,
            };
            file.sync_all()?;
            Ok((size, progress.hasher.finish(), progress.summing.finish(), None))
        })
        .await
        .map_err(over)?;
        drop(guard);
        if found != *wanted {
            self.end_upload(id).await?;
            return Err(UploadError::Digest { found });
        }
        Ok(Staged::of(found, size, sums, small.map_or(Place::File(path), Place::Inline)))
    }

    /// Checks the digest of `bytes`, which are all that comes, without writing them anywhere. `None` when the upload has bytes already. The
    /// upload stays until [`BlobFs::end_upload`].
    ///
    /// # Errors
    /// Another digest: the upload is then over, as the specification's clients expect.
    pub async fn finish_whole(&self, id: Uuid, repository: &RepositoryName, wanted: &Digest, bytes: &Bytes) -> Result<Option<Staged>, UploadError> {
        match self.remembered(id).await {
            Some(owner) if owner == *repository => {}
            Some(_) => return Err(UploadError::Unknown),
            None => {
                self.owner(id, repository).await?;
                let path = self.upload_dir(id).join("data");
                // The file's lock, for that moment: nobody is writing.
                let empty = blocking(move || Ok(locked(&OpenOptions::new().append(true).open(&path)?, &path)?.len() == 0));
                if !empty.await.map_err(over)? {
                    return Ok(None);
                }
            }
        }
        let (algorithm, content) = (wanted.algorithm(), bytes.clone());
        let sum = move || (Digest::of(algorithm, &content), Sums::of(&content));
        // Handing little to another thread costs more than doing it.
        let (found, sums) = if bytes.len() <= SUMMED_HERE { sum() } else { blocking(move || Ok(sum())).await? };
        if found != *wanted {
            self.end_upload(id).await?;
            return Err(UploadError::Digest { found });
        }
        Ok(Some(Staged::of(found, bytes.len() as u64, sums, Place::Inline(bytes.clone()))))
    }

    /// Forgets an upload and what is left of its bytes.
    ///
    /// # Errors
    /// I/O.
    pub async fn end_upload(&self, id: Uuid) -> Result<(), UploadError> {
        self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if self.forget(id).await {
            return Ok(());
        }
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
                let touched =
                    fs::metadata(path.join("data")).or_else(|_| fs::metadata(path.join("whole"))).or_else(|_| fs::metadata(&path)).and_then(|m| m.modified());
                if touched.is_ok_and(|at| is_older(at, age)) {
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
            let name = path.display().to_string();
            match blocking(move || if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }).await {
                Ok(()) => removed += 1,
                // Another replica may have been at it; the others go all the same.
                Err(error) => tracing::warn!(upload = name, error = %error, "a stale upload could not be removed and will be"),
            }
        }
        Ok(removed)
    }

    async fn owner(&self, id: Uuid, repository: &RepositoryName) -> Result<Algorithm, UploadError> {
        self.settle(id).await?;
        let look = || {
            let (dir, repository) = (self.upload_dir(id), repository.clone());
            blocking(move || owner_in(&dir, &repository))
        };
        if let Some(algorithm) = look().await? {
            return Ok(algorithm);
        }
        if !begun::may_be_remembered_elsewhere(id) {
            return Err(UploadError::Unknown);
        }
        // Begun at another replica, which has made no files of it yet.
        tokio::time::sleep(begun::SOON * 3).await;
        look().await?.ok_or(UploadError::Unknown)
    }

    /// One writer at a time. A writer whose client has gone ends soon, so a short wait is enough.
    async fn lock(&self, id: Uuid) -> Result<Guard, UploadError> {
        let session = {
            let mut sessions = self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner);
            if sessions.len() >= MOST_SESSIONS {
                sessions.retain(|_, session| Arc::strong_count(session) > 1);
            }
            sessions.entry(id).or_default().clone()
        };
        tokio::time::timeout(Duration::from_secs(5), session.lock_owned()).await.map_err(|_| UploadError::Busy)
    }
}

/// The algorithm of an upload, if it is this repository's.
fn owner_in(dir: &std::path::Path, repository: &RepositoryName) -> io::Result<Option<Algorithm>> {
    let text = match fs::read_to_string(dir.join("repository")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let owned = text.split_once(' ').filter(|(owner, _)| *owner == repository.as_str());
    Ok(owned.and_then(|(_, algorithm)| Algorithm::parse(algorithm)))
}

/// Removes files of `folder` that nobody has written to for `age`.
pub(super) fn remove_older(folder: &std::path::Path, age: Duration) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if fs::metadata(&path).and_then(|m| m.modified()).is_ok_and(|at| is_older(at, age)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// File times come from the same machine's clock; a clock that steps back only delays the removal.
#[allow(clippy::disallowed_methods, reason = "compared with file times, which no Env can set")]
fn is_older(at: SystemTime, age: Duration) -> bool {
    SystemTime::now().duration_since(at).is_ok_and(|d| d > age)
}

/// Has the file for itself, also among replicas that share the folder, and says how it is now. A file that has lost its name
/// meanwhile is no longer an upload's.
fn locked(file: &File, path: &std::path::Path) -> io::Result<fs::Metadata> {
    file.try_lock().map_err(|error| match error {
        fs::TryLockError::WouldBlock => io::Error::from(io::ErrorKind::WouldBlock),
        // A file system without locks is not another writer.
        fs::TryLockError::Error(error) => error,
    })?;
    let (here, there) = (file.metadata()?, fs::metadata(path)?);
    if (here.dev(), here.ino()) != (there.dev(), there.ino()) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(here)
}

/// The data moved to its place and the process was killed before it removed the rest: the upload is over.
fn over(error: io::Error) -> UploadError {
    match error.kind() {
        io::ErrorKind::NotFound => UploadError::Unknown,
        io::ErrorKind::WouldBlock => UploadError::Busy,
        _ => UploadError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};
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
            let staged = store.finish(ID, &name(), &digest, 0).await.unwrap();
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
    async fn small_content_that_comes_whole_is_checked_without_a_file() {
        let (_folder, store) = begun().await;
        let (content, digest) = (Bytes::from_static(b"hello"), Digest::of(Algorithm::Sha512, b"hello"));
        let other = RepositoryName::parse("acme/shop/other").unwrap();
        assert!(matches!(store.finish_whole(ID, &other, &digest, &content).await, Err(UploadError::Unknown)));
        let staged = store.finish_whole(ID, &name(), &digest, &content).await.unwrap().expect("nothing came before");
        assert_eq!((staged.inline(), staged.size, &staged.digest), (Some(&content), 5, &digest));
        assert_eq!(store.upload_offset(ID, &name()).await.unwrap(), 0, "tried again, it goes the same way");
        // Behind other bytes it is a part like any.
        store.append(ID, &name(), chunk(None), body(&[b"oh, "])).await.unwrap();
        assert!(store.finish_whole(ID, &name(), &digest, &content).await.unwrap().is_none());
        store.end_upload(ID).await.unwrap();
        assert!(matches!(store.finish_whole(ID, &name(), &digest, &content).await, Err(UploadError::Unknown)));
        store.start_upload(ID, &name(), Algorithm::Sha256).await.unwrap();
        let wrong = Digest::of(Algorithm::Sha256, b"other");
        assert!(matches!(store.finish_whole(ID, &name(), &wrong, &content).await, Err(UploadError::Digest { .. })));
        assert!(matches!(store.upload_offset(ID, &name()).await, Err(UploadError::Unknown)));
    }

    #[tokio::test]
    async fn an_upload_has_files_when_it_needs_them_or_a_moment_after_it_was_begun() {
        let (folder, store) = begun().await;
        let dir = folder.path().join("uploads").join(ID.to_string());
        assert!(!dir.exists(), "what comes whole needs none");
        let content = Bytes::from_static(b"hello");
        store.finish_whole(ID, &name(), &Digest::of(Algorithm::Sha256, &content), &content).await.unwrap().expect("nothing came before");
        store.end_upload(ID).await.unwrap();
        assert!(!dir.exists());
        assert!(matches!(store.upload_offset(ID, &name()).await, Err(UploadError::Unknown)));

        store.start_upload(ID, &name(), Algorithm::Sha256).await.unwrap();
        // Another replica on the same folder.
        let beside = BlobFs::open(folder.path()).unwrap();
        let seen = async {
            while beside.upload_offset(ID, &name()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), seen).await.expect("it goes on at another replica");
        beside.append(ID, &name(), chunk(Some(0)), body(&[b"hello"])).await.unwrap();
        assert!(store.finish(ID, &name(), &Digest::of(Algorithm::Sha256, b"hello"), 0).await.is_ok());
    }

    #[tokio::test]
    async fn an_upload_that_another_replica_has_just_begun_is_waited_for() {
        let (folder, store) = begun().await;
        let beside = BlobFs::open(folder.path()).unwrap();
        #[allow(clippy::disallowed_methods, reason = "as young as a replica's that begins it now")]
        let id = Uuid::now_v7();
        store.start_upload(id, &name(), Algorithm::Sha256).await.unwrap();
        assert_eq!(beside.upload_offset(id, &name()).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn an_upload_goes_on_after_a_restart() {
        let (folder, store) = begun().await;
        store.append(ID, &name(), chunk(None), body(&[b"hello "])).await.unwrap();
        drop(store);
        let store = BlobFs::open(folder.path()).unwrap();
        assert_eq!(store.upload_offset(ID, &name()).await.unwrap(), 6);
        store.append(ID, &name(), chunk(Some(6)), body(&[b"world"])).await.unwrap();
        assert!(store.finish(ID, &name(), &Digest::of(Algorithm::Sha256, b"hello world"), 0).await.is_ok());
    }

    #[tokio::test]
    async fn what_came_before_the_connection_broke_stays() {
        let (_folder, store) = begun().await;
        let broken = stream::iter([Ok(Bytes::from_static(b"hello ")), Err(io::Error::other("reset"))]);
        assert!(matches!(store.append(ID, &name(), chunk(None), broken).await, Err(UploadError::Broken(_))));
        assert_eq!(store.upload_offset(ID, &name()).await.unwrap(), 6);
        store.append(ID, &name(), chunk(Some(6)), body(&[b"world"])).await.unwrap();
        assert!(store.finish(ID, &name(), &Digest::of(Algorithm::Sha256, b"hello world"), 0).await.is_ok());
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_leaves_a_usable_upload() {
        let (_folder, store) = begun().await;
        let endless = body(&[b"hello "]).chain(stream::pending());
        let name = name();
        let request = store.append(ID, &name, chunk(None), endless);
        assert!(tokio::time::timeout(Duration::from_millis(50), request).await.is_err());
        assert_eq!(store.append(ID, &name, chunk(Some(6)), body(&[b"world"])).await.unwrap(), 11);
        assert!(store.finish(ID, &name, &Digest::of(Algorithm::Sha256, b"hello world"), 0).await.is_ok());
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
        assert!(store.finish(ID, &name(), &Digest::of(Algorithm::Sha256, b"hello"), 0).await.is_ok());
    }

    #[tokio::test]
    async fn a_wrong_digest_ends_the_upload() {
        let (_folder, store) = begun().await;
        store.append(ID, &name(), chunk(None), body(&[b"hello"])).await.unwrap();
        let wrong = Digest::of(Algorithm::Sha256, b"other");
        assert!(matches!(store.finish(ID, &name(), &wrong, 0).await, Err(UploadError::Digest { .. })));
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
        assert_eq!(store.upload_offset(ID, &name()).await.unwrap(), 0);
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
                store.finish(ID, &name(), &Digest::of(Algorithm::Sha256, &whole), 0).await.unwrap();
            });
        }
    }
}
