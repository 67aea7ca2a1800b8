//! Events of the configs and secrets that a space keeps for its applications.

use std::collections::BTreeMap;

use gantry_es::{EventData, Sealed};
use gantry_kernel::{OrgId, ProjectId, SpaceId, Uuid};
use serde::{Deserialize, Serialize};

/// Stream `config-<id>`. Contents are sealed under a key of this config alone, which is erased with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum ConfigEvent {
    /// `salt`: what fingerprints are made with, so that nobody can try contents against them.
    #[serde(rename = "config.created")]
    Created { config: Uuid, org: OrgId, project: ProjectId, space: SpaceId, name: String, secret: bool, immutable: bool, salt: Sealed },
    /// A version; `keys`: each key and whether its content is bytes that are no text. `from`: the version whose content came back.
    #[serde(rename = "config.set")]
    Set {
        config: Uuid,
        space: SpaceId,
        number: u32,
        content: Sealed,
        fingerprint: String,
        keys: BTreeMap<String, bool>,
        bytes: u64,
        reason: String,
        from: Option<u32>,
    },
    #[serde(rename = "config.deleted")]
    Deleted { config: Uuid, space: SpaceId },
}

impl EventData for ConfigEvent {
    const AGGREGATE: &'static str = "config";
}
