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
}

impl EventData for ClusterEvent {
    const AGGREGATE: &'static str = "cluster";
}
