//! Content by digest on a file system: `blobs/<algorithm>/<first two hex>/<hex>`.
//!
//! A blob appears by rename, complete and on the disk, or not at all. Nothing here knows about repositories' rights: who may
//! see a blob is the store's word. Uploads in progress are in `upload_fs`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use tokio::task::spawn_blocking;
use url::Url;
use uuid::Uuid;

pub use super::blob_store::{Blob, Chunk, Staged, UploadError};
use super::blob_store::{BlobStore, Body, Opened, Place};
use super::buffers::Buffers;
use super::disk::Disk;
use super::feed::Room;
use super::upload_fs::{Begun, Sessions};
use crate::domain::digest::{Algorithm, Digest};
use crate::domain::littering::Open;
use crate::domain::name::RepositoryName;
use crate::domain::sums::{BLOCK, Sums};

/// Blocks that are read while the one before is on its way to the client.
const AHEAD: usize = 2;

/// What all uploads together may have in memory on its way to the disk. One alone has at most half of it, so that few do not wait for each other.
const UNDER_WAY_KIB: u32 = 12 << 10;

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct BlobFs {
    pub(super) root: Arc<Path>,
    spool: Arc<Path>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) begun: Arc<Begun>,
    pub(super) room: Room,
    pub(super) disk: Disk,
    buffers: Buffers,
}

impl BlobFs {
    /// Makes the folders where they are missing.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root: PathBuf = root.into();
        let (disk, blobs) = (Disk::default(), root.join("blobs"));
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            fs::create_dir_all(blobs.join(algorithm.as_str()))?;
        }
        fs::create_dir_all(root.join("uploads"))?;
        disk.sync_dir(&blobs)?;
        disk.sync_dir(&root)?;
        // Its own name, too, if it may be read where it stands.
        if let Some(above) = fs::canonicalize(&root)?.parent() {
            let _ = disk.sync_dir(above);
        }
        Ok(Self {
            spool: root.join("uploads").into(),
            root: root.into(),
            sessions: Arc::default(),
            begun: Arc::default(),
            room: Room::of(UNDER_WAY_KIB),
            disk,
            buffers: Buffers::default(),
        })
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join("blobs").join(digest.algorithm().as_str()).join(&hex[..2]).join(hex)
    }

    /// # Errors
    /// I/O; a missing blob is `None`.
    pub async fn read(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        let path = self.blob_path(digest);
        blocking(move || {
            let Some(file) = find(&path)? else { return Ok(None) };
            Ok(Some(Blob { size: file.metadata()?.len(), file }))
        })
        .await
    }

    /// The whole of a small blob.
    ///
    /// # Errors
    /// I/O, or more than `limit` bytes.
    pub async fn read_small(&self, digest: &Digest, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let path = self.blob_path(digest);
        blocking(move || {
            let Some(mut file) = find(&path)? else { return Ok(None) };
            let size = file.metadata()?.len();
            if size > limit {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{size} bytes, at most {limit} are read here")));
            }
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
            file.read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        })
        .await
    }

    /// # Errors
    /// I/O; a missing blob is `None`.
    pub async fn size(&self, digest: &Digest) -> io::Result<Option<u64>> {
        let path = self.blob_path(digest);
        blocking(move || {
            let Some(file) = find(&path)? else { return Ok(None) };
            Ok(Some(file.metadata()?.len()))
        })
        .await
    }

    /// Writes bytes at hand (a manifest) to the disk, to be published. `digest` must be theirs.
    ///
    /// # Errors
    /// I/O.
    pub async fn stage(&self, name: Uuid, digest: Digest, bytes: Bytes) -> io::Result<Staged> {
        let path = self.root.join("uploads").join(format!("{name}.whole"));
        let (target, disk) = (self.blob_path(&digest), self.disk.clone());
        blocking(move || {
            let staged = Staged::of(digest, bytes.len() as u64, Sums::of(&bytes), Place::File(path.clone()));
            // What stands there may be damaged; then it is replaced.
            if fs::read(&target).is_ok_and(|there| there == bytes) {
                return Ok(staged);
            }
            let mut file = File::create_new(&path)?;
            if let Err(error) = file.write_all(&bytes).and_then(|()| disk.sync(&file)) {
                let _ = fs::remove_file(&path);
                return Err(error);
            }
            Ok(staged)
        })
        .await
    }

    /// Makes finished files readable under their digests. On return names and contents are on the disk. Repeating it is harmless.
    ///
    /// # Errors
    /// I/O; the upload then stays as it was.
    pub async fn publish(&self, staged: impl IntoIterator<Item = &Staged>) -> io::Result<()> {
        let path = |s: &Staged| match &s.place {
            Place::File(path) => Some((path.clone(), self.blob_path(&s.digest))),
            // What is in memory lives in the database.
            Place::Inline(_) | Place::Memory(_) | Place::Object(_) => None,
        };
        let moves: Vec<(PathBuf, PathBuf)> = staged.into_iter().filter_map(path).collect();
        if moves.is_empty() {
            return Ok(());
        }
        let disk = self.disk.clone();
        blocking(move || publish(&moves, &disk)).await
    }

    /// Removes blobs. The caller has made sure that nothing refers to them. Whoever drops this wants no more of them removed, because others
    /// may write the same again: what is under way ends with the next file.
    ///
    /// # Errors
    /// I/O; a missing blob is fine.
    pub async fn remove(&self, digests: &[Digest]) -> io::Result<()> {
        let paths: Vec<PathBuf> = digests.iter().map(|d| self.blob_path(d)).collect();
        let waiting = Arc::new(());
        let waited_for = Arc::downgrade(&waiting);
        let removed = blocking(move || remove_while(&paths, || waited_for.strong_count() > 0)).await;
        drop(waiting);
        removed
    }
}

fn remove_while(paths: &[PathBuf], wanted: impl Fn() -> bool) -> io::Result<()> {
    for path in paths {
        if !wanted() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "nobody waits for the removal any more"));
        }
        if let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
    }
    Ok(())
}

#[async_trait]
impl BlobStore for BlobFs {
    async fn open(&self, digest: &Digest, part: Range<u64>) -> io::Result<Option<Opened>> {
        let Some(Blob { file, size }) = self.read(digest).await? else { return Ok(None) };
        let (file, end, buffers) = (Arc::new(file), part.end.min(size), self.buffers.clone());
        let block = move |start: u64| {
            let (file, buffers) = (file.clone(), buffers.clone());
            let length = usize::try_from((end - start).min(BLOCK as u64)).unwrap_or(BLOCK);
            blocking(move || buffers.filled(length, |buffer| file.read_exact_at(buffer, start)))
        };
        let blocks = futures::stream::iter((part.start..end).step_by(BLOCK)).map(block).buffered(AHEAD).boxed();
        Ok(Some(Opened { size, blocks }))
    }

    async fn local(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        self.read(digest).await
    }

    async fn size(&self, digest: &Digest) -> io::Result<Option<u64>> {
        Self::size(self, digest).await
    }

    async fn read_small(&self, digest: &Digest, limit: u64) -> io::Result<Option<Vec<u8>>> {
        Self::read_small(self, digest, limit).await
    }

    async fn stage(&self, name: Uuid, digest: Digest, bytes: Bytes) -> io::Result<Staged> {
        Self::stage(self, name, digest, bytes).await
    }

    async fn prepare(&self, _: &Staged) -> io::Result<()> {
        // A rename takes no time.
        Ok(())
    }

    async fn publish(&self, staged: &[&Staged]) -> io::Result<()> {
        Self::publish(self, staged.iter().copied()).await
    }

    async fn remove(&self, digests: &[Digest]) -> io::Result<()> {
        Self::remove(self, digests).await
    }

    async fn start_upload(&self, id: Uuid, repository: &RepositoryName, algorithm: Algorithm) -> Result<(), UploadError> {
        Self::start_upload(self, id, repository, algorithm).await
    }

    async fn upload_offset(&self, id: Uuid, repository: &RepositoryName) -> Result<u64, UploadError> {
        Self::upload_offset(self, id, repository).await
    }

    async fn append(&self, id: Uuid, repository: &RepositoryName, chunk: Chunk, body: Body<'_>) -> Result<u64, UploadError> {
        Self::append(self, id, repository, chunk, body).await
    }

    async fn finish(&self, id: Uuid, repository: &RepositoryName, wanted: &Digest, inline: u64) -> Result<Staged, UploadError> {
        Self::finish(self, id, repository, wanted, inline).await
    }

    async fn finish_whole(&self, id: Uuid, repository: &RepositoryName, wanted: &Digest, bytes: &Bytes) -> Result<Option<Staged>, UploadError> {
        Self::finish_whole(self, id, repository, wanted, bytes).await
    }

    async fn end_upload(&self, id: Uuid) -> Result<(), UploadError> {
        Self::end_upload(self, id).await
    }

    async fn cancel_upload(&self, id: Uuid, repository: &RepositoryName) -> Result<(), UploadError> {
        Self::cancel_upload(self, id, repository).await
    }

    async fn remove_stale_uploads(&self, age: Duration) -> io::Result<u64> {
        Self::remove_stale_uploads(self, age).await
    }

    async fn open_uploads(&self) -> io::Result<Vec<(String, Open)>> {
        Self::open_uploads(self).await
    }

    async fn stored(&self, part: u8, before: SystemTime) -> io::Result<Vec<(Digest, u64)>> {
        let folder = self.root.join("blobs");
        blocking(move || {
            let mut found = Vec::new();
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                let entries = match fs::read_dir(folder.join(algorithm.as_str()).join(format!("{part:02x}"))) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    other => other?,
                };
                for entry in entries {
                    let entry = entry?;
                    let digest = entry.file_name().to_str().and_then(|hex| Digest::parse(&format!("{}:{hex}", algorithm.as_str())).ok());
                    let Some(digest) = digest else { continue };
                    match entry.metadata() {
                        Ok(metadata) if metadata.modified()? < before => found.push((digest, metadata.len())),
                        Ok(_) => {}
                        // Removed meanwhile.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            Ok(found)
        })
        .await
    }

    async fn tidy(&self, _: Duration) -> io::Result<()> {
        // It is among the uploads, which whoever collects looks through for all.
        Ok(())
    }

    fn spool(&self) -> &Path {
        &self.spool
    }

    async fn redirect(&self, _: &Digest) -> io::Result<Option<Url>> {
        Ok(None)
    }
}

/// The file, if there is one. Where none is found its folder is opened and it is looked for once more: NFS remembers for a while what a folder
/// did not have, and another replica may have published it a moment ago.
fn find(path: &Path) -> io::Result<Option<File>> {
    let open = |path: &Path| match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    if let Some(file) = open(path)? {
        return Ok(Some(file));
    }
    match path.parent().map(open).transpose()?.flatten() {
        Some(_folder) => open(path),
        None => Ok(None),
    }
}

/// Renames into place and makes the names durable: each folder is synced once.
fn publish(moves: &[(PathBuf, PathBuf)], disk: &Disk) -> io::Result<()> {
    let mut shards = std::collections::BTreeSet::new();
    for (from, target) in moves {
        let shard = target.parent().expect("a blob's path has a folder");
        disk.folder(shard)?;
        match fs::rename(from, target) {
            // A repetition, or bytes that stood there already.
            Err(error) if error.kind() == io::ErrorKind::NotFound && find(target).is_ok_and(|there| there.is_some()) => {}
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        shards.insert(shard);
    }
    shards.into_iter().try_for_each(|shard| disk.sync_dir(shard))
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, BlobFs) {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobFs::open(folder.path()).unwrap();
        (folder, store)
    }

    #[tokio::test]
    async fn what_is_put_is_read_back_and_removed() {
        let (_folder, store) = store();
        let digest = Digest::of(Algorithm::Sha512, b"hello");
        assert!(store.read(&digest).await.unwrap().is_none());
        for n in 0..2 {
            let staged = store.stage(Uuid::from_u128(n), digest.clone(), bytes::Bytes::from_static(b"hello")).await.unwrap();
            store.publish([&staged]).await.unwrap();
            store.publish([&staged]).await.unwrap();
        }
        assert_eq!(store.read_small(&digest, 100).await.unwrap().unwrap(), b"hello");
        assert!(store.read_small(&digest, 4).await.is_err());
        assert_eq!(store.size(&digest).await.unwrap(), Some(5));
        store.remove(std::slice::from_ref(&digest)).await.unwrap();
        store.remove(std::slice::from_ref(&digest)).await.unwrap();
        assert!(store.read(&digest).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_collected_between_its_staging_and_its_publication_is_missing_and_staged_anew() {
        let (_folder, store) = store();
        let digest = Digest::of(Algorithm::Sha256, b"hello");
        let stage = async |n: u128| store.stage(Uuid::from_u128(n), digest.clone(), bytes::Bytes::from_static(b"hello")).await.unwrap();
        store.publish([&stage(1).await]).await.unwrap();
        let there_already = stage(2).await;
        store.remove(std::slice::from_ref(&digest)).await.unwrap();
        assert_eq!(store.publish([&there_already]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        store.publish([&stage(3).await]).await.unwrap();
        assert_eq!(store.size(&digest).await.unwrap(), Some(5));
    }

    #[tokio::test]
    async fn a_folder_that_somebody_made_and_did_not_write_is_written_before_a_blob_is_in_it() {
        let (_folder, store) = store();
        let digest = Digest::of(Algorithm::Sha256, b"hello");
        let shard = store.blob_path(&digest).parent().unwrap().to_owned();
        // By a process that was killed then.
        fs::create_dir(&shard).unwrap();
        let publish = async |n: u128| {
            let staged = store.stage(Uuid::from_u128(n), digest.clone(), bytes::Bytes::from_static(b"hello")).await.unwrap();
            store.disk.told.folders();
            store.publish([&staged]).await.unwrap();
            store.disk.told.folders()
        };
        assert_eq!(publish(1).await, [shard.parent().unwrap().to_owned(), shard.clone()]);
        assert_eq!(publish(2).await, [shard], "once is enough");
    }

    #[test]
    fn a_removal_that_nobody_waits_for_any_more_ends_with_the_next_file() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b", "c"].map(|name| folder.path().join(name));
        paths.iter().for_each(|path| fs::write(path, "x").unwrap());
        let asked = std::cell::Cell::new(0);
        let wanted = || {
            asked.set(asked.get() + 1);
            asked.get() == 1
        };
        assert_eq!(remove_while(&paths, wanted).unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert_eq!(paths.iter().map(|path| path.exists()).collect::<Vec<_>>(), [false, true, true]);
        remove_while(&paths, || true).unwrap();
        assert!(!paths[2].exists());
    }
}
