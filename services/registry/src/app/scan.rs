//! Scanning an image: inventory of each layer (once per layer, whoever uses it), advisories, report, event.

use std::collections::HashSet;

use anyhow::Context;
use gantry_es::Meta;
use gantry_kernel::{OrgId, ProjectId};
use serde::{Deserialize, Serialize};

use super::App;
use super::scanners::Again;
use crate::adapters::layer::{Limits, inventory};
use crate::domain::config::Config;
use crate::domain::digest::{Algorithm, Digest};
use crate::domain::manifest::{Descriptor, MAX_BYTES, Manifest, OCI_MANIFEST};
use crate::domain::name::{Reference, RepositoryName};
use crate::domain::platform;
use crate::domain::repository::{Command, Place, Refusal};
use crate::domain::scan::inventory::{Inventory, LayerInventory, merge};
use crate::domain::scan::sbom::Format;
use crate::domain::scan::{advisory, entry, report};
use crate::store::{advisories, blobs, images, scanner_reports, scans};

/// Name of the work.
pub const SCAN: &str = "scan";
/// The same for images that were scanned before: there may be very many, and one that was just pushed does not wait for them.
pub const RESCAN: &str = "rescan";

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
        let theirs = self.layers_of_project(&name, &manifest).await?;
        let mut layers = Vec::with_capacity(manifest.layers().len());
        for layer in manifest.layers() {
            let taken = if theirs.contains(layer.digest.as_str()) { self.layer(layer).await? } else { absent() };
            layers.push((layer.digest.to_string(), taken));
        }
        let inventory = merge(&layers);
        let mut sources: Vec<&str> = inventory.packages.iter().flat_map(|p| [p.package.source.as_str(), p.package.name.as_str()]).collect();
        sources.sort_unstable();
        sources.dedup();
        let about = advisories::about(db, &advisory::ecosystems(&inventory), &sources).await?;
        let config = self.image_config(&manifest).await?;
        let check = platform::check(&config.platform, &inventory.machines, entry::entry(&config, &layers));
        let foreign = if check.fault.is_some() { bringer(&check, &layers) } else { Default::default() };
        let mut report = report::report(&inventory, &about).checked(check, &foreign);
        let settings = self.settings(job.project).await?;
        self.merge_scanners(job, &settings, &mut report).await?;
        self.attach_sbom(job, &name, &digest, &manifest, bytes.len(), &inventory).await?;
        let findings = report.summary();
        let scan = scans::Scan { report, inventory, database: database.clone(), at: self.host.env.now() };
        scans::keep(db, &name, &digest, &scan).await?;

        let at = Place { org: job.org, project: job.project, name: name.clone() };
        let command = Command::RecordScan { at, digest: digest.clone(), findings, database };
        match self.repositories.perform(&name, command, Meta::system().tenant(job.org)).await {
            Ok(_) => {
                self.index(&name, &digest, &manifest, &config, &scan).await?;
                self.ask_scanners(job, &settings, Again::Nobody).await.map(drop)
            }
            Err(gantry_es_pg::ExecuteError::Refused(Refusal::NoSuchManifest(_) | Refusal::NoSuchTag(_) | Refusal::ImmutableTag(_))) => {
                scanner_reports::forget(&self.host.db().pool, name.as_str(), digest.as_str(), None).await?;
                Ok(scans::forget(db, &name, &digest).await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The config of an image; one that says nothing if it is not here, or larger than any real one.
    ///
    /// # Errors
    /// The store.
    pub(super) async fn image_config(&self, manifest: &Manifest) -> anyhow::Result<Config> {
        let Some(config) = manifest.image_config().filter(|c| c.size <= MAX_BYTES as u64) else { return Ok(Config::default()) };
        Ok(Config::parse(&self.blobs.read_small(&config.digest, MAX_BYTES as u64).await?.unwrap_or_default()))
    }

    /// Keeps the bill of materials beside the image if the project wants that and there is none yet: the packages of an image
    /// never change, whatever advisories come.
    async fn attach_sbom(
        &self,
        job: &Job,
        name: &RepositoryName,
        digest: &Digest,
        manifest: &Manifest,
        size: usize,
        inventory: &Inventory,
    ) -> anyhow::Result<()> {
        let settings = self.settings(job.project).await?;
        let Some(format) = settings.scanning.attach_sbom.as_deref().and_then(Format::parse) else { return Ok(()) };
        if manifest.subject.is_some() || !images::referrers(&self.host.db().orm, name, digest, Some(format.media_type()), None, 1).await?.is_empty() {
            return Ok(());
        }
        let now = self.host.env.now();
        let at = now.format(&time::format_description::well_known::Rfc3339)?;
        let bom = bytes::Bytes::from(format.write(&format!("{name}@{digest}"), digest.as_str(), inventory, &at).to_string());
        let empty = bytes::Bytes::from_static(b"{}");
        let digests = [&bom, &empty].map(|content| Digest::of(Algorithm::Sha256, content));
        for (at, content) in digests.iter().zip([&bom, &empty]) {
            let staged = self.blobs.stage(self.host.env.uuid(), at.clone(), content.clone()).await?;
            self.publish(Some(name), staged).await?;
        }
        let attached = serde_json::json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": format.media_type(),
            "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": digests[1].as_str(), "size": 2 },
            "layers": [{ "mediaType": format.media_type(), "digest": digests[0].as_str(), "size": bom.len() }],
            "subject": { "mediaType": manifest.media_type, "digest": digest.as_str(), "size": size },
            "annotations": { "org.opencontainers.image.created": at },
        });
        let bytes = bytes::Bytes::from(attached.to_string());
        let reference = Reference::Digest(Digest::of(Algorithm::Sha256, &bytes));
        match self.push_manifest(name, &reference, Vec::new(), Some(OCI_MANIFEST), bytes, Meta::system()).await {
            Ok(_) => Ok(()),
            // A full quota is the project's word; the report is there all the same.
            Err(crate::error::Error::Denied(problem)) => {
                tracing::info!(repository = %name, image.digest = %digest, reason = problem.code, "the bill of materials is not attached");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The layers that the project has: a manifest may name what is somebody else's, and its report would tell what is in it.
    async fn layers_of_project(&self, name: &RepositoryName, manifest: &Manifest) -> anyhow::Result<HashSet<String>> {
        let db = &self.host.db().orm;
        let mut wanted: Vec<String> = manifest.layers().iter().map(|l| l.digest.to_string()).collect();
        wanted.sort();
        wanted.dedup();
        let mut found = blobs::in_project(db, name, &wanted).await?;
        if found.len() < wanted.len() {
            // The read model may be a moment behind the push.
            anyhow::ensure!(self.sees_manifests_until(self.host.log().head()).await, "the read model of images does not come along");
            found = blobs::in_project(db, name, &wanted).await?;
        }
        Ok(found.into_iter().collect())
    }

    async fn layer(&self, layer: &Descriptor) -> anyhow::Result<LayerInventory> {
        let db = &self.host.db().orm;
        if let Some(kept) = scans::layer(db, &layer.digest).await? {
            return Ok(kept);
        }
        let Some(blob) = self.blobs.read(&layer.digest).await? else { return Ok(absent()) };
        let taken = tokio::task::spawn_blocking(move || inventory(blob.file, Limits::default())).await?;
        let taken = taken.with_context(|| format!("layer {}", layer.digest))?;
        scans::keep_layer(db, &layer.digest, &taken, self.host.env.now()).await?;
        Ok(taken)
    }
}

fn absent() -> LayerInventory {
    LayerInventory { truncated: Some("the layer is not in this registry".into()), ..LayerInventory::default() }
}

/// Digest of the highest layer with what does not fit: what is started, else any program for another machine.
fn bringer(check: &platform::Check, layers: &[(String, LayerInventory)]) -> String {
    let has = |layer: &LayerInventory| match &check.entry {
        Some(entry) => layer.programs.get(&entry.machine).is_some_and(|paths| paths.contains(&entry.path)),
        None => layer.machines.keys().any(|machine| !check.claimed.contains(machine.as_str())),
    };
    layers.iter().rev().find(|(_, layer)| has(layer)).map(|(digest, _)| digest.clone()).unwrap_or_default()
}
