//! How a new revision takes over from the one at work: little by little, all at once after a look at it, or by a share of
//! the requests that grows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Publish, Workload, WorkloadKind, is_default};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Release {
    pub strategy: ReleaseStrategy,
    /// Blue-green: all requests go to the new revision so long after it is ready; none: when somebody promotes it.
    #[serde(skip_serializing_if = "is_default")]
    pub promote_after_seconds: Option<u32>,
    /// The old revision's instances stay so long after the last request went to them, so that going back takes no time.
    #[serde(skip_serializing_if = "is_default")]
    pub keep_seconds: u32,
    /// Canary: what is done one after the other.
    #[serde(skip_serializing_if = "is_default")]
    pub steps: Vec<CanaryStep>,
    /// What is asked while the new revision has requests; a bad answer takes the release back.
    #[serde(skip_serializing_if = "is_default")]
    pub checks: Vec<ReleaseCheck>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseStrategy {
    #[default]
    Rolling,
    BlueGreen,
    Canary,
}

impl ReleaseStrategy {
    /// As `app.release-started` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rolling => "rolling",
            Self::BlueGreen => "blue-green",
            Self::Canary => "canary",
        }
    }

    /// Is it the exchange of one whole set of instances for another?
    pub fn exchanges(word: &str) -> bool {
        word == Self::BlueGreen.as_str() || word == Self::Canary.as_str()
    }
}

/// It begins when enough of the new instances are ready for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CanaryStep {
    /// Percent of the requests that go to the new revision; as before if not given.
    #[serde(skip_serializing_if = "is_default")]
    pub weight: Option<u32>,
    /// Requests with this header go to the new revision besides.
    #[serde(skip_serializing_if = "is_default")]
    pub header: Option<HeaderMatch>,
    /// How long the next step waits.
    #[serde(skip_serializing_if = "is_default")]
    pub pause_seconds: u32,
    /// The next step waits until somebody promotes.
    #[serde(skip_serializing_if = "is_default")]
    pub until_promoted: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderMatch {
    pub name: String,
    /// The whole value; empty: whatever it is.
    #[serde(skip_serializing_if = "is_default")]
    pub value: String,
}

/// One measured thing that has to stay within limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseCheck {
    /// For people; `measure` if empty.
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: String,
    pub measure: Measure,
    /// PromQL with one number as its answer, for `measure: query`. `%{instances}` and `%{old_instances}` are replaced by a
    /// pattern of the instances' ids, `%{app}` and `%{revision}` by these; on a cluster also `%{pods}` and `%{old_pods}` by a
    /// pattern of the pods' names, and `%{namespace}`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub query: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub min: Option<f64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub max: Option<f64>,
    /// So many bad answers in a row take the release back.
    #[serde(default = "three")]
    pub failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Percent of the new revision's requests that failed within the last minute.
    ErrorRate,
    /// Mean time of the new revision's last answers, in milliseconds.
    Latency,
    /// What `query` asks.
    Query,
}

fn three() -> u32 {
    3
}

/// Where the new revision is seen before it has its share of the requests, and beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Preview {
    /// The host of its routes; none if empty.
    #[serde(skip_serializing_if = "is_default")]
    pub host: String,
    /// A port of its own on the nodes.
    #[serde(skip_serializing_if = "is_default")]
    pub publish: Option<Publish>,
}

impl Workload {
    /// Can a set of the new revision stand beside the old one? What has a number, a node or a volume of its own cannot be
    /// there twice; it is replaced one by one, at the beginning.
    pub fn is_exchanged(&self) -> bool {
        self.kind == WorkloadKind::Stateless && crate::domain::wanted::kept_volumes(self).is_empty()
    }
}
