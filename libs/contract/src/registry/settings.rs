//! What a project wants of its part of the registry: events, and the bodies that REST takes and shows.

use gantry_es::{EventData, Sealed};
use gantry_kernel::{OffsetDateTime, OrgId, ProjectId};
use serde::{Deserialize, Serialize};

use super::flow::{Replication, Scanner, Target, Upstream, Webhook};

/// Stream `settings-<project id>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum SettingsEvent {
    #[serde(rename = "settings.changed")]
    Changed { org: OrgId, project: ProjectId, change: Change },
}

impl EventData for SettingsEvent {
    const AGGREGATE: &'static str = "settings";
}

/// One part of the settings, as it is from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "part", content = "value", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// Bytes; none for no limit.
    Quota(Option<u64>),
    Immutability(Vec<TagRule>),
    Retention(Retention),
    KeyTrusted(TrustedKey),
    KeyDistrusted(String),
    PolicySet(Policy),
    PolicyRemoved(String),
    FindingAllowed(Allowance),
    FindingDisallowed(String),
    Scanning(Scanning),
    Platforms(WantedPlatforms),
    UpstreamSet {
        upstream: Upstream,
        /// The password, sealed for the project.
        secret: Option<Sealed>,
    },
    UpstreamRemoved(String),
    TargetSet {
        target: Target,
        secret: Option<Sealed>,
    },
    TargetRemoved(String),
    ReplicationSet(Replication),
    ReplicationRemoved(String),
    WebhookSet {
        webhook: Webhook,
        /// What deliveries are signed with: each of them, so that a receiver can change over.
        secrets: Vec<Sealed>,
    },
    WebhookRemoved(String),
    ScannerSet {
        scanner: Scanner,
        /// What opens it, sealed for the project.
        secret: Option<Sealed>,
    },
    ScannerRemoved(String),
}

/// Which tags of which repositories, by patterns: `*` is any run of characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TagRule {
    /// Names after the project, such as `web` or `team/*`.
    #[serde(default = "any")]
    pub repositories: String,
    #[serde(default = "any")]
    pub tags: String,
}

fn any() -> String {
    "*".into()
}

/// What is kept; the rest may go. Without rules everything stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    pub rules: Vec<RetentionRule>,
    /// How often it is applied; none: only when asked to.
    #[serde(default)]
    pub every_hours: Option<u32>,
    /// Images that no tag, index or other image has go when they were neither pulled nor tagged for so many days; none: they stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untagged_days: Option<u32>,
}

/// A tag that any rule keeps is kept. The repositories that no rule names are left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    #[serde(default = "any")]
    pub repositories: String,
    #[serde(default = "any")]
    pub tags: String,
    /// Only images with this label in their config or annotation in their manifest: `name=value`, or `name`.
    #[serde(default)]
    pub label: Option<String>,
    pub keep: Keep,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    All,
    /// So many, newest push first.
    Newest(u32),
    PushedWithinDays(u32),
    /// Images never pulled count from their push.
    PulledWithinDays(u32),
}

/// Who may sign for this project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedKey {
    pub name: String,
    /// PEM: a public key (cosign, in-toto), or a certificate (Notation): the signer's own or its authority's.
    pub pem: String,
    /// Notation: only certificates whose subject contains all of these, such as `CN=build`, `O=acme`.
    #[serde(default)]
    pub subject: Vec<String>,
}

/// What an image must be before it is handed out. All parts that are given must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub name: String,
    #[serde(default = "any")]
    pub repositories: String,
    /// At pull by those who may not push; at deployment.
    #[serde(default = "both")]
    pub at: Vec<Moment>,
    /// `low`, `medium`, `high` or `critical`: no finding this bad or worse.
    #[serde(default)]
    pub block_severity: Option<String>,
    /// Findings without a fix do not count.
    #[serde(default)]
    pub only_fixable: bool,
    /// An image that was not scanned yet, or not whole, is refused.
    #[serde(default)]
    pub must_be_scanned: bool,
    /// Signed with any of these trusted keys; `*`: with any of the project's. Empty: not asked for.
    #[serde(default)]
    pub signed_by: Vec<String>,
    /// SLSA build level that a signed provenance must reach: 1 (it is there), 2 (signed), 3 (and by one of `builders`).
    #[serde(default)]
    pub provenance_level: u8,
    /// Builder ids that count for level 3; patterns.
    #[serde(default)]
    pub builders: Vec<String>,
    /// Licences no package may have; patterns such as `AGPL-*`.
    #[serde(default)]
    pub denied_licences: Vec<String>,
}

fn both() -> Vec<Moment> {
    vec![Moment::Pull, Moment::Deploy]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    Pull,
    Deploy,
}

/// A finding that the project accepts for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    /// The advisory's id or one of its aliases.
    pub id: String,
    pub reason: String,
    /// RFC 3339; none: for good.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<String>")]
    pub until: Option<OffsetDateTime>,
    /// Only in this package; none: in any.
    #[serde(default)]
    pub package: Option<String>,
}

/// What scanning does besides the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Scanning {
    /// Attach the bill of materials to each image as a referrer: `cyclonedx`, `spdx`, or none.
    #[serde(default)]
    pub attach_sbom: Option<String>,
}

/// For which platforms the project's images should be there; what a tag lacks of them is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedPlatforms {
    /// Such as `linux/amd64` or `linux/arm/v7`.
    pub wanted: Vec<String>,
}
