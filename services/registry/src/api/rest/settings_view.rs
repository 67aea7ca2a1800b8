//! Settings as they are shown: without passwords and secrets.

use gantry_contract::registry::settings::{Allowance, Direction, Login, Policy, Retention, Scanning, TagRule};
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
    pub keys: Vec<KeyView>,
    pub policies: Vec<Policy>,
    pub allowances: Vec<Allowance>,
    pub replications: Vec<ReplicationView>,
    pub upstreams: Vec<UpstreamView>,
    pub webhooks: Vec<WebhookView>,
    pub scanners: Vec<ScannerView>,
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

#[derive(Debug, Serialize, ToSchema)]
pub struct ReplicationView {
    pub name: String,
    pub direction: Direction,
    pub remote: String,
    pub repositories: String,
    pub tags: String,
    pub every_minutes: Option<u32>,
    pub on_push: bool,
    pub username: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct UpstreamView {
    pub name: String,
    pub remote: String,
    pub fresh_seconds: u32,
    pub username: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookView {
    pub name: String,
    pub url: String,
    pub events: Vec<String>,
    pub repositories: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ScannerView {
    pub name: String,
    pub url: String,
}

impl SettingsView {
    pub fn of(settings: Settings) -> Self {
        let username = |login: Option<Login>| login.map(|l| l.username);
        Self {
            quota_bytes: settings.quota_bytes,
            immutability: settings.immutability,
            retention: settings.retention,
            scanning: settings.scanning,
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
            replications: settings
                .replications
                .into_values()
                .map(|r| ReplicationView {
                    name: r.name,
                    direction: r.direction,
                    remote: r.remote,
                    repositories: r.repositories,
                    tags: r.tags,
                    every_minutes: r.every_minutes,
                    on_push: r.on_push,
                    username: username(r.login),
                })
                .collect(),
            upstreams: settings
                .upstreams
                .into_values()
                .map(|u| UpstreamView { name: u.name, remote: u.remote, fresh_seconds: u.fresh_seconds, username: username(u.login) })
                .collect(),
            webhooks: settings
                .webhooks
                .into_values()
                .map(|w| WebhookView { name: w.name, url: w.url, events: w.events, repositories: w.repositories })
                .collect(),
            scanners: settings.scanners.into_values().map(|s| ScannerView { name: s.name, url: s.url }).collect(),
        }
    }
}
