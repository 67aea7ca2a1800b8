//! Where instances may and should run.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Constraints {
    /// `amd64`, `arm64`, ...: what the image has. Empty: any.
    #[serde(skip_serializing_if = "is_default")]
    pub architectures: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub rules: Vec<Rule>,
    /// 0: no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub max_per_node: u32,
    /// All of one of these lists must hold, if there is any.
    #[serde(skip_serializing_if = "is_default")]
    pub any_of: Vec<Vec<Match>>,
    /// Nodes where one holds are better by its weight.
    #[serde(skip_serializing_if = "is_default")]
    pub preferences: Vec<Preference>,
    #[serde(skip_serializing_if = "is_default")]
    pub affinity: Vec<Affinity>,
    #[serde(skip_serializing_if = "is_default")]
    pub spread: Vec<Spread>,
    #[serde(skip_serializing_if = "is_default")]
    pub tolerations: Vec<Toleration>,
    /// The first instances are placed all together, or none of them.
    #[serde(skip_serializing_if = "is_default")]
    pub all_or_none: bool,
    /// It must never run twice: a node that cannot reach the scheduler for the node time-out stops it.
    #[serde(skip_serializing_if = "is_default")]
    pub fenced: bool,
}

/// One hard rule on a node's attribute: `node.name`, `node.arch`, `node.os`, `node.zone` or `node.labels.<label>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub attribute: String,
    pub equals: bool,
    pub value: String,
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.attribute, if self.equals { "==" } else { "!=" }, self.value)
    }
}

/// A test of one attribute (as in [`Rule`]), or of one label where labels are selected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    pub attribute: String,
    pub operator: Operator,
    #[serde(default, skip_serializing_if = "is_default")]
    pub values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    In,
    NotIn,
    Exists,
    NotExists,
    /// Greater than the one value, as whole numbers.
    Above,
    Below,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preference {
    /// 1 to 100.
    pub weight: u32,
    pub matches: Vec<Match>,
}

/// Chooses workloads by their labels: all of both must hold. Empty: all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Selector {
    #[serde(skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default")]
    pub matches: Vec<Match>,
}

/// Near to, or apart from, instances of the selected workloads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Affinity {
    /// Not where they are, instead of where they are.
    #[serde(default, skip_serializing_if = "is_default")]
    pub apart: bool,
    /// The attribute whose equal value makes two nodes one place: `node.name`, `node.zone`, `node.labels.<label>`.
    pub topology: String,
    pub selector: Selector,
    /// 1 to 100; a hard rule if there is none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub weight: Option<u32>,
}

/// Instances even over places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    pub topology: String,
    /// By how many two places may differ.
    #[serde(default = "one")]
    pub max_skew: u32,
    /// Rather wait than stand uneven.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hard: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub selector: Selector,
    #[serde(default, skip_serializing_if = "is_default")]
    pub min_places: u32,
}

fn one() -> u32 {
    1
}

/// A node's taint that does not keep instances away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Toleration {
    /// Empty: every taint.
    pub key: String,
    /// Any value if there is none.
    #[serde(skip_serializing_if = "is_default")]
    pub value: Option<String>,
    /// NoSchedule | PreferNoSchedule | NoExecute; empty: all of them.
    #[serde(skip_serializing_if = "is_default")]
    pub effect: String,
    /// How long it stays after such a taint comes.
    #[serde(skip_serializing_if = "is_default")]
    pub seconds: Option<u32>,
}
