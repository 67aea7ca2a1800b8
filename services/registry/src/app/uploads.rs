//! Taking in blobs: uploads in one piece or many, and mounts from other repositories.

use bytes::Bytes;
use futures::Stream;
use gantry_kernel::Kind;
use uuid::Uuid;

use super::App;
use super::settings::Quota;
use crate::adapters::blob_store::{BodyError, Chunk, Staged, UploadError};
use crate::domain::digest::{Algorithm, Digest};
use crate::domain::name::RepositoryName;
use crate::error::{Error, Result};
use crate::store::{blobs, content};

/// A blob that is in more repositories than this (a base layer) is uploaded if none of the first ones may be read.
const MOST_PLACES: u64 = 1_000;

impl App {
    /// # Errors
    /// No such project, or the store.
    pub async fn start_upload(&self, name: &RepositoryName, algorithm: Algorithm) -> Result<Uuid> {
        self.place(name).await?;
        let id = self.host.env.uuid();
        self.blobs.start_upload(id, name, algorithm).await?;
        Ok(id)
    }

    /// Appends to an upload; the new offset.
    ///
    /// # Errors
    /// See `UploadError`.
    pub async fn append<E>(
        &self,
        name: &RepositoryName,
        id: Uuid,
        start: Option<u64>,
        length: Option<u64>,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<u64>
    where
        E: Into<BodyError>,
    {
        let quota = self.quota(name).await?;
        let most = self.config.max_blob_bytes;
        let max = quota.as_ref().map_or(most, |quota| quota.largest().min(most));
        let chunk = Chunk { start, length, max, patience: self.config.patience() };
        let appended = self.blobs.append(id, name, chunk, body).await;
        let is_too_large = matches!(appended, Err(UploadError::TooLarge(_)));
        if let Some(Quota { project, limit, used }) = quota.filter(|_| is_too_large && max < most) {
            self.end_refused(id).await;
            return Err(self.full(project, used, max.saturating_add(1), limit).await);
        }
        Ok(appended?)
    }

    /// Checks the digest and makes the blob readable in the repository. On return it is durable.
    ///
    /// # Errors
    /// Another digest, or the store.
    pub async fn finish_upload(&self, name: &RepositoryName, id: Uuid, digest: &Digest) -> Result<()> {
        self.place(name).await?;
        let staged = self.blobs.finish(id, name, digest).await?;
        self.settle_upload(name, id, digest, staged).await
    }

    /// The same for an upload whose content comes whole with its last request and is small enough for the database: it goes there at once
    /// and not by way of a file. `false`: the upload has bytes already, or somebody is writing to it; nothing has happened.
    ///
    /// # Errors
    /// As [`App::finish_upload`].
    pub async fn finish_whole(&self, name: &RepositoryName, id: Uuid, digest: &Digest, bytes: &Bytes) -> Result<bool> {
        self.place(name).await?;
        let Some(staged) = self.blobs.finish_whole(id, name, digest, bytes).await? else { return Ok(false) };
        self.settle_upload(name, id, digest, staged).await?;
        Ok(true)
    }

    async fn settle_upload(&self, name: &RepositoryName, id: Uuid, digest: &Digest, staged: Staged) -> Result<()> {
        if let Err(error) = self.blob_may_come(name, digest, staged.size).await {
            if matches!(&error, Error::Denied(problem) if problem.kind == Kind::QuotaExceeded) {
                self.end_refused(id).await;
            }
            return Err(error);
        }
        self.publish(Some(name), staged).await.map_err(|error| match error {
            Error::Upload(error) => Error::Upload(error.or_over()),
            other => other,
        })?;
        // The blob is there; what is left of the upload is only a folder, and stale ones are removed later anyway.
        if let Err(error) = self.blobs.end_upload(id).await {
            tracing::warn!(upload.id = %id, error = %error, "the rest of a finished upload could not be removed");
        }
        Ok(())
    }

    /// What the quota does not let in must not lie on the disk until somebody looks for stale uploads.
    async fn end_refused(&self, id: Uuid) {
        if let Err(fault) = self.blobs.end_upload(id).await {
            tracing::warn!(upload.id = %id, error = %fault, "an upload that the quota refuses could not be removed");
        }
    }

    /// Makes a blob that is in this repository already, or in another one, readable in this one. The caller may read `from`.
    /// `false`: there is none; the client uploads it then. Many at once share a statement and its commit.
    ///
    /// # Errors
    /// No such project, or the store.
    pub async fn mount(&self, name: &RepositoryName, digest: &Digest, from: Option<&RepositoryName>) -> Result<bool> {
        self.place(name).await?;
        let asked = (name.clone(), digest.clone(), from.cloned());
        let Some(mounted) = self.mounts.get(asked).await.map_err(|e| Error::Internal(e.into()))? else { return Ok(false) };
        // Only now, or the time it takes would tell what there is in other repositories.
        if !mounted.small && self.blobs.stored_size(digest).await?.is_none() {
            // A row whose content is gone: the client has to send it.
            content::unmount(&self.host.db().pool, name, digest, mounted.at).await.map_err(|e| Error::Internal(e.into()))?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Some of the repositories in which the blob is readable. Only for choosing a source the caller may read: it is never told.
    ///
    /// # Errors
    /// The store.
    pub async fn places_of(&self, digest: &Digest) -> Result<Vec<RepositoryName>> {
        let names = blobs::places_of(&self.host.db().orm, digest, MOST_PLACES).await?;
        Ok(names.iter().filter_map(|n| RepositoryName::parse(n).ok()).collect())
    }

    /// # Errors
    /// Unknown, or of another repository.
    pub async fn upload_offset(&self, name: &RepositoryName, id: Uuid) -> Result<u64> {
        Ok(self.blobs.upload_offset(id, name).await?)
    }

    /// # Errors
    /// Unknown, or of another repository.
    pub async fn cancel_upload(&self, name: &RepositoryName, id: Uuid) -> Result<()> {
        Ok(self.blobs.cancel_upload(id, name).await?)
    }

    /// # Errors
    /// When `text` is not an upload's id.
    pub fn upload_id(text: &str) -> Result<Uuid> {
        Uuid::parse_str(text).map_err(|_| Error::Upload(UploadError::Unknown))
    }
}
