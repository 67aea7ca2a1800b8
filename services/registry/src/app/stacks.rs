//! What images are made of, as far as it was read here: many of them in few questions.

use std::collections::HashMap;

use super::App;
use crate::domain::config::Config;
use crate::domain::manifest::{MAX_BYTES, Manifest};
use crate::domain::origin::{self, Content};
use crate::error::{Error, Result};
use crate::store::scans;

impl App {
    /// The configs of images, by their digests: those that are here and no larger than any real one.
    pub(super) async fn image_configs(&self, images: &[&Manifest]) -> Result<HashMap<String, Config>> {
        let configs = images.iter().filter_map(|m| m.image_config()).filter(|c| c.size <= MAX_BYTES as u64).map(|c| &c.digest);
        let bytes = self.blobs.read_smalls(&configs.collect::<Vec<_>>(), MAX_BYTES as u64).await?;
        Ok(bytes.into_iter().map(|(digest, bytes)| (digest, Config::parse(&bytes))).collect())
    }

    /// What is known of the layers of images.
    pub(super) async fn contents(&self, images: &[&Manifest]) -> Result<HashMap<String, Content>> {
        let mut layers: Vec<&str> = images.iter().flat_map(|m| m.layers()).map(|l| l.digest.as_str()).collect();
        layers.sort_unstable();
        layers.dedup();
        scans::contents(&self.host.db().pool, &layers).await.map_err(|error| Error::Internal(error.into()))
    }

    /// The stacks of layers that an image is made of, by what was read of them here.
    ///
    /// # Errors
    /// The store.
    pub(super) async fn chains(&self, manifest: &Manifest, config: &Config) -> Result<Vec<String>> {
        Ok(origin::chains(manifest, config, &self.contents(&[manifest]).await?))
    }
}
