//! Events of the catalogue.

use gantry_es::EventData;
use gantry_kernel::{Name, OrgId, ProjectId, SpaceId, Uuid};
use serde::{Deserialize, Serialize};

/// Stream `service-instance-<id>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum ServiceInstanceEvent {
    #[serde(rename = "service-instance.requested")]
    Requested {
        instance: Uuid,
        org: OrgId,
        project: ProjectId,
        space: SpaceId,
        org_name: Name,
        project_name: Name,
        space_name: Name,
        name: Name,
        offering: String,
        plan: String,
        parameters: serde_json::Value,
        subject: String,
    },
    #[serde(rename = "service-instance.provisioned")]
    Provisioned { instance: Uuid },
    #[serde(rename = "service-instance.failed")]
    Failed { instance: Uuid, reason: String },
    #[serde(rename = "service-instance.bound")]
    Bound { instance: Uuid, binding: Uuid, name: Name },
    #[serde(rename = "service-instance.unbound")]
    Unbound { instance: Uuid, binding: Uuid, name: Name },
    #[serde(rename = "service-instance.deleting")]
    Deleting { instance: Uuid },
    #[serde(rename = "service-instance.deleted")]
    Deleted { instance: Uuid },
}

impl EventData for ServiceInstanceEvent {
    const AGGREGATE: &'static str = "service-instance";
}
