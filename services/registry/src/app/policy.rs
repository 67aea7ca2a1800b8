//! Whether an image may be handed out: gathers what is known of it (findings, signatures, provenance, licences) and asks the
//! project's policies. Nothing is read for projects without policies.

use gantry_contract::registry::settings::Moment;
use gantry_kernel::{Kind, Problem};

use super::App;
use crate::domain::digest::Digest;
use crate::domain::manifest::{MAX_BYTES, Manifest};
use crate::domain::name::RepositoryName;
use crate::domain::policy::{Facts, Weakness, applicable, judge};
use crate::domain::settings::Settings;
use crate::error::{Error, Result};
use crate::store::entities::manifests;
use crate::store::{images, lineage, scans};

/// Children of an index whose findings are looked at.
const MOST_CHILDREN: usize = 100;

impl App {
    /// # Errors
    /// `registry.policy` with every reason, or the store.
    pub async fn may_hand_out(&self, name: &RepositoryName, row: &manifests::Model, moment: Moment) -> Result<()> {
        let Ok(project) = self.host.auth.project(name.org().as_str(), name.project().as_str()) else { return Ok(()) };
        let settings = self.settings(project.id).await?;
        if settings.policies.is_empty() || row.subject.is_some() {
            return Ok(());
        }
        let policies = applicable(settings.policies.values(), name.rest(), moment);
        if policies.is_empty() {
            return Ok(());
        }
        let digest = Digest::parse(&row.digest).map_err(|e| Error::Internal(e.into()))?;
        let bytes = self.blobs.read_small(&digest, MAX_BYTES as u64).await?.unwrap_or_default();
        let manifest = Manifest::parse(Some(&row.media_type), &bytes)?;
        if !is_image(&manifest) {
            return Ok(());
        }
        let facts = self.facts(name, &digest, &manifest, &bytes, &settings).await?;
        let why = judge(&policies, &facts);
        if why.is_empty() {
            return Ok(());
        }
        let detail = format!("{name}@{digest} is refused. {}", why.join(". "));
        Err(Error::Denied(Problem::new(Kind::Forbidden, "registry.policy", detail)))
    }

    /// What is known of an image or index, as far as policies can ask.
    ///
    /// # Errors
    /// The store.
    pub async fn facts(&self, name: &RepositoryName, digest: &Digest, manifest: &Manifest, bytes: &[u8], settings: &Settings) -> Result<Facts> {
        let db = &self.host.db().orm;
        let mut facts = Facts::default();
        let mut images: Vec<Digest> = manifest.children().iter().take(MOST_CHILDREN).map(|c| c.digest.clone()).collect();
        if images.is_empty() {
            images.push(digest.clone());
        }
        facts.scanned = true;
        for image in &images {
            match scans::find(db, name, image).await? {
                Some(scan) => {
                    let now = self.host.env.now();
                    for finding in scan.report.findings {
                        let ids: Vec<&str> = std::iter::once(finding.id.as_str()).chain(finding.aliases.iter().map(String::as_str)).collect();
                        if settings.allowance(&ids, &finding.package, now).is_none() {
                            let fixable = finding.fixed_version.is_some();
                            facts.weaknesses.push(Weakness { id: finding.id, package: finding.package, severity: finding.severity, fixable });
                        }
                    }
                    facts.licences.extend(scan.inventory.packages.into_iter().map(|p| (p.package.name, p.package.licence)).filter(|(_, l)| !l.is_empty()));
                }
                // A child that is not here cannot be pulled either.
                None if *image != *digest && images::known_manifests(db, name, &[image.to_string()]).await?.is_empty() => {}
                None => facts.scanned = false,
            }
        }
        let mut about = vec![(digest.to_string(), bytes.to_vec())];
        // A signature on an index is one on the images it lists.
        for parent in lineage::parents(db, name, digest).await? {
            let parent = Digest::parse(&parent).map_err(|e| Error::Internal(e.into()))?;
            if let Some(bytes) = self.blobs.read_small(&parent, MAX_BYTES as u64).await? {
                about.push((parent.to_string(), bytes));
            }
        }
        for (subject, bytes) in about {
            for found in self.signatures(name, &subject, &bytes, settings).await? {
                facts.signers.extend(found.key.clone().filter(|_| found.signs_image));
                facts.provenance.extend(found.provenance());
            }
        }
        Ok(facts)
    }
}

/// An image or an index of images, and not an artifact about one: signatures must stay readable, whatever the policy.
fn is_image(manifest: &Manifest) -> bool {
    if manifest.children().is_empty() {
        return manifest.image_config().is_some() && manifest.layers().iter().all(|l| !is_artifact_layer(&l.media_type));
    }
    true
}

fn is_artifact_layer(media_type: &str) -> bool {
    !media_type.starts_with("application/vnd.oci.image.layer.") && !media_type.starts_with("application/vnd.docker.image.rootfs.")
}
