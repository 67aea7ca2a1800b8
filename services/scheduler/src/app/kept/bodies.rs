//! What people see of configs and secrets; contents are in none of these but [`ConfigRevealedBody`].

use std::collections::BTreeMap;

use gantry_kernel::OffsetDateTime;
use serde::Serialize;

use crate::store::{Kept, KeptVersion};

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ConfigBody {
    pub name: String,
    pub secret: bool,
    /// It gets no further version.
    pub immutable: bool,
    /// The number of the newest version.
    pub version: u32,
    /// Equal contents have equal ones; nothing else of the contents can be told from it.
    pub fingerprint: String,
    /// Of the newest version.
    pub keys: Vec<String>,
    pub bytes: u64,
    /// Applications that use it.
    pub used_by: Vec<ConfigUseBody>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub changed_at: OffsetDateTime,
    /// "user:<uuid>", "service:<name>".
    pub changed_by: String,
    #[serde(skip)]
    pub etag: i64,
}

impl ConfigBody {
    pub fn of(row: &Kept, newest: &KeptVersion, used_by: Vec<ConfigUseBody>) -> Self {
        Self {
            name: row.name.clone(),
            secret: row.secret,
            immutable: row.immutable,
            version: row.latest,
            fingerprint: newest.fingerprint.clone(),
            keys: newest.keys.keys().cloned().collect(),
            bytes: newest.bytes,
            used_by,
            created_at: row.created_at,
            changed_at: row.changed_at,
            changed_by: row.changed_by.clone(),
            etag: row.version,
        }
    }
}

/// How an application uses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ConfigUseBody {
    pub app: String,
    pub revision: u64,
    /// The version that the revision is tied to.
    pub version: u32,
    /// As environment variables: these have the revision's version.
    pub variables: bool,
    /// As files: these follow new versions while the instances run.
    pub files: bool,
    /// The version that its files have.
    pub files_version: u32,
    /// A new version reaches it only with a new revision (`gantry secret rollout`).
    pub restart_needed: bool,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ConfigVersionBody {
    pub version: u32,
    pub fingerprint: String,
    pub keys: Vec<String>,
    pub bytes: u64,
    pub reason: String,
    /// The version whose content came back with it.
    pub from: Option<u32>,
    pub author: String,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

impl From<KeptVersion> for ConfigVersionBody {
    fn from(v: KeptVersion) -> Self {
        Self {
            version: v.number,
            fingerprint: v.fingerprint,
            keys: v.keys.into_keys().collect(),
            bytes: v.bytes,
            reason: v.reason,
            from: v.came_from,
            author: v.actor,
            at: v.at,
        }
    }
}

/// What has been, or would be, set.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ConfigSetBody {
    pub name: String,
    pub version: u32,
    /// False: it is already so, and nothing was written.
    pub changed: bool,
    pub fingerprint: String,
    /// What differs from the version before, one line for each key; contents are not shown.
    pub diff: Vec<String>,
    /// Applications that have it only with a new revision.
    pub restart_needed: Vec<String>,
    #[serde(skip)]
    pub created: bool,
    #[serde(skip)]
    pub etag: i64,
}

/// In clear. Each such answer is in the audit trail.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub struct ConfigRevealedBody {
    pub name: String,
    pub secret: bool,
    pub version: u32,
    pub entries: BTreeMap<String, String>,
    /// Contents that are no text, as base64.
    pub binary: BTreeMap<String, String>,
}

/// What a rollout made of one application.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ConfigRolledOutBody {
    pub app: String,
    pub revision: u64,
    /// False: it has the newest versions already.
    pub changed: bool,
    pub diff: Vec<String>,
    /// Why this one was not brought up to date, if so.
    pub problem: Option<String>,
}
