//! What an image is made of: its layers with the steps that made them, and which of them other images of the project have, too.

use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::manifests::Found;
use crate::domain::layers::{Told, tell};
use crate::domain::manifest::{MAX_BYTES, Manifest};
use crate::domain::name::{Reference, RepositoryName};
use crate::error::Result;
use crate::store::usage;

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Layer {
    pub digest: String,
    pub media_type: String,
    pub size_bytes: u64,
    /// The step that made it, as the config has it; empty if it does not say.
    pub created_by: String,
    /// How many images of the project have it, this one included.
    pub images: u64,
}

/// An image by its parts.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Parts {
    pub name: String,
    pub digest: String,
    pub media_type: String,
    /// What is started in it; of an index or another artifact, nothing.
    pub config: Told,
    /// The lowest first. None of an index: each of its images has its own.
    pub layers: Vec<Layer>,
    /// Bytes of layers that no other image of the project has.
    pub own_bytes: u64,
    /// Bytes of layers that others have, too.
    pub shared_bytes: u64,
}

impl App {
    /// # Errors
    /// No such image, or the store.
    pub async fn parts(&self, name: &RepositoryName, reference: &Reference) -> Result<Parts> {
        let place = self.place(name).await?;
        let Found { row, bytes } = self.manifest(name, reference).await?;
        let manifest = Manifest::parse(Some(&row.media_type), &bytes)?;
        let config = match manifest.image_config().filter(|c| c.size <= MAX_BYTES as u64) {
            Some(config) => self.blobs.read_small(&config.digest, MAX_BYTES as u64).await?.unwrap_or_default(),
            None => Vec::new(),
        };
        let (told, steps) = tell(&config);
        let digests: Vec<String> = manifest.layers().iter().map(|l| l.digest.to_string()).collect();
        let uses = usage::uses(&self.host.db().orm, place.project, &digests).await?;
        let layers: Vec<Layer> = manifest
            .layers()
            .iter()
            .enumerate()
            .map(|(at, layer)| Layer {
                digest: layer.digest.to_string(),
                media_type: layer.media_type.clone(),
                size_bytes: layer.size,
                // A config that tells of more or fewer steps than there are layers tells of other ones.
                created_by: if steps.len() == digests.len() { steps[at].clone() } else { String::new() },
                images: uses.get(layer.digest.as_str()).copied().unwrap_or(1).max(1),
            })
            .collect();
        let bytes_of = |shared: bool| -> u64 { layers.iter().filter(|l| (l.images > 1) == shared).map(|l| l.size_bytes).sum() };
        Ok(Parts {
            name: name.to_string(),
            digest: row.digest.clone(),
            media_type: row.media_type.clone(),
            config: told,
            own_bytes: bytes_of(false),
            shared_bytes: bytes_of(true),
            layers,
        })
    }
}
