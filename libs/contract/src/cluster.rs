//! Events of Kubernetes clusters that the scheduler runs applications on.

use gantry_es::{EventData, Sealed};
use gantry_kernel::{Name, OrgId, Uuid};
use serde::{Deserialize, Serialize};

/// Stream `cluster-<id>`. How it is reached and the credential are sealed under the cluster's key; its settings are JSON owned
/// by the scheduler (`domain::cluster::ClusterSettings`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum ClusterEvent {
    /// `org`: whose it is; none: the platform's.
    #[serde(rename = "cluster.added")]
    Added { cluster: Uuid, name: Name, org: Option<OrgId>, server: String, credential: String, settings: serde_json::Value, access: Sealed },
    #[serde(rename = "cluster.access-changed")]
    AccessChanged { cluster: Uuid, server: String, credential: String, access: Sealed },
    #[serde(rename = "cluster.settings-changed")]
    SettingsChanged { cluster: Uuid, settings: serde_json::Value },
    #[serde(rename = "cluster.removed")]
    Removed { cluster: Uuid },
    /// What an earlier import of the same cluster has made, under another name or by another organisation, is this one's from now
    /// on. `scope`: that import's id, with which its objects are labelled.
    #[serde(rename = "cluster.adopted")]
    Adopted { cluster: Uuid, scope: Uuid },
    /// It could not be reached for its grace time: what can run elsewhere does.
    #[serde(rename = "cluster.lost")]
    Lost { cluster: Uuid, reason: String },
    /// It has been reached for as long again.
    #[serde(rename = "cluster.returned")]
    Returned { cluster: Uuid },
}

impl EventData for ClusterEvent {
    const AGGREGATE: &'static str = "cluster";
}
