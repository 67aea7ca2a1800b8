//! Events of the registry.

pub mod flow;
pub mod settings;

use gantry_es::EventData;
use gantry_kernel::{OrgId, ProjectId};
use serde::{Deserialize, Serialize};

/// Stream `repository-<org>/<project>/<name>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum RepositoryEvent {
    #[serde(rename = "repository.manifest-pushed")]
    ManifestPushed {
        org: OrgId,
        project: ProjectId,
        /// `<org>/<project>/<name>`.
        repository: String,
        digest: String,
        media_type: String,
        artifact_type: Option<String>,
        subject: Option<String>,
        size_bytes: u64,
        /// Digests and sizes of what the manifest refers to (config, layers).
        blobs: Vec<BlobRef>,
        /// Those of `blobs` that the repository did not have at the push (a sparse image).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        missing: Vec<String>,
        /// Digests of child manifests of an index.
        manifests: Vec<String>,
        /// "linux/amd64" and so on.
        platforms: Vec<String>,
        annotations: std::collections::BTreeMap<String, String>,
    },
    #[serde(rename = "repository.tag-moved")]
    TagMoved { org: OrgId, project: ProjectId, repository: String, tag: String, digest: String, from: Option<String> },
    #[serde(rename = "repository.tag-deleted")]
    TagDeleted { org: OrgId, project: ProjectId, repository: String, tag: String, digest: String },
    #[serde(rename = "repository.manifest-deleted")]
    ManifestDeleted { org: OrgId, project: ProjectId, repository: String, digest: String },
    #[serde(rename = "repository.scanned")]
    Scanned {
        org: OrgId,
        project: ProjectId,
        repository: String,
        digest: String,
        packages: u32,
        critical: u32,
        high: u32,
        medium: u32,
        low: u32,
        unknown: u32,
        database: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    pub digest: String,
    pub size_bytes: u64,
}

impl EventData for RepositoryEvent {
    const AGGREGATE: &'static str = "repository";
}
