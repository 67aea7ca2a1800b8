//! Events of monitoring: the alert rules of spaces. What a rule finds is no event: it is measured anew all the time.

use gantry_es::EventData;
use gantry_kernel::{Name, OrgId, ProjectId, SpaceId};
use serde::{Deserialize, Serialize};

/// What of an application's instances is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// In processors: 0.5 is half of one.
    Cpu,
    /// In bytes.
    Memory,
    /// What containers have written to disk, in bytes.
    Storage,
    /// Received and sent together, in bytes per second.
    Network,
    /// How often containers of the application began anew in the last ten minutes.
    Restarts,
}

/// On which side of the threshold something is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    #[default]
    Above,
    Below,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Info,
    #[default]
    Warning,
    Critical,
}

impl Severity {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// When to raise an alarm. It holds for each instance: one that is over the threshold is enough.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertRule {
    /// The application; it may come later.
    pub app: Name,
    /// Only this workload of it; all if not given.
    #[serde(default)]
    pub workload: Option<Name>,
    pub figure: Figure,
    /// `above` if not given.
    #[serde(default)]
    pub comparison: Comparison,
    /// In the figure's unit; 0 to 10^15.
    pub threshold: f64,
    /// How long it must hold before the alarm, 0 to 86400; at once if not given.
    #[serde(default)]
    pub for_seconds: u32,
    /// `warning` if not given.
    #[serde(default)]
    pub severity: Severity,
}

/// Stream `alert-rule-<space>.<name>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum AlertRuleEvent {
    #[serde(rename = "alert-rule.set")]
    Set { org: OrgId, project: ProjectId, space: SpaceId, name: Name, rule: AlertRule },
    #[serde(rename = "alert-rule.deleted")]
    Deleted { org: OrgId, space: SpaceId, name: Name },
}

impl EventData for AlertRuleEvent {
    const AGGREGATE: &'static str = "alert-rule";
}
