//! Uploads in progress: `uploads/<id>/{repository,data}`. The offset is the length of `data`, so an upload survives a restart. One that
//! was begun a moment ago is only remembered (`begun`): most small content comes whole with the next request and needs no file.
//!
//! The digest is computed while the bytes stream by (`writing`). When its state is lost (restart, another replica, a failed write)
//! the file is read once more; a client never has to care.

mod begun;
#[cfg(test)]
mod tests;
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
use super::blob_store::{BodyError, Chunk, Place, Staged, UploadError, is_gone};
use super::disk::lost;
use super::feed::{Batch, QUEUE, feed};
use crate::domain::digest::{Algorithm, Digest};
use crate::domain::littering::{LEFT, Open};
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
        // Opened: a file system of several machines looks there then, and may remember an old size else.
        blocking(move || Ok(File::open(data)?.metadata()?.len())).await.map_err(over)
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
        let (data, disk) = (dir.join("data"), self.disk.clone());
        // There and not here: the request may be gone by then.
        let writer = tokio::task::spawn_blocking(move || write(file, &data, at, algorithm, inbox, guard, &disk).inspect_err(|error| give_up(&dir, error)));
        let fed = feed(chunk, at, body, pieces, self.room.clone()).await;
        let (offset, mut guard, file) = writer.await.map_err(io::Error::other)?.map_err(over)?;
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
        let (staged, algorithm, disk) = (path.clone(), wanted.algorithm(), self.disk.clone());
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
            disk.sync(&file).inspect_err(|error| give_up(&dir, error))?;
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
        Ok(blocking(move || clear(&dir)).await?)
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
                if touched.is_ok_and(|at| is_older(at, age)) && !is_being_written(&path) {
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

    /// Uploads that have files, each with the repository that it is to.
    ///
    /// # Errors
    /// I/O.
    pub async fn open_uploads(&self) -> io::Result<Vec<(String, Open)>> {
        let folder = self.root.join("uploads");
        blocking(move || {
            let mut open = Vec::new();
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                let id = path.file_name().and_then(|n| n.to_str()).and_then(|n| Uuid::parse_str(n).ok());
                // One that ends meanwhile is none.
                let (Some(id), Ok(owner)) = (id, fs::read_to_string(path.join("repository"))) else { continue };
                let Ok(data) = fs::metadata(path.join("data")).or_else(|_| fs::metadata(path.join("whole"))) else { continue };
                let Some((repository, _)) = owner.split_once(' ') else { continue };
                let idle = age_of(data.modified()?);
                // Looked at only where it matters: who begins to write in that moment is told that somebody else does.
                let idle = if idle >= LEFT && is_being_written(&path) { Duration::ZERO } else { idle };
                open.push((repository.to_owned(), Open { id, bytes: data.len(), idle }));
            }
            Ok(open)
        })
        .await
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
        // NFS remembers for a while what a folder does not have, until the folder is opened.
        let folder = self.root.join("uploads");
        blocking(move || File::open(folder).map(drop)).await?;
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
fn age_of(at: SystemTime) -> Duration {
    SystemTime::now().duration_since(at).unwrap_or_default()
}

fn is_older(at: SystemTime, age: Duration) -> bool {
    age_of(at) > age
}

/// Whether a request, here or at another replica, has the upload for itself: a clock that jumps ahead makes everything look old.
fn is_being_written(dir: &std::path::Path) -> bool {
    File::open(dir.join("data")).is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

/// An upload of which the disk has lost something is over, so that its client begins anew: gone on with, it would end well, and be whole only until the
/// next power cut.
fn give_up(dir: &std::path::Path, error: &io::Error) {
    if !lost(error) {
        return;
    }
    if let Err(fault) = clear(dir) {
        tracing::error!(upload = %dir.display(), error = %fault, "an upload of which the disk has lost something could not be removed");
    }
}

/// Has the file for itself, also among replicas that share the folder, and says how it is now. A file that has lost its name
/// meanwhile is no longer an upload's.
fn locked(file: &File, path: &std::path::Path) -> io::Result<fs::Metadata> {
    file.try_lock().map_err(|error| match error {
        fs::TryLockError::WouldBlock => io::Error::from(io::ErrorKind::WouldBlock),
        // A file system without locks is not another writer.
        fs::TryLockError::Error(error) => error,
    })?;
    // Opened once more rather than looked at: NFS asks the server then, and may remember a name that is no more else.
    let (here, there) = (file.metadata()?, File::open(path)?.metadata()?);
    if (here.dev(), here.ino()) != (there.dev(), there.ino()) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(here)
}

/// Another request, here or at another replica, ended the upload, or the data moved to its place and the process was killed before it
/// removed the rest: the upload is over.
fn over(error: io::Error) -> UploadError {
    match error.kind() {
        io::ErrorKind::WouldBlock => UploadError::Busy,
        _ if is_gone(&error) => UploadError::Unknown,
        _ => UploadError::Io(error),
    }
}

/// Removes what there is of an upload: first what makes it one, so that half of it is none. A file that is open somewhere keeps a name in
/// the folder on NFS until it is closed; such a rest goes with the stale uploads.
fn clear(dir: &std::path::Path) -> io::Result<()> {
    for name in ["repository", "data", "whole"] {
        match fs::remove_file(dir.join(name)) {
            Err(error) if !is_gone(&error) => return Err(error),
            _ => {}
        }
    }
    match fs::remove_dir(dir) {
        Err(error) if !is_gone(&error) && error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
        _ => Ok(()),
    }
}
