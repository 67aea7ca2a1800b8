//! Uploads that were begun a moment ago: which repository's they are is remembered here, and their files are made when the first byte wants
//! one, or [`SOON`], so that they go on at other replicas and after a restart. One that is lost before that is unknown, and its client begins
//! another; nothing was acknowledged of it but that it was begun.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;
use uuid::Uuid;

use crate::adapters::blob_fs::{BlobFs, blocking};
use crate::adapters::blob_store::UploadError;
use crate::domain::digest::Algorithm;
use crate::domain::name::RepositoryName;

/// How long an upload is only remembered.
pub(super) const SOON: Duration = Duration::from_millis(50);
/// Between two tries to make files on a disk that refuses, and how many there are.
const AGAIN: Duration = Duration::from_secs(1);
const TRIES: usize = 60;
/// Uploads remembered at most: further ones get their files at once.
const MOST: usize = 10_000;
/// How far the clocks of two replicas may be apart, with the age of an upload that may be only remembered.
const YOUNG: Duration = Duration::from_secs(5);

/// What is known of an upload without files.
struct Owner {
    repository: RepositoryName,
    algorithm: Algorithm,
}

/// None as soon as it has files, or is over. Locked while they are made.
type Entry = Arc<Mutex<Option<Owner>>>;

/// The uploads of this process that have no files yet.
#[derive(Default)]
pub struct Begun(Lock<HashMap<Uuid, Entry>>);

impl Begun {
    /// Gives the owner back when there is no room.
    fn put(&self, id: Uuid, owner: Owner) -> Result<(), Owner> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            return Err(owner);
        }
        all.insert(id, Arc::new(Mutex::new(Some(owner))));
        Ok(())
    }

    fn get(&self, id: Uuid) -> Option<Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn remove(&self, id: Uuid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

impl BlobFs {
    /// Begins an upload. Nothing waits for the disk.
    ///
    /// # Errors
    /// I/O.
    pub async fn start_upload(&self, id: Uuid, repository: &RepositoryName, algorithm: Algorithm) -> Result<(), UploadError> {
        if let Err(owner) = self.begun.put(id, Owner { repository: repository.clone(), algorithm }) {
            let dir = self.upload_dir(id);
            blocking(move || make(&dir, &owner)).await?;
            return Ok(());
        }
        let store = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(SOON).await;
            for _ in 0..TRIES {
                match store.settle(id).await {
                    Ok(()) => return,
                    Err(error) => tracing::debug!(upload.id = %id, error = %error, "an upload has no files yet, and will be tried again"),
                }
                tokio::time::sleep(AGAIN).await;
            }
            store.begun.remove(id);
        });
        Ok(())
    }

    /// Whose an upload is that has no files.
    pub(super) async fn remembered(&self, id: Uuid) -> Option<RepositoryName> {
        let entry = self.begun.get(id)?;
        let owner = entry.lock().await;
        owner.as_ref().map(|owner| owner.repository.clone())
    }

    /// Makes the files of an upload that is only remembered.
    ///
    /// # Errors
    /// I/O: it is still remembered.
    pub(super) async fn settle(&self, id: Uuid) -> io::Result<()> {
        let Some(entry) = self.begun.get(id) else { return Ok(()) };
        let mut owner = entry.lock_owned().await;
        if owner.is_some() {
            let dir = self.upload_dir(id);
            // The lock goes along: a request that is dropped here leaves nothing half-made to the next.
            blocking(move || {
                if let Some(it) = &*owner {
                    make(&dir, it)?;
                }
                *owner = None;
                Ok(())
            })
            .await?;
        }
        self.begun.remove(id);
        Ok(())
    }

    /// Forgets an upload; whether it had no files.
    pub(super) async fn forget(&self, id: Uuid) -> bool {
        let Some(entry) = self.begun.get(id) else { return false };
        let owner = entry.lock().await.take();
        self.begun.remove(id);
        owner.is_some()
    }
}

/// Repeating it is harmless.
fn make(dir: &Path, owner: &Owner) -> io::Result<()> {
    if let Err(error) = fs::create_dir(dir)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    OpenOptions::new().append(true).create(true).open(dir.join("data"))?;
    // Last: an upload without an owner does not exist.
    fs::write(dir.join("repository"), format!("{} {}", owner.repository, owner.algorithm.as_str()))
}

/// Whether an upload of this name may have been begun at another replica so shortly ago that it has no files. Names say when they were drawn.
#[allow(clippy::disallowed_methods, reason = "compared with another machine's clock, which no Env can set")]
pub(super) fn may_be_remembered_elsewhere(id: Uuid) -> bool {
    let Some(drawn) = id.get_timestamp() else { return false };
    let (seconds, nanos) = drawn.to_unix();
    let Ok(now) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) else { return false };
    now.abs_diff(Duration::new(seconds, nanos)) < YOUNG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_drawn_a_moment_ago_may_belong_to_uploads_without_files() {
        #[allow(clippy::disallowed_methods, reason = "as a replica draws it")]
        let now = Uuid::now_v7();
        assert!(may_be_remembered_elsewhere(now));
        assert!(!may_be_remembered_elsewhere(Uuid::from_u128(7)), "no name of ours");
        let old = Uuid::from_u128(now.as_u128() - (u128::from(60_000u32) << 80));
        assert!(!may_be_remembered_elsewhere(old), "a minute old");
    }
}
