//! How a model stands in an event: an outline that every subscriber may read, and the whole sealed, since environment
//! variables and files hold secrets.

use std::collections::{BTreeMap, BTreeSet};

use gantry_es::Sealed;
use gantry_kernel::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::model::{Hook, Model, ReleaseStrategy, WorkloadKind};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// The model without the values of variables and the contents of files.
    pub outline: Model,
    /// The whole model's JSON, under the key of its application.
    pub sealed: Sealed,
}

/// The key's subject.
pub fn subject(app: gantry_kernel::AppId) -> String {
    format!("app:{app}")
}

pub fn outline(model: &Model) -> Model {
    let mut outline = model.clone();
    for workload in outline.workloads.values_mut() {
        for value in workload.env.values_mut() {
            value.clear();
        }
        workload.files.iter_mut().for_each(|f| f.content.clear());
        for container in workload.others_mut() {
            container.env.values_mut().for_each(String::clear);
            container.files.iter_mut().for_each(|f| f.content.clear());
        }
        for hook in workload.hooks.post_start.iter_mut().chain(&mut workload.hooks.pre_stop) {
            if let Hook::Command { env, .. } = hook {
                env.values_mut().for_each(String::clear);
            }
        }
    }
    for config in outline.configs.values_mut() {
        config.entries.values_mut().chain(config.binary.values_mut()).for_each(String::clear);
    }
    outline
}

/// The outline of a stored model; `None` if it is not one of ours.
pub fn read(stored: &Value) -> Option<Stored> {
    serde_json::from_value(stored.clone()).ok()
}

/// Each workload, and whether its replicas may be set by hand.
pub fn workloads(stored: &Value) -> BTreeMap<Name, bool> {
    let workloads = read(stored).map(|s| s.outline.workloads).unwrap_or_default();
    workloads.into_iter().map(|(name, w)| (name, !matches!(w.kind, WorkloadKind::Global | WorkloadKind::CronJob))).collect()
}

/// How a revision is released.
pub fn strategy(stored: &Value) -> ReleaseStrategy {
    read(stored).map(|s| s.outline.release.strategy).unwrap_or_default()
}

/// The workloads whose number follows something.
pub fn scaled(stored: &Value) -> BTreeSet<Name> {
    let workloads = read(stored).map(|s| s.outline.workloads).unwrap_or_default();
    workloads.into_iter().filter(|(_, w)| w.scaling.is_some()).map(|(name, _)| name).collect()
}

pub fn replicas(stored: &Value, workload: &Name) -> Option<u32> {
    Some(read(stored)?.outline.workloads.get(workload)?.replicas)
}
