//! Scanning an image: inventory of each layer (once per layer, whoever uses it), advisories, report, event.

use anyhow::Context;
use gantry_es::Meta;
use gantry_kernel::{OrgId, ProjectId};
use serde::{Deserialize, Serialize};

use super::App;
use crate::adapters::layer::{Limits, inventory};
use crate::domain::digest::Digest;
use crate::domain::manifest::{Descriptor, MAX_BYTES, Manifest};
use crate::domain::name::RepositoryName;
use crate::domain::repository::{Command, Place, Refusal};
use crate::domain::scan::inventory::{LayerInventory, merge};
use crate::domain::scan::{advisory, report};
use crate::store::{advisories, scans};

/// One image to scan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub org: OrgId,
    pub project: ProjectId,
    pub repository: String,
    pub digest: String,
}

impl Job {
    pub fn key(&self) -> String {
        format!("{}@{}", self.repository, self.digest)
    }
}

impl App {
    /// Scans one image and records the result. Repeating it is harmless; an image deleted meanwhile is left alone.
    ///
    /// # Errors
    /// When something is out of order that may be in order later.
    pub async fn scan(&self, job: &Job) -> anyhow::Result<()> {
        let name = RepositoryName::parse(&job.repository)?;
        let digest = Digest::parse(&job.digest)?;
        let db = &self.host.db().orm;
        // The log says whether it is still there; the read model may be a moment behind the push.
        if !self.repositories.load(&name).await?.state.has(&digest) {
            return Ok(());
        }
        let bytes = self.blobs.read_small(&digest, MAX_BYTES as u64).await?.with_context(|| format!("the bytes of manifest {digest} are not on the disk"))?;
        let manifest = Manifest::parse(None, &bytes)?;
        if manifest.image_config().is_none() {
            // A chart, a signature, a model: nothing that a package manager installed into.
            return Ok(());
        }
        // Before the look-up: should newer advisories come in between, the import asks for another scan.
        let database = advisories::fingerprint(db).await?;
        let mut layers = Vec::with_capacity(manifest.layers().len());
        for layer in manifest.layers() {
            layers.push((layer.digest.to_string(), self.layer(layer).await?));
        }
        let inventory = merge(&layers);
        let mut sources: Vec<&str> = inventory.packages.iter().flat_map(|p| [p.package.source.as_str(), p.package.name.as_str()]).collect();
        sources.sort_unstable();
        sources.dedup();
        let about = advisories::about(db, &advisory::ecosystems(&inventory), &sources).await?;
        let report = report::report(&inventory, &about);
        let findings = report.summary();
        let scan = scans::Scan { report, inventory, database: database.clone(), at: self.host.env.now() };
        scans::keep(db, &name, &digest, &scan).await?;

        let at = Place { org: job.org, project: job.project, name: name.clone() };
        let command = Command::RecordScan { at, digest: digest.clone(), findings, database };
        match self.repositories.execute(&name, command, Meta::system().tenant(job.org)).await {
            Ok(_) => Ok(()),
            Err(gantry_es_pg::ExecuteError::Refused(Refusal::NoSuchManifest(_) | Refusal::NoSuchTag(_) | Refusal::ImmutableTag(_))) => {
                Ok(scans::forget(db, &name, &digest).await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn layer(&self, layer: &Descriptor) -> anyhow::Result<LayerInventory> {
        let db = &self.host.db().orm;
        if let Some(kept) = scans::layer(db, &layer.digest).await? {
            return Ok(kept);
        }
        let Some(blob) = self.blobs.read(&layer.digest).await? else {
            return Ok(LayerInventory { truncated: Some("the layer is not in this registry".into()), ..LayerInventory::default() });
        };
        let taken = tokio::task::spawn_blocking(move || inventory(blob.file, Limits::default())).await?;
        let taken = taken.with_context(|| format!("layer {}", layer.digest))?;
        scans::keep_layer(db, &layer.digest, &taken, self.host.env.now()).await?;
        Ok(taken)
    }
}
