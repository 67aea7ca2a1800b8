//! Certificates that people sign in with, and the authorities whose word an organisation takes on them. `Sealed` fields are personal:
//! encrypted under the person's key, readable only by identity.

use gantry_es::{EventData, Sealed};
use gantry_kernel::{Name, OrgId, UserId, Uuid};
use serde::{Deserialize, Serialize};

/// Stream `certificate-<id>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum CertificateEvent {
    /// `key`: keyed hash of what it is found by: its fingerprint, or with `authority` the name that the authority vouches for.
    /// `details`: JSON of what it says; `not_after`: Unix seconds.
    #[serde(rename = "certificate.bound")]
    Bound { certificate: Uuid, user: UserId, key: String, authority: Option<Uuid>, details: Sealed, label: Sealed, not_after: i64 },
    #[serde(rename = "certificate.removed")]
    Removed { certificate: Uuid, user: UserId, reason: String },
}

impl EventData for CertificateEvent {
    const AGGREGATE: &'static str = "certificate";
}

/// What becomes of an authority's certificates while there is no list of revoked ones that holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenStale {
    /// They sign nobody in.
    #[default]
    Refuse,
    Accept,
}

/// Stream `authority-<id>`: an authority for certificates of an organisation's people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum AuthorityEvent {
    /// `pem`: its own certificate.
    #[serde(rename = "authority.trusted")]
    Trusted { authority: Uuid, org: OrgId, name: Name, pem: String },
    /// Where its list of revoked certificates is fetched from, if it is, and what holds without one; no `when_stale`: lists are not looked at.
    #[serde(rename = "authority.revocation-set")]
    RevocationSet { authority: Uuid, org: OrgId, url: Option<String>, when_stale: Option<WhenStale> },
    #[serde(rename = "authority.removed")]
    Removed { authority: Uuid, org: OrgId, name: Name },
}

impl EventData for AuthorityEvent {
    const AGGREGATE: &'static str = "authority";
}
