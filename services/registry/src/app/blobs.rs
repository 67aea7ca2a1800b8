//! Reading and deleting blobs of a repository.

use std::io;

use bytes::Bytes;
use futures::Stream;

use super::App;
use crate::adapters::verified::{self, Check};
use crate::domain::digest::Digest;
use crate::domain::name::RepositoryName;
use crate::domain::sums::Sums;
use crate::error::{Error, Result};
use crate::store::blobs;

/// A blob that may be read.
pub struct Kept {
    pub size: u64,
    check: Check,
}

impl App {
    /// # Errors
    /// Not linked in this repository (whether it exists elsewhere is not told), or the store.
    pub async fn blob(&self, name: &RepositoryName, digest: &Digest) -> Result<Kept> {
        let unknown = || Error::UnknownBlob(digest.to_string());
        let row = blobs::readable(&self.host.db().orm, name, digest).await?.ok_or_else(unknown)?;
        let size = row.size_bytes.unsigned_abs();
        let check = match row.sums.and_then(|sums| Sums::parse(&sums, size)) {
            Some(sums) => Check::Sums(sums),
            None => Check::Digest(digest.clone()),
        };
        Ok(Kept { size, check })
    }

    /// The bytes of a blob, each checked before it goes out.
    ///
    /// # Errors
    /// The content is not there, or has another length than it had.
    pub async fn content(&self, digest: &Digest, kept: Kept, part: (u64, u64)) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>> {
        match self.blobs.read(digest).await? {
            Some(blob) if blob.size == kept.size => {
                let (app, digest) = (self.clone(), digest.clone());
                Ok(verified::stream(blob.file, kept.size, part, kept.check, move || app.report_damage(digest)))
            }
            _ => {
                self.report_damage(digest.clone());
                Err(Error::UnknownBlob(digest.to_string()))
            }
        }
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
