//! Bodies of the REST API.

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::app::App;
use crate::app::listing::Listed;
use crate::app::manifests::strings;
use crate::domain::name::RepositoryName;
use crate::domain::platform::Check;
use crate::domain::scan::report::{Finding, ScanSummary};
use crate::store::entities::{manifests, tags};

/// A repository of images.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Image {
    /// `<org>/<project>/<repository>`.
    pub name: String,
    /// The part after organisation and project.
    pub repository: String,
    /// What to give to `docker pull`, without a tag.
    pub reference: String,
    /// The newest twenty, newest first; the list of the repository's tags has all.
    pub tags: Vec<Tag>,
    /// How many there are.
    pub tag_count: u64,
    /// Of the newest image.
    pub digest: Option<String>,
    /// Manifest, config and layers of the newest image (of all its platforms, for an index).
    pub size_bytes: u64,
    pub platforms: Vec<String>,
    /// None until it was scanned, and for an index (its children are scanned).
    pub scan: Option<ScanSummary>,
    /// "user:<uuid>", "service:<name>", "robot:<uuid>".
    pub pushed_by: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub pushed_at: Option<OffsetDateTime>,
    /// How many images (tagged or not) are kept.
    pub images: usize,
    /// Bytes of everything in the repository, shared content counted once.
    pub stored_bytes: u64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Tag {
    pub tag: String,
    pub digest: String,
    pub media_type: Option<String>,
    pub size_bytes: u64,
    pub platforms: Vec<String>,
    pub scan: Option<ScanSummary>,
    pub pushed_by: String,
    /// When the tag was last moved.
    #[serde(with = "time::serde::rfc3339")]
    pub pushed_at: OffsetDateTime,
}

impl Tag {
    pub fn of(tag: tags::Model, manifest: Option<&manifests::Model>) -> Self {
        Self {
            tag: tag.tag,
            digest: tag.digest,
            media_type: manifest.map(|m| m.media_type.clone()),
            size_bytes: manifest.map(|m| m.total_bytes.unsigned_abs()).unwrap_or_default(),
            platforms: manifest.map(|m| strings(&m.platforms)).unwrap_or_default(),
            scan: manifest.and_then(summary),
            pushed_by: tag.moved_by,
            pushed_at: tag.moved_at,
        }
    }
}

impl Image {
    pub fn of(app: &App, listed: Listed) -> Self {
        let name = &listed.repository.name;
        let newest = listed.newest.as_ref();
        Self {
            repository: RepositoryName::parse(name).map(|n| n.rest().to_owned()).unwrap_or_default(),
            reference: format!("{}/{name}", app.host.platform.public_host()),
            digest: newest.map(|m| m.digest.clone()),
            size_bytes: newest.map(|m| m.total_bytes.unsigned_abs()).unwrap_or_default(),
            platforms: newest.map(|m| strings(&m.platforms)).unwrap_or_default(),
            scan: newest.and_then(summary),
            pushed_by: newest.map(|m| m.pushed_by.clone()),
            pushed_at: newest.map(|m| m.pushed_at),
            tags: listed.tags.into_iter().map(|(tag, manifest)| Tag::of(tag, manifest.as_ref())).collect(),
            tag_count: listed.stored.tags.unsigned_abs(),
            images: usize::try_from(listed.stored.images).unwrap_or_default(),
            stored_bytes: listed.stored.bytes.unsigned_abs(),
            name: listed.repository.name,
        }
    }
}

fn summary(manifest: &manifests::Model) -> Option<ScanSummary> {
    serde_json::from_value(manifest.scan.clone()?).ok()
}

/// The result of scanning one image.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ScanReport {
    pub name: String,
    pub digest: String,
    /// What the image says it is, such as `Debian GNU/Linux 12 (bookworm)`.
    pub system: String,
    pub summary: ScanSummary,
    /// Worst first.
    pub findings: Vec<Finding>,
    /// What could not be read and why; empty for a complete scan.
    pub notes: Vec<String>,
    /// What it claims to be for, and what is in it; null in reports from before this was looked at.
    pub platform: Option<Check>,
}
