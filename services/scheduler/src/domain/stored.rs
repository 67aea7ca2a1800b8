//! How a model stands in an event: an outline that every subscriber may read, and the whole sealed, since environment
//! variables and files hold secrets.

use std::collections::{BTreeMap, BTreeSet};

use gantry_es::Sealed;
use gantry_kernel::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

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

/// It is not one of ours, or of a version that this program does not know. Never the same as one that says nothing: who meets it leaves
/// what it is about as it is, and says so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the stored model cannot be read: {0}")]
pub struct Unreadable(String);

/// # Errors
/// See [`Unreadable`]; so for all of this file.
pub fn read(stored: &Value) -> Result<Stored, Unreadable> {
    serde_json::from_value(stored.clone()).map_err(|error| Unreadable(error.to_string()))
}

/// Each workload, and whether its replicas may be set by hand.
pub fn workloads(stored: &Value) -> Result<BTreeMap<Name, bool>, Unreadable> {
    let workloads = read(stored)?.outline.workloads;
    Ok(workloads.into_iter().map(|(name, w)| (name, !matches!(w.kind, WorkloadKind::Global | WorkloadKind::CronJob))).collect())
}

/// How a revision is released.
pub fn strategy(stored: &Value) -> Result<ReleaseStrategy, Unreadable> {
    Ok(read(stored)?.outline.release.strategy)
}

/// The workloads whose number follows something.
pub fn scaled(stored: &Value) -> Result<BTreeSet<Name>, Unreadable> {
    let workloads = read(stored)?.outline.workloads;
    Ok(workloads.into_iter().filter(|(_, w)| w.scaling.is_some()).map(|(name, _)| name).collect())
}

/// Of each workload, those with which it is restarted.
pub fn restart_with(stored: &Value) -> Result<BTreeMap<Name, BTreeSet<Name>>, Unreadable> {
    Ok(read(stored)?.outline.workloads.into_iter().map(|(name, w)| (name, w.restart_with)).collect())
}

/// `None`: it has no such workload.
pub fn replicas(stored: &Value, workload: &Name) -> Result<Option<u32>, Unreadable> {
    Ok(read(stored)?.outline.workloads.get(workload).map(|w| w.replicas))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_from_what_says_nothing() {
        let name = Name::parse("web").unwrap();
        let empty = json!({"outline": {"workloads": {}}, "sealed": "x"});
        assert_eq!((workloads(&empty), scaled(&empty), replicas(&empty, &name)), (Ok(BTreeMap::new()), Ok(BTreeSet::new()), Ok(None)));
        for odd in [Value::Null, json!({}), json!({"outline": {"workloads": {"web": {"image": 7}}}, "sealed": "x"})] {
            assert!(read(&odd).is_err() && workloads(&odd).is_err() && strategy(&odd).is_err() && scaled(&odd).is_err(), "{odd}");
            assert!(replicas(&odd, &name).unwrap_err().to_string().starts_with("the stored model cannot be read: "), "{odd}");
        }
    }
}
