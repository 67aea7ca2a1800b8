//! Whether an image may be handed out: gathers what is known of it (findings, signatures, provenance, licences) and asks the
//! project's policies. Nothing is read for projects without policies.

use std::collections::BTreeSet;

use gantry_contract::registry::settings::Moment;
use gantry_kernel::{Kind, Problem};

use super::App;
use super::settings::beyond;
use crate::domain::digest::Digest;
use crate::domain::manifest::{MAX_BYTES, Manifest, is_index};
use crate::domain::name::RepositoryName;
use crate::domain::policy::{Facts, UNREAD, Weakness, applicable, judge};
use crate::domain::settings::{Settings, newer};
use crate::error::{Error, Result};
use crate::store::entities::manifests;
use crate::store::{images, lineage, scans};

/// Images of an index whose findings are looked at.
const MOST_IMAGES: usize = 100;

impl App {
    /// # Errors
    /// `registry.policy` with every reason, or the store.
    pub async fn may_hand_out(&self, name: &RepositoryName, row: &manifests::Model, moment: Moment) -> Result<()> {
        let Ok(project) = self.host.auth.project(name.org().as_str(), name.project().as_str()) else { return Ok(()) };
        let settings = self.settings(project.id).await?;
        if settings.policies.is_empty() {
            return Ok(());
        }
        let policies = applicable(settings.policies.values(), name.rest(), moment);
        if policies.is_empty() {
            return Ok(());
        }
        let digest = Digest::parse(&row.digest).map_err(|e| Error::Internal(e.into()))?;
        let bytes = self.blobs.read_small(&digest, MAX_BYTES as u64).await?.unwrap_or_default();
        let manifest = Manifest::parse(Some(&row.media_type), &bytes)?;
        // Artifacts about images (signatures above all) must stay readable, whatever the policy.
        if manifest.children().is_empty() && !manifest.may_run() {
            return Ok(());
        }
        // What was left out of it may be what refuses this image.
        if let Some(partly) = policies.iter().find(|p| settings.beyond.contains(&newer::of_policy(&p.name))) {
            return Err(beyond(&format!("the policy `{}`", partly.name)));
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
        let (images, whole) = self.images_of(name, digest, manifest).await?;
        (facts.scanned, facts.more) = (true, !whole);
        for image in &images {
            match scans::find(db, name, image).await? {
                Some(scan) => {
                    let now = self.host.env.now();
                    let accepted = || settings.allowance(&[UNREAD], "", now).is_some();
                    facts.unread = facts.unread.or_else(|| scan.report.notes.first().filter(|_| !accepted()).cloned());
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

    /// The images behind an index, those of indexes in it included, or the image itself; and whether that is all of them.
    async fn images_of(&self, name: &RepositoryName, digest: &Digest, manifest: &Manifest) -> Result<(Vec<Digest>, bool)> {
        if manifest.children().is_empty() {
            return Ok((vec![digest.clone()], true));
        }
        let (mut images, mut waiting) = (Vec::new(), Vec::new());
        for child in manifest.children() {
            let list = if is_index(&child.media_type) { &mut waiting } else { &mut images };
            list.push(child.digest.clone());
        }
        let mut seen = BTreeSet::new();
        while let Some(index) = waiting.pop() {
            if images.len() > MOST_IMAGES || seen.len() > MOST_IMAGES {
                break;
            }
            if !seen.insert(index.clone()) {
                continue;
            }
            for child in lineage::children(&self.host.db().orm, name, &index).await? {
                let child = Digest::parse(&child).map_err(|e| Error::Internal(e.into()))?;
                let lists = !lineage::children(&self.host.db().orm, name, &child).await?.is_empty();
                let list = if lists { &mut waiting } else { &mut images };
                list.push(child);
            }
        }
        let whole = waiting.is_empty() && images.len() <= MOST_IMAGES;
        images.truncate(MOST_IMAGES);
        Ok((images, whole))
    }
}
