//! Reading and deleting blobs of a repository.

use super::App;
use crate::adapters::blob_fs::Blob;
use crate::domain::digest::Digest;
use crate::domain::name::RepositoryName;
use crate::error::{Error, Result};
use crate::store::blobs;

impl App {
    /// # Errors
    /// Not linked in this repository (whether it exists elsewhere is not told), or the store.
    pub async fn blob(&self, name: &RepositoryName, digest: &Digest) -> Result<Blob> {
        let unknown = || Error::UnknownBlob(digest.to_string());
        if blobs::visible(&self.host.db().orm, name, &[digest.to_string()]).await?.is_empty() {
            return Err(unknown());
        }
        self.blobs.read(digest).await?.ok_or_else(unknown)
    }

    /// Takes a blob out of a repository; its bytes go when nobody needs them.
    ///
    /// # Errors
    /// Not there, or still part of a manifest there.
    pub async fn delete_blob(&self, name: &RepositoryName, digest: &Digest) -> Result<()> {
        if let Some(manifest) = blobs::needed_by(&self.host.db().orm, name, digest).await? {
            return Err(Error::BlobInUse { manifest });
        }
        if blobs::unlink(&self.host.db().orm, name, digest).await? { Ok(()) } else { Err(Error::UnknownBlob(digest.to_string())) }
    }
}
