//! What is said of a space's clusters.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// How what is to run is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FleetPolicy {
    /// Replicas over all, by weight; over regions and zones first.
    #[default]
    Spread,
    /// All on the first in the list that is not lost.
    Failover,
    /// All of them on each.
    Duplicate,
}

/// The clusters that a space's workloads run on, in the order in which they are preferred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    #[serde(default)]
    pub policy: FleetPolicy,
    /// 1 to 20.
    pub clusters: Vec<FleetMember>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetMember {
    /// The cluster's name.
    pub cluster: String,
    /// 0 to 1000. With 0 it gets nothing, and what it has leaves it.
    #[serde(default = "one")]
    pub weight: u32,
    #[serde(default, skip_serializing_if = "ClusterOverrides::is_empty")]
    pub overrides: ClusterOverrides,
}

fn one() -> u32 {
    1
}

/// What is other on one cluster, for all applications of the space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterOverrides {
    /// How many of a workload this cluster has, by `<application>/<workload>`: the others share the rest.
    pub replicas: BTreeMap<String, u32>,
    /// Variables of all containers. They are kept as they are, so no secrets.
    pub env: BTreeMap<String, String>,
    /// Another host for images, by the host that they name: `{"docker.io": "mirror.east.example.org"}`.
    pub registries: BTreeMap<String, String>,
    /// Instead of the cluster's own; so are the storage class and the labels that nodes must have.
    pub ingress_class: String,
    pub storage_class: String,
    pub node_selector: BTreeMap<String, String>,
}

const MOST: usize = 20;

impl ClusterOverrides {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn faults(&self, at: &str, out: &mut Vec<(String, String)>) {
        for key in self.replicas.keys() {
            if key.split('/').count() != 2 || key.split('/').any(str::is_empty) {
                out.push((format!("{at}.replicas.{key}"), "must be <application>/<workload>".into()));
            }
        }
        for name in self.env.keys() {
            if name.is_empty() || name.contains('=') || name.contains('\0') {
                out.push((format!("{at}.env.{name}"), "is no name of a variable".into()));
            }
        }
        let host = |text: &str| !text.is_empty() && !text.contains("://") && !text.ends_with('/') && !text.contains(char::is_whitespace);
        for (from, to) in &self.registries {
            if !host(from) || from.contains('/') {
                out.push((format!("{at}.registries.{from}"), "must be a host, with its port if it has one, as in `docker.io`".into()));
            }
            if !host(to) {
                out.push((format!("{at}.registries.{from}"), format!("`{to}` must be a host, with a path if need be, as in `mirror.example.org/hub`")));
            }
        }
        for (field, class) in [("ingress_class", &self.ingress_class), ("storage_class", &self.storage_class)] {
            if class.len() > 253 {
                out.push((format!("{at}.{field}"), "at most 253 characters".into()));
            }
        }
        for (key, value) in &self.node_selector {
            if key.is_empty() || key.len() > 317 || value.len() > 63 {
                out.push((format!("{at}.node_selector.{key}"), "is no label of a node".into()));
            }
        }
        if self.replicas.len() > 200 || self.env.len() > 200 || self.registries.len() > MOST || self.node_selector.len() > MOST {
            out.push((at.to_owned(), format!("at most 200 replicas and variables, {MOST} registries and labels")));
        }
    }
}

impl Fleet {
    /// (field, what is wrong with it), all of them.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut out = Vec::new();
        if self.clusters.is_empty() || self.clusters.len() > MOST {
            out.push(("clusters".into(), format!("must name 1 to {MOST} clusters")));
        }
        let mut seen = BTreeSet::new();
        for (n, member) in self.clusters.iter().enumerate() {
            let at = format!("clusters[{n}]");
            if member.cluster.is_empty() {
                out.push((format!("{at}.cluster"), "must be the name of a cluster".into()));
            } else if !seen.insert(&member.cluster) {
                out.push((format!("{at}.cluster"), format!("`{}` is there already", member.cluster)));
            }
            if member.weight > 1000 {
                out.push((format!("{at}.weight"), "must be 0 to 1000".into()));
            }
            member.overrides.faults(&format!("{at}.overrides"), &mut out);
        }
        if !self.clusters.is_empty() && self.clusters.iter().all(|m| m.weight == 0) {
            out.push(("clusters".into(), "one needs a weight above 0, or nothing runs anywhere".into()));
        }
        out
    }

    pub fn names(&self) -> BTreeSet<&str> {
        self.clusters.iter().map(|m| m.cluster.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_a_fleet_is_told() {
        let fleet: Fleet = serde_json::from_value(serde_json::json!({ "clusters": [
            { "cluster": "east", "weight": 0, "overrides": { "replicas": { "web": 1 }, "env": { "A=B": "x" }, "registries": { "https://x": "y" } } },
            { "cluster": "east", "weight": 0 },
        ]}))
        .unwrap();
        let fields: Vec<String> = fleet.faults().into_iter().map(|f| f.0).collect();
        let at = "clusters[0].overrides";
        let expected =
            [format!("{at}.replicas.web"), format!("{at}.env.A=B"), format!("{at}.registries.https://x"), "clusters[1].cluster".into(), "clusters".into()];
        assert_eq!(fields, expected);
        let plain: Fleet = serde_json::from_value(serde_json::json!({ "clusters": [{ "cluster": "east" }] })).unwrap();
        assert_eq!((plain.faults().len(), plain.policy, plain.clusters[0].weight), (0, FleetPolicy::Spread, 1));
        assert!(!serde_json::to_string(&plain).unwrap().contains("overrides"));
    }
}
