//! The rest of what a cache took in: an image's layers, an index's images if all platforms are wanted, and what refers to
//! them (signatures, bills of materials), so that an image that is here stays whole when the upstream goes away.

use std::time::Duration;

use gantry_contract::registry::flow::Platforms;
use gantry_es_pg::Todo;
use serde::{Deserialize, Serialize};

use super::App;
use super::cached::Origin;
use super::scan::Job;
use crate::adapters::remote::RemoteError;
use crate::domain::digest::Digest;
use crate::domain::manifest::{MAX_BYTES, Manifest};
use crate::domain::name::{Reference, RepositoryName, Tag};
use crate::error::{Error, Result};
use crate::store::{blobs, images};

/// Name of the work.
pub const FILL: &str = "cache-fill";
/// Longest wait of a client for the upstream's list of referrers.
const PATIENCE: Duration = Duration::from_secs(10);
/// Referrers of one image that are carried along.
const MOST_REFERRERS: usize = 200;

/// One manifest whose rest is wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fill {
    pub repository: String,
    pub digest: String,
}

impl Fill {
    pub fn key(&self) -> String {
        format!("{}@{}", self.repository, self.digest)
    }
}

impl App {
    /// Fetches what is missing. Repeating it is harmless; an image deleted meanwhile is left alone.
    ///
    /// # Errors
    /// The upstream is away, or the store: it is tried again.
    pub async fn fill(&self, fill: &Fill) -> Result<()> {
        let name = RepositoryName::parse(&fill.repository)?;
        let digest = Digest::parse(&fill.digest).map_err(|e| Error::Internal(e.into()))?;
        let Some(origin) = self.origin(&name).await?.filter(|o| o.upstream.enabled) else { return Ok(()) };
        let found = match self.manifest(&name, &Reference::Digest(digest.clone())).await {
            Ok(found) => found,
            Err(Error::UnknownManifest(_) | Error::UnknownRepository(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let manifest = Manifest::parse(Some(&found.row.media_type), &found.bytes)?;
        let mut came = 0;
        for blob in manifest.blobs() {
            came += self.ensure_blob(&name, &blob.digest, blob.size, &origin.source).await?;
        }
        if came > 0 && manifest.image_config().is_some() {
            // The first scan may have been before the layers.
            let job = Job { org: origin.place.org, project: origin.place.project, repository: fill.repository.clone(), digest: fill.digest.clone() };
            Todo::enqueue(&self.host.db().orm, super::scan::SCAN, &job.key(), &serde_json::to_value(&job).map_err(anyhow::Error::from)?).await?;
        }
        if origin.upstream.platforms == Platforms::All {
            for child in manifest.children().iter().filter(|c| c.size <= MAX_BYTES as u64) {
                match self.refresh(&origin, &Reference::Digest(child.digest.clone())).await {
                    // The upstream's index is sparse itself.
                    Ok(()) | Err(Error::UnknownManifest(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        if manifest.subject.is_none() { self.carry_referrers(&origin, &digest).await } else { Ok(()) }
    }

    /// Asks the upstream what refers to an image of a cache, if it is time to; a client waits for it only a while, and is then
    /// told what is here.
    pub async fn refresh_referrers(&self, name: &RepositoryName, digest: &Digest) {
        let asked = async {
            let Some(origin) = self.origin(name).await?.filter(|o| o.upstream.enabled) else { return Ok(()) };
            if self.is_fresh(name, &list_of(digest)).await? {
                return Ok(());
            }
            self.flow.turns.alone(&format!("referrers {name} {digest}"), self.carry_referrers(&origin, digest)).await
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(repository = %name, image.digest = %digest, error = %error, "the upstream's referrers could not be had; those here are listed")
            }
            Err(_) => tracing::warn!(repository = %name, image.digest = %digest, "the upstream's referrers did not come in time; those here are listed"),
        }
    }

    /// Takes in what refers to an image: by the referrers API or its fallback, and by cosign's tags.
    async fn carry_referrers(&self, origin: &Origin, digest: &Digest) -> Result<()> {
        let (name, source) = (&origin.place.name, &origin.source);
        let listed = match source.remote.referrers(&source.repository, digest).await {
            Ok(listed) => listed,
            Err(error) => {
                self.compared(origin, &list_of(digest), Some((PATIENCE, &error.to_string()))).await?;
                return Err(Error::Denied(super::remotes::away(&error)));
            }
        };
        for entry in listed.into_iter().take(MOST_REFERRERS) {
            let Ok(referrer) = Digest::parse(&entry.digest) else { continue };
            self.carry(origin, &Reference::Digest(referrer)).await?;
        }
        for suffix in ["sig", "att", "sbom"] {
            let Ok(tag) = Tag::parse(&format!("{}.{suffix}", digest.as_str().replace(':', "-"))) else { continue };
            match source.remote.head(&source.repository, tag.as_str()).await {
                Ok(Some(_)) => self.carry(origin, &Reference::Tag(tag)).await?,
                Ok(None) | Err(RemoteError::Unknown(_)) => {}
                Err(error) => return Err(Error::Denied(super::remotes::away(&error))),
            }
        }
        let known = images::referrers(&self.host.db().orm, name, digest, None, None, 1).await?.len();
        tracing::debug!(repository = %name, image.digest = %digest, known, "referrers were compared");
        self.compared(origin, &list_of(digest), None).await
    }

    /// One referrer, whole: it is small, and nobody may ask for its parts while the upstream is there.
    async fn carry(&self, origin: &Origin, reference: &Reference) -> Result<()> {
        match self.refresh(origin, reference).await {
            Ok(()) => {}
            // Listed, and gone since.
            Err(Error::UnknownManifest(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
        let name = &origin.place.name;
        let found = self.manifest(name, reference).await?;
        let manifest = Manifest::parse(Some(&found.row.media_type), &found.bytes)?;
        let wanted: Vec<String> = manifest.blobs().iter().map(|b| b.digest.to_string()).collect();
        let here = blobs::visible(&self.host.db().orm, name, &wanted).await?;
        for blob in manifest.blobs() {
            if !here.contains(&blob.digest.to_string()) {
                self.ensure_blob(name, &blob.digest, blob.size, &origin.source).await?;
            }
        }
        Ok(())
    }
}

/// Under which a list of referrers is remembered; no tag has a space.
fn list_of(digest: &Digest) -> String {
    format!("referrers {digest}")
}
