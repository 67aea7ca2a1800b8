//! Making a scanned image findable: by its packages, labels and findings, and by the stacks of layers it begins with.

use std::time::Duration;

use anyhow::bail;

use super::App;
use crate::domain::config::Config;
use crate::domain::digest::Digest;
use crate::domain::manifest::Manifest;
use crate::domain::name::RepositoryName;
use crate::domain::search as terms;
use crate::store::scans::Scan;
use crate::store::{origin as chains, search};

/// The list of images follows a push in milliseconds.
const CATCH_UP: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(30);

impl App {
    /// Repeating it is harmless. An image that was deleted meanwhile is left alone.
    ///
    /// # Errors
    /// The store, or a list of images that is far behind the log.
    pub(super) async fn index(&self, name: &RepositoryName, digest: &Digest, manifest: &Manifest, config: &Config, scan: &Scan) -> anyhow::Result<()> {
        let pool = &self.host.db().pool;
        if manifest.subject.is_some() {
            // What is about an image is found by that image: no list has it, however long one waits.
            search::indexed(&mut *pool.acquire().await?, name.as_str(), digest.as_str()).await?;
            return Ok(());
        }
        let mut waited = Duration::ZERO;
        while search::image(pool, name.as_str(), digest.as_str()).await?.is_none() {
            if !self.repositories.load(name).await?.state.has(digest) {
                return Ok(());
            }
            if waited >= CATCH_UP {
                bail!("the list of images is behind the log");
            }
            tokio::time::sleep(STEP).await;
            waited += STEP;
        }
        let stacks = self.chains(manifest, config).await?;
        let mut tx = pool.begin().await?;
        // Held, so that a deletion takes these terms away, too.
        let Some((image, project)) = search::held(&mut tx, name.as_str(), digest.as_str()).await? else { return Ok(()) };
        search::replace(&mut tx, image, project, &terms::of_scan(config, &scan.inventory, &scan.report)).await?;
        chains::keep(&mut tx, image, project, &stacks).await?;
        search::indexed(&mut tx, name.as_str(), digest.as_str()).await?;
        tx.commit().await?;
        Ok(())
    }
}
