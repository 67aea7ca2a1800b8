//! What a dry run answers, whatever the change.

use std::collections::BTreeMap;

use gantry_kernel::{InstanceId, Name};
use serde::Serialize;

use crate::app::fleet::ProspectBody;
use crate::domain::model::Demand;
use crate::domain::placement::Finding;

/// What a change would do. What would refuse the change refuses its dry run in the same words.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct ChangePreview {
    /// False: it is already so, and nothing would be written.
    pub changed: bool,
    /// That would be at work, or on its way there; 0 where nothing of an application changes.
    pub revision: u64,
    /// What would be recorded, in this order: `app.scaled`.
    pub events: Vec<String>,
    /// What would differ, one line each; values and contents are not shown.
    pub diff: Vec<String>,
    pub workloads: Vec<WorkloadPreview>,
    /// What happens to instances, in this order: each begins when what the one before started is ready, and what it stopped is gone.
    pub batches: Vec<BatchPreview>,
    /// There would be more batches, which go on alike.
    pub more_batches: bool,
    /// The further steps of a release that goes step by step.
    pub steps: Vec<StepPreview>,
    /// What it would reserve of the quota, if that is counted with this change.
    pub reserves: Option<ReservesPreview>,
    /// Names, ports and public addresses that others may have then; those that only a replaced revision has, when the release is over.
    pub given_back: Vec<String>,
    /// Of the instances that would be stopped: what they keep that no other instance has.
    pub volumes: Vec<VolumePreview>,
    /// Of a space on several clusters: what each of them would have.
    pub clusters: Vec<ProspectBody>,
    /// Of placement rules: which nodes they would allow, and why not the others; at most 50.
    pub nodes: Vec<Finding>,
    /// What else is to be known, a sentence each.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct WorkloadPreview {
    pub workload: String,
    /// Instances now, without those that are being stopped.
    pub before: u32,
    pub after: u32,
    pub added: u32,
    pub removed: u32,
    /// Stopped, with another one for it.
    pub replaced: u32,
    /// Between two steps of a rolling release.
    pub pause_seconds: u32,
}

impl WorkloadPreview {
    /// `stale`: so many of those before cannot stay as they are.
    pub fn of(workload: &Name, before: u32, after: u32, stale: u32, pause_seconds: u32) -> Self {
        let stay = before.saturating_sub(stale);
        let replaced = stale.min(before).min(after.saturating_sub(stay));
        // What cannot stay and has nobody in its place is removed, as is what is too much.
        let (added, removed) = (after - replaced, before - replaced);
        let kept = added.min(removed).min(stay);
        Self { workload: workload.to_string(), before, after, added: added - kept, removed: removed - kept, replaced, pause_seconds }
    }
}

#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct BatchPreview {
    /// Of the release, in which it happens; 0 where it has none.
    pub step: u32,
    pub starts: Vec<StartPreview>,
    pub stops: Vec<StopPreview>,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct StartPreview {
    pub workload: String,
    pub name: String,
    pub revision: u64,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct StopPreview {
    #[schema(value_type = String, format = Uuid)]
    pub instance: InstanceId,
    pub workload: String,
    pub name: String,
    pub revision: u64,
    pub node: String,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct StepPreview {
    pub step: u32,
    /// Of the requests, that go to the new revision then.
    pub percent: u32,
    /// Instances of the new revision that stand then, by workload.
    pub instances: BTreeMap<String, u32>,
    /// What must be before it begins: instances | time | promotion | resumption
    pub waits_for: String,
    /// Of the time, if that is waited for.
    pub seconds: u64,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ReservesPreview {
    pub cpu_millis: u64,
    pub memory_bytes: u64,
    pub storage_bytes: u64,
    pub containers: u32,
}

impl From<Demand> for ReservesPreview {
    fn from(demand: Demand) -> Self {
        let Demand { cpu_millis, memory_bytes, storage_bytes, containers, .. } = demand;
        Self { cpu_millis, memory_bytes, storage_bytes, containers }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
pub struct VolumePreview {
    /// As `gantry volume list` shows it; without a name, `<instance> <path>`.
    pub volume: String,
    pub node: String,
    /// False: it goes with its instance.
    pub kept: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(before: u32, after: u32, stale: u32) -> (u32, u32, u32) {
        let one = WorkloadPreview::of(&Name::parse("web").unwrap(), before, after, stale, 0);
        (one.added, one.removed, one.replaced)
    }

    #[test]
    fn what_is_replaced_is_neither_added_nor_removed() {
        assert_eq!(told(2, 5, 0), (3, 0, 0));
        assert_eq!(told(5, 2, 0), (0, 3, 0));
        assert_eq!(told(3, 3, 3), (0, 0, 3));
        assert_eq!(told(2, 4, 2), (2, 0, 2));
        assert_eq!(told(4, 2, 4), (0, 2, 2));
        assert_eq!(told(4, 4, 1), (0, 0, 1));
        assert_eq!(told(4, 2, 2), (0, 2, 0), "a release that is given up: the old ones stay");
        assert_eq!(told(3, 0, 0), (0, 3, 0));
    }
}
