//! Settings as they are shown.

use gantry_contract::registry::flow::{Replication, Scanner, Target, Upstream, Webhook};
use gantry_contract::registry::settings::{Allowance, Policy, Retention, Scanning, TagRule};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::digest::{Algorithm, Digest};
use crate::domain::settings::Settings;
use crate::domain::signature::key::{self, Material};

#[derive(Debug, Serialize, ToSchema)]
pub struct SettingsView {
    pub quota_bytes: Option<u64>,
    pub immutability: Vec<TagRule>,
    pub retention: Retention,
    pub scanning: Scanning,
    /// For which platforms images should be there.
    pub wanted_platforms: Vec<String>,
    pub keys: Vec<KeyView>,
    pub policies: Vec<Policy>,
    pub allowances: Vec<Allowance>,
    pub upstreams: Vec<Upstream>,
    pub targets: Vec<Target>,
    pub replications: Vec<Replication>,
    pub webhooks: Vec<Webhook>,
    pub scanners: Vec<Scanner>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct KeyView {
    pub name: String,
    /// `public_key` or `certificate`.
    pub kind: &'static str,
    pub subject: Vec<String>,
    pub pem: String,
    /// SHA-256 of the PEM text without white space at its ends.
    pub fingerprint: String,
}

impl SettingsView {
    pub fn of(settings: Settings) -> Self {
        Self {
            quota_bytes: settings.quota_bytes,
            immutability: settings.immutability,
            retention: settings.retention,
            scanning: settings.scanning,
            wanted_platforms: settings.wanted_platforms,
            keys: settings
                .keys
                .into_values()
                .map(|k| KeyView {
                    kind: if matches!(key::parse(&k.pem), Ok(Material::Certificate(_))) { "certificate" } else { "public_key" },
                    fingerprint: Digest::of(Algorithm::Sha256, k.pem.trim().as_bytes()).to_string(),
                    name: k.name,
                    subject: k.subject,
                    pem: k.pem,
                })
                .collect(),
            policies: settings.policies.into_values().collect(),
            allowances: settings.allowances.into_values().collect(),
            upstreams: settings.upstreams.into_values().map(|k| k.upstream).collect(),
            targets: settings.targets.into_values().map(|k| k.target).collect(),
            replications: settings.replications.into_values().collect(),
            webhooks: settings.webhooks.into_values().map(|k| k.webhook).collect(),
            scanners: settings.scanners.into_values().map(|k| k.scanner).collect(),
        }
    }
}
