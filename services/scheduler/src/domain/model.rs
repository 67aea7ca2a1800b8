//! The one typed application model. Every input format is read into it, the planners work on it, and each engine
//! (containerd agents, Kubernetes) is given instances cut from it. Serialised as the `model` of `app.revised`: fields are
//! added with a default, never renamed. It is wider than any one engine: what an engine does not do, [`super::lacks`] tells.

mod container;
mod health;
mod network;
mod placement;
mod release;
mod scaling;
mod storage;
mod workload;

use std::collections::{BTreeMap, BTreeSet};

use gantry_kernel::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use container::Container;
pub use health::{Check, Hook, Hooks, Probe, Purpose};
pub(crate) use network::is_network;
pub use network::{
    Access, BALANCES, Network, Nic, Outside, PathKind, Peer, Policy, PolicyPort, PolicyRule, Protocol, PublicAddress, Publish, Route, Service, Subnet,
    ValueMatch, root_path, round_robin,
};
pub use placement::{Affinity, Constraints, Match, Operator, Preference, Rule, Selector, Spread, Toleration};
pub use release::{CanaryStep, HeaderMatch, Measure, Preview, Release, ReleaseCheck, ReleaseStrategy};
pub use scaling::{Budget, Job, Metric, MetricSource, MetricTarget, Overlap, Pace, ScaleSchedule, Scaling, Schedule, Step};
pub use storage::{Config, Device, File, Mount, MountKind, Pin, Volume};
pub use workload::{Condition, Dns, EnvFact, Resources, Restart, Sharing, Tuning, Update, Workload, WorkloadKind};

/// An application: what runs, how it is reached, and what it keeps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub workloads: BTreeMap<Name, Workload>,
    /// Balanced ports, in the order of the document.
    #[serde(default)]
    pub services: Vec<Service>,
    /// Named volumes that workloads mount.
    #[serde(default, deserialize_with = "storage::volumes", skip_serializing_if = "is_default")]
    pub volumes: BTreeMap<String, Volume>,
    /// Configs and secrets by name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub configs: BTreeMap<String, Config>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub networks: BTreeMap<String, Network>,
    /// What may reach what, by name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub policies: BTreeMap<String, Policy>,
    /// Names for what runs elsewhere.
    #[serde(default, skip_serializing_if = "is_default")]
    pub outside: BTreeMap<Name, Outside>,
    /// How the next revision takes over from the one before.
    #[serde(default, skip_serializing_if = "is_default")]
    pub release: Release,
}

/// Fields that say nothing are not written.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Of one workload.
pub const MAX_REPLICAS: u32 = 1000;

/// What an application reserves of a project's quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    pub cpu_millis: u64,
    pub memory_bytes: u64,
    pub storage_bytes: u64,
    pub containers: u32,
    pub largest: Resources,
}

impl Demand {
    /// Of anything, more than `other`.
    pub fn exceeds(&self, other: &Self) -> bool {
        let totals = |d: &Self| [d.cpu_millis, d.memory_bytes, d.storage_bytes, d.containers.into()];
        totals(self).into_iter().zip(totals(other)).any(|(own, other)| own > other)
    }

    pub fn plus(self, other: Self) -> Self {
        let largest = Resources {
            cpu_millis: self.largest.cpu_millis.max(other.largest.cpu_millis),
            memory_bytes: self.largest.memory_bytes.max(other.largest.memory_bytes),
            storage_bytes: self.largest.storage_bytes.max(other.largest.storage_bytes),
            pids: self.largest.pids.max(other.largest.pids),
        };
        Self {
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            storage_bytes: self.storage_bytes.saturating_add(other.storage_bytes),
            containers: self.containers.saturating_add(other.containers),
            largest,
        }
    }
}

impl Model {
    /// What all instances reserve with the replicas that `scale` overrides. A workload on each node counts once per node
    /// of `nodes`.
    pub fn demand(&self, scale: &BTreeMap<Name, u32>, nodes: u32) -> Demand {
        let mut sum = Demand::default();
        for (name, workload) in &self.workloads {
            let count = match workload.kind {
                // As if a run was always under way: otherwise none could be counted on.
                WorkloadKind::CronJob => workload.replicas.max(1),
                _ => workload.count(scale.get(name).copied(), nodes),
            };
            let n = u64::from(count);
            let one = workload.requests;
            sum.cpu_millis = sum.cpu_millis.saturating_add(u64::from(one.cpu_millis).saturating_mul(n));
            sum.memory_bytes = sum.memory_bytes.saturating_add(one.memory_bytes.saturating_mul(n));
            sum.storage_bytes = sum.storage_bytes.saturating_add(one.storage_bytes.saturating_mul(n));
            sum.containers = sum.containers.saturating_add(count);
            if count > 0 {
                sum.largest.cpu_millis = sum.largest.cpu_millis.max(one.cpu_millis);
                sum.largest.memory_bytes = sum.largest.memory_bytes.max(one.memory_bytes);
                sum.largest.storage_bytes = sum.largest.storage_bytes.max(one.storage_bytes);
            }
        }
        for (name, volume) in &self.volumes {
            let holders = self.workloads.iter().filter(|(_, w)| w.mounts.iter().any(|m| m.kind == MountKind::Volume && m.source == *name));
            let copies = holders.map(|(own, w)| if w.kind == WorkloadKind::Stateful { w.count(scale.get(own).copied(), nodes) } else { 1 }).max().unwrap_or(0);
            sum.storage_bytes = sum.storage_bytes.saturating_add(volume.size_bytes.saturating_mul(copies.into()));
        }
        sum
    }

    /// Only the workloads of which two sets stand beside each other while a release exchanges them.
    pub fn exchanged(&self) -> Self {
        let workloads = self.workloads.iter().filter(|(_, w)| w.is_exchanged()).map(|(n, w)| (n.clone(), w.clone())).collect();
        Self { workloads, ..Self::default() }
    }

    /// The images that run, sorted, each once.
    pub fn images(&self) -> Vec<String> {
        let runs = |pinned: &Option<String>, image: &String| pinned.clone().unwrap_or_else(|| image.clone());
        let mains = self.workloads.values().map(|w| runs(&w.pinned, &w.image));
        let others = self.workloads.values().flat_map(Workload::others).map(|c| runs(&c.pinned, &c.image));
        let set: BTreeSet<_> = mains.chain(others).collect();
        set.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(kind: WorkloadKind, replicas: u32) -> Workload {
        Workload { kind, replicas, requests: Resources { cpu_millis: 100, memory_bytes: 1000, ..Resources::default() }, ..Workload::default() }
    }

    #[test]
    fn demand_counts_scaled_replicas_and_nodes() {
        let (web, each) = (Name::parse("web").unwrap(), Name::parse("each").unwrap());
        let model = Model {
            workloads: BTreeMap::from([(web.clone(), workload(WorkloadKind::Stateless, 2)), (each, workload(WorkloadKind::Global, 1))]),
            ..Model::default()
        };
        let demand = model.demand(&BTreeMap::from([(web, 5)]), 3);
        assert_eq!((demand.cpu_millis, demand.memory_bytes, demand.containers), (800, 8000, 8));
    }

    #[test]
    fn a_model_survives_json_and_older_json_gets_defaults() {
        let model: Model = serde_json::from_value(serde_json::json!({"workloads": {"web": {"image": "a/b/c"}}})).unwrap();
        let web = &model.workloads[&Name::parse("web").unwrap()];
        assert_eq!((web.replicas, web.update.surge, web.restart), (1, 1, Restart::Always));
        assert_eq!(serde_json::from_value::<Model>(serde_json::to_value(&model).unwrap()).unwrap(), model);
    }
}
