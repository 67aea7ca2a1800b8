//! When a workload runs (jobs, schedules), how many instances there are, and how few there may be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Selector, is_default};

/// Of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Job {
    /// How many run at once; 0: all. `replicas` of the workload says how many must end well.
    #[serde(skip_serializing_if = "is_default")]
    pub parallelism: u32,
    /// So often it is tried again after failures, and then given up; none: until it ends well (runs of a schedule: 6 times).
    #[serde(skip_serializing_if = "is_default")]
    pub retries: Option<u32>,
    /// From when its first instance is placed; 0: no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub deadline_seconds: u32,
    /// How long it is listed after its end; none: among the latest that ended.
    #[serde(skip_serializing_if = "is_default")]
    pub keep_seconds: Option<u32>,
    /// Each instance is told its number.
    #[serde(skip_serializing_if = "is_default")]
    pub indexed: bool,
    /// Nothing of it runs for now.
    #[serde(skip_serializing_if = "is_default")]
    pub suspended: bool,
}

/// Of a cron job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Five fields: minute, hour, day of the month, month, day of the week; or `@daily` and its like.
    pub cron: String,
    /// A name such as `Europe/Berlin`; UTC if empty.
    #[serde(skip_serializing_if = "is_default")]
    pub time_zone: String,
    #[serde(skip_serializing_if = "is_default")]
    pub overlap: Overlap,
    /// Later than this it is not started any more.
    #[serde(skip_serializing_if = "is_default")]
    pub start_within_seconds: Option<u32>,
    #[serde(skip_serializing_if = "is_default")]
    pub suspended: bool,
    /// So many runs that ended well are listed, the latest; none: all that ended lately.
    #[serde(skip_serializing_if = "is_default")]
    pub keep_succeeded: Option<u32>,
    #[serde(skip_serializing_if = "is_default")]
    pub keep_failed: Option<u32>,
}

/// When the last run has not ended yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    #[default]
    Allow,
    Forbid,
    Replace,
}

/// How many instances, by what is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scaling {
    pub min: u32,
    pub max: u32,
    #[serde(skip_serializing_if = "is_default")]
    pub metrics: Vec<Metric>,
    #[serde(skip_serializing_if = "is_default")]
    pub up: Option<Pace>,
    #[serde(skip_serializing_if = "is_default")]
    pub down: Option<Pace>,
    /// Times at which there are at least so many.
    #[serde(skip_serializing_if = "is_default")]
    pub schedules: Vec<ScaleSchedule>,
    /// With `min: 0`: the last instance goes when nobody asked anything for so long; 300 if 0.
    #[serde(skip_serializing_if = "is_default")]
    pub idle_seconds: u32,
}

/// From one time to another there are at least so many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScaleSchedule {
    /// Five fields of crontab: when it begins.
    pub from: String,
    /// When it ends.
    pub to: String,
    /// A name such as `Europe/Berlin`; UTC if empty.
    #[serde(skip_serializing_if = "is_default")]
    pub time_zone: String,
    pub replicas: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    pub source: MetricSource,
    /// `cpu` and `memory` of `resource`, `requests_per_second` of `instances`, or the name of a series in the metrics store.
    pub name: String,
    pub target: MetricTarget,
    /// A number with or without a unit; percent of the request for `utilization`.
    pub value: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub selector: Selector,
    /// The container it is measured in; all if empty.
    #[serde(default, skip_serializing_if = "is_default")]
    pub container: String,
    /// `kind/name` of the object it is measured at.
    #[serde(default, skip_serializing_if = "is_default")]
    pub object: String,
    /// PromQL with one number as its answer, for the source `query`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub query: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricSource {
    Resource,
    Instances,
    Object,
    External,
    /// Any PromQL; needs the platform's admin role, since queries know no tenants.
    Query,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricTarget {
    Utilization,
    Average,
    Value,
}

/// How fast the number may change in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pace {
    #[serde(skip_serializing_if = "is_default")]
    pub stabilization_seconds: Option<u32>,
    /// `max`, `min` or `disabled`; `max` if empty.
    #[serde(skip_serializing_if = "is_default")]
    pub select: String,
    #[serde(skip_serializing_if = "is_default")]
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Of the present number, instead of so many instances.
    #[serde(default, skip_serializing_if = "is_default")]
    pub percent: bool,
    pub value: u32,
    pub period_seconds: u32,
}

/// How many instances must stay when nodes are emptied: a number or `50%`; one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    #[serde(skip_serializing_if = "is_default")]
    pub min_available: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub max_unavailable: Option<String>,
    /// IfHealthyBudget | AlwaysAllow
    #[serde(skip_serializing_if = "is_default")]
    pub unhealthy: String,
}
