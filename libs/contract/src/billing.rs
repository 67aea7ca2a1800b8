//! Events of billing.

use gantry_es::EventData;
use gantry_kernel::{OrgId, ProjectId, Scope, Uuid};
use serde::{Deserialize, Serialize};

/// Upper limits; `None` means none (clause 6.5.4.1).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub cpu_millis: Option<u64>,
    pub cpu_millis_per_container: Option<u64>,
    pub memory_bytes: Option<u64>,
    pub memory_bytes_per_container: Option<u64>,
    pub storage_bytes: Option<u64>,
    pub storage_bytes_per_container: Option<u64>,
    pub containers: Option<u64>,
}

/// Stream `quota-<scope>`: limits set for an organisation, project or user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum QuotaEvent {
    /// `holder`: a scope's text, or "user:<uuid>".
    #[serde(rename = "quota.set")]
    Set { holder: String, scope: Option<Scope>, limits: Limits },
}

impl EventData for QuotaEvent {
    const AGGREGATE: &'static str = "quota";
}

/// Stream `invoice-<org>-<yyyy-mm>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum InvoiceEvent {
    #[serde(rename = "invoice.issued")]
    Issued { invoice: Uuid, org: OrgId, period: String, currency: String, total: String, lines: serde_json::Value },
    #[serde(rename = "invoice.voided")]
    Voided { invoice: Uuid, org: OrgId, reason: String },
}

impl EventData for InvoiceEvent {
    const AGGREGATE: &'static str = "invoice";
}

/// Stream `price-plan-<name>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum PricePlanEvent {
    /// `prices`: meter → price of one unit as a decimal text.
    #[serde(rename = "price-plan.published")]
    Published { name: String, currency: String, prices: std::collections::BTreeMap<String, String> },
    #[serde(rename = "price-plan.assigned")]
    Assigned { name: String, org: OrgId, project: Option<ProjectId> },
}

impl EventData for PricePlanEvent {
    const AGGREGATE: &'static str = "price-plan";
}
