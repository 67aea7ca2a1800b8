//! Reading and deleting blobs of a repository.

use std::io;

use bytes::Bytes;
use futures::Stream;
use url::Url;

use super::App;
use crate::adapters::blobs::opened;
use crate::adapters::verified::{self, Check};
use crate::domain::digest::Digest;
use crate::domain::name::RepositoryName;
use crate::domain::sums::Sums;
use crate::error::{Error, Result};
use crate::store::blobs;

/// A blob that may be read.
pub struct Kept {
    pub size: u64,
    /// Whether it lives in the database.
    small: bool,
    bytes: Option<Bytes>,
    check: Check,
}

impl App {
    /// What is needed to read a blob. `head`: its bytes are not wanted.
    ///
    /// # Errors
    /// Not linked in this repository (whether it exists elsewhere is not told), or the store.
    pub async fn blob(&self, name: &RepositoryName, digest: &Digest, head: bool) -> Result<Kept> {
        let unknown = || Error::UnknownBlob(digest.to_string());
        let row = self.readable.get((name.clone(), digest.clone(), !head)).await.map_err(|e| Error::Internal(e.into()))?.ok_or_else(unknown)?;
        let size = row.size_bytes.unsigned_abs();
        let check = match row.sums.and_then(|sums| Sums::parse(&sums, size)) {
            Some(sums) => Check::Sums(sums),
            None => Check::Digest(digest.clone()),
        };
        Ok(Kept { size, small: row.small, bytes: row.bytes.map(Bytes::from), check })
    }

    /// The bytes of a blob, each checked before it goes out.
    ///
    /// # Errors
    /// The content is not there, or has another length than it had.
    pub async fn content(&self, digest: &Digest, kept: Kept, part: (u64, u64)) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>> {
        let span = verified::span(kept.size, part);
        let found = match &kept.bytes {
            Some(bytes) => Some(opened(bytes, span)),
            None => {
                let found = if kept.small { self.blobs.open(digest, span).await } else { self.blobs.open_stored(digest, span).await };
                match found {
                    // Shorter than where the part begins.
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
                    other => other?,
                }
            }
        };
        match found {
            Some(blob) if blob.size == kept.size => {
                let (app, digest) = (self.clone(), digest.clone());
                Ok(verified::stream(blob.blocks, kept.size, part, kept.check, move || app.report_damage(digest)))
            }
            _ => {
                self.report_damage(digest.clone());
                Err(Error::UnknownBlob(digest.to_string()))
            }
        }
    }

    /// Where the client may fetch the blob itself: never for small content, which another request would only make slower.
    ///
    /// # Errors
    /// The store.
    pub async fn elsewhere(&self, digest: &Digest, kept: &Kept) -> Result<Option<Url>> {
        Ok(if kept.small { None } else { self.blobs.redirect(digest).await? })
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
