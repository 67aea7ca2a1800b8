//! For which platforms a tag has an image, whether each is what it claims, and which of those that are wanted it lacks.

use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::manifests::{Found, strings};
use crate::domain::digest::Digest;
use crate::domain::manifest::{Manifest, is_index};
use crate::domain::name::{Reference, RepositoryName};
use crate::domain::platform::{Check, Platform};
use crate::error::{Error, Result};
use crate::store::{images, scans};

/// Images of one index that are looked at.
const MOST: usize = 200;

/// One image of a tag.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlatformImage {
    /// As the index says, or the image's own config; null: neither says.
    pub platform: Option<String>,
    pub digest: String,
    /// False: the index lists it, but it is not in this repository.
    pub present: bool,
    pub size_bytes: u64,
    /// As the image's own config says, where that is another platform than the index says.
    pub config_says: Option<String>,
    /// What its programs are; null until it was scanned.
    pub check: Option<Check>,
}

/// A tag by platforms.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TagPlatforms {
    pub name: String,
    pub reference: String,
    pub digest: String,
    pub images: Vec<PlatformImage>,
    /// Platforms that the question, or else the project, wants.
    pub wanted: Vec<String>,
    /// Those of them that no image serves.
    pub missing: Vec<String>,
}

impl App {
    /// `wanted`: those of the project if none.
    ///
    /// # Errors
    /// No such image, or the store.
    pub async fn platforms_of(&self, name: &RepositoryName, reference: &Reference, wanted: Option<Vec<Platform>>) -> Result<TagPlatforms> {
        let place = self.place(name).await?;
        let Found { row, bytes } = self.manifest(name, reference).await?;
        let manifest = Manifest::parse(Some(&row.media_type), &bytes)?;
        let mut all = Vec::new();
        if is_index(&row.media_type) {
            let children: Vec<_> = manifest.children().iter().take(MOST).collect();
            let digests: Vec<String> = children.iter().map(|c| c.digest.to_string()).collect();
            let known = images::known_manifests(&self.host.db().orm, name, &digests).await?;
            for child in children {
                let kept = known.iter().find(|m| m.digest == child.digest.as_str());
                let said = child.platform.as_ref().and_then(crate::domain::manifest::Platform::text);
                let own = kept.and_then(|m| strings(&m.platforms).into_iter().next());
                // Attestations of builders are listed as images of an unknown platform.
                if said.is_none() && child.platform.is_some() {
                    continue;
                }
                let differs = matches!((said.as_deref().and_then(Platform::parse), own.as_deref().and_then(Platform::parse)), (Some(a), Some(b)) if a != b);
                all.push(PlatformImage {
                    config_says: own.clone().filter(|_| differs),
                    platform: said.or(own),
                    present: kept.is_some(),
                    size_bytes: kept.map_or(child.size, |m| m.total_bytes.unsigned_abs()),
                    check: self.platform_check(name, &child.digest).await?,
                    digest: child.digest.to_string(),
                });
            }
        } else {
            let digest = Digest::parse(&row.digest).map_err(|e| Error::Internal(e.into()))?;
            all.push(PlatformImage {
                platform: strings(&row.platforms).into_iter().next(),
                digest: row.digest.clone(),
                present: true,
                size_bytes: row.total_bytes.unsigned_abs(),
                config_says: None,
                check: self.platform_check(name, &digest).await?,
            });
        }
        let wanted = match wanted {
            Some(wanted) => wanted,
            None => self.settings(place.project).await?.wanted_platforms.iter().filter_map(|p| Platform::parse(p)).collect(),
        };
        let offered: Vec<Platform> = all.iter().filter(|i| i.present).filter_map(|i| Platform::parse(i.platform.as_deref()?)).collect();
        let missing = wanted.iter().filter(|w| !offered.iter().any(|o| w.takes(o))).map(ToString::to_string).collect();
        let wanted = wanted.iter().map(ToString::to_string).collect();
        Ok(TagPlatforms { name: name.to_string(), reference: reference.to_string(), digest: row.digest.clone(), images: all, wanted, missing })
    }

    async fn platform_check(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Check>> {
        Ok(scans::platform(&self.host.db().pool, name, digest).await?)
    }
}
