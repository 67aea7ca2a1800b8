//! What operators say of a node beyond what its agent tells, and what a space says of all its workloads' placement.

use std::collections::BTreeMap;

use gantry_planner::{Effect, Taint, Toleration as Tolerates};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Guard;
use super::expression::{self, Expression};
use crate::domain::fleet::Fleet;
use crate::domain::model::{Operator, Resources};

/// Of one node. Everything not said is as the agent tells it, or as the platform's policy has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NodeSettings {
    /// Laid over the agent's.
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<NodeTaint>,
    /// 1 to 10000.
    pub overcommit_cpu_percent: Option<u32>,
    /// 1 to 1000.
    pub overcommit_memory_percent: Option<u32>,
    /// Kept from placement, for the system itself.
    pub system: Resources,
    /// 0: no limit.
    pub max_instances: u32,
    /// What its network carries, in kbit/s; 0: not counted.
    pub bandwidth_kbps: u64,
    /// Room that only one space may use.
    pub reserved: Vec<Reserved>,
    /// Images that are always to be there: fetched before an instance needs them, and not removed when the disk fills up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeTaint {
    pub key: String,
    #[serde(default)]
    pub value: String,
    /// NoSchedule | PreferNoSchedule | NoExecute
    pub effect: String,
}

impl NodeTaint {
    pub fn taint(&self) -> Option<Taint> {
        Some(Taint { key: self.key.clone(), value: self.value.clone(), effect: Effect::parse(&self.effect)? })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reserved {
    /// `<org>/<project>/<space>`
    pub space: String,
    pub amounts: Resources,
}

const MOST: usize = 100;

impl NodeSettings {
    /// (field, what is wrong with it), all of them.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut out = Vec::new();
        for (n, taint) in self.taints.iter().enumerate() {
            if taint.key.is_empty() || taint.key.len() > 253 || taint.value.len() > 253 {
                out.push((format!("taints[{n}]"), "needs a key; key and value are at most 253 characters".into()));
            }
            if taint.taint().is_none() {
                out.push((format!("taints[{n}].effect"), format!("`{}`: must be NoSchedule, PreferNoSchedule or NoExecute", taint.effect)));
            }
        }
        for (field, value, most) in
            [("overcommit_cpu_percent", self.overcommit_cpu_percent, 10_000), ("overcommit_memory_percent", self.overcommit_memory_percent, 1000)]
        {
            if value.is_some_and(|v| !(1..=most).contains(&v)) {
                out.push((field.into(), format!("must be 1 to {most}")));
            }
        }
        for (n, reserved) in self.reserved.iter().enumerate() {
            if reserved.space.split('/').count() != 3 {
                out.push((format!("reserved[{n}].space"), "must be <org>/<project>/<space>".into()));
            }
            // Only the first would ever be used, and the second be kept from everybody.
            if self.reserved[..n].iter().any(|before| before.space == reserved.space) {
                out.push((format!("reserved[{n}].space"), format!("`{}` is there already: say it once, with all of its room", reserved.space)));
            }
        }
        for (n, image) in self.images.iter().enumerate() {
            if image.is_empty() || image.len() > 500 || image.contains(char::is_whitespace) {
                out.push((format!("images[{n}]"), "must be the name of an image".into()));
            }
        }
        if self.images.len() > MOST {
            out.push(("images".into(), format!("at most {MOST}")));
        }
        if self.taints.len() > MOST || self.labels.len() > MOST || self.reserved.len() > MOST {
            out.push(("settings".into(), format!("at most {MOST} taints, labels and reservations each")));
        }
        out
    }
}

/// Of one space: what counts for all of its workloads beside their own rules. Absent weights are the platform's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpaceRules {
    /// 0 to 1000 each.
    pub spread: Option<u32>,
    pub pack: Option<u32>,
    pub load: Option<u32>,
    pub even: Option<u32>,
    pub image: Option<u32>,
    pub prefer: Option<u32>,
    /// Only nodes where all of these hold.
    pub required: Vec<Part>,
    /// Nodes where one holds are better by its weight.
    pub preferred: Vec<Part>,
    /// Rules in CEL. Not on Kubernetes clusters, which have schedulers of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expressions: Vec<Expression>,
    /// Keys of taints that its workloads tolerate.
    pub tolerated: Vec<String>,
    /// Highest priority of its workloads.
    pub most_priority: Option<i32>,
    /// A scheduler of the user's own that is asked for each instance.
    pub external: Option<External>,
    /// The Kubernetes cluster that its workloads run on; the nodes with agents if none.
    pub cluster: Option<String>,
    /// Several of them, instead.
    pub clusters: Option<Fleet>,
    /// Every node fetches the images of its applications before an instance needs them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub prepull: bool,
    /// What is watched for in its instances, and what follows; signs are reported if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
}

/// A condition on a node's attribute: `node.name`, `node.arch`, `node.os`, `node.zone`, `node.labels.<label>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub attribute: String,
    #[schema(value_type = String)]
    pub operator: Operator,
    #[serde(default)]
    pub values: Vec<String>,
    /// 1 to 100, for what is preferred.
    #[serde(default = "fifty")]
    pub weight: u32,
}

fn fifty() -> u32 {
    50
}

/// A gRPC server that speaks `gantry.scheduler.v1.PlacementAdvisor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct External {
    /// `http://host:port` or `https://host:port`.
    pub url: String,
    /// 10 to 5000.
    #[serde(default = "deadline")]
    pub deadline_ms: u32,
    /// Wait for it when it does not answer, instead of deciding without it.
    #[serde(default)]
    pub required: bool,
}

fn deadline() -> u32 {
    500
}

impl SpaceRules {
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut out = Vec::new();
        let weights = [("spread", self.spread), ("pack", self.pack), ("load", self.load), ("even", self.even), ("image", self.image), ("prefer", self.prefer)];
        for (field, weight) in weights {
            if weight.is_some_and(|w| w > 1000) {
                out.push((field.to_owned(), "must be 0 to 1000".to_owned()));
            }
        }
        for (list, parts) in [("required", &self.required), ("preferred", &self.preferred)] {
            for (n, part) in parts.iter().enumerate() {
                let known = matches!(part.attribute.as_str(), "node.name" | "node.arch" | "node.os" | "node.zone")
                    || part.attribute.strip_prefix("node.labels.").is_some_and(|l| !l.is_empty());
                if !known {
                    out.push((format!("{list}[{n}].attribute"), "must be node.name, node.arch, node.os, node.zone or node.labels.<label>".into()));
                }
                let wants = match part.operator {
                    Operator::In | Operator::NotIn => !part.values.is_empty(),
                    Operator::Exists | Operator::NotExists => part.values.is_empty(),
                    Operator::Above | Operator::Below => part.values.len() == 1 && part.values[0].parse::<i64>().is_ok(),
                };
                if !wants {
                    out.push((format!("{list}[{n}].values"), "in and not_in need values, above and below one whole number, exists and not_exists none".into()));
                }
                if !(1..=100).contains(&part.weight) {
                    out.push((format!("{list}[{n}].weight"), "must be 1 to 100".into()));
                }
            }
            if parts.len() > MOST {
                out.push((list.into(), format!("at most {MOST}")));
            }
        }
        out.extend(expression::faults(&self.expressions));
        if let Some(fleet) = &self.clusters {
            if self.cluster.is_some() {
                out.push(("cluster".into(), "say either `cluster` or `clusters`".into()));
            }
            out.extend(fleet.faults().into_iter().map(|(field, detail)| (format!("clusters.{field}"), detail)));
        }
        out.extend(self.guard.iter().flat_map(Guard::faults));
        if let Some(external) = &self.external {
            if !external.url.starts_with("http://") && !external.url.starts_with("https://") {
                out.push(("external.url".into(), "must begin with http:// or https://".into()));
            }
            if !(10..=5000).contains(&external.deadline_ms) {
                out.push(("external.deadline_ms".into(), "must be 10 to 5000".into()));
            }
        }
        out
    }

    /// Do its workloads run on Kubernetes?
    pub fn on_clusters(&self) -> bool {
        self.cluster.is_some() || self.clusters.is_some()
    }

    pub fn tolerations(&self) -> impl Iterator<Item = Tolerates> {
        self.tolerated.iter().map(|key| Tolerates { key: key.clone(), value: None, effect: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_a_nodes_settings_is_told() {
        let settings: NodeSettings = serde_json::from_value(serde_json::json!({
            "taints": [{"key": "", "effect": "Never"}], "overcommit_cpu_percent": 0, "reserved": [{"space": "a/b", "amounts": {"cpu_millis": 1}}],
        }))
        .unwrap();
        let fields: Vec<String> = settings.faults().into_iter().map(|f| f.0).collect();
        assert_eq!(fields, ["taints[0]", "taints[0].effect", "overcommit_cpu_percent", "reserved[0].space"]);
        let one = || Reserved { space: "a/b/c".into(), amounts: Resources::default() };
        let twice = NodeSettings { reserved: vec![one(), one()], ..NodeSettings::default() };
        assert_eq!(twice.faults().into_iter().map(|f| f.0).collect::<Vec<_>>(), ["reserved[1].space"]);
        assert!(NodeSettings::default().faults().is_empty());
    }

    #[test]
    fn every_fault_of_a_spaces_rules_is_told() {
        let rules: SpaceRules = serde_json::from_value(serde_json::json!({
            "pack": 5000, "required": [{"attribute": "disk", "operator": "exists", "values": ["x"]}],
            "expressions": [{"where": "node.memory.free > 'much'", "score": "node.cpu.free"}], "external": {"url": "ftp://x", "deadline_ms": 1},
        }))
        .unwrap();
        let fields: Vec<String> = rules.faults().into_iter().map(|f| f.0).collect();
        assert_eq!(fields, ["pack", "required[0].attribute", "required[0].values", "expressions[0].where", "external.url", "external.deadline_ms"]);
        assert!(SpaceRules::default().faults().is_empty());
    }
}
