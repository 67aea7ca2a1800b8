//! What becomes of a workload's instances on a node that is to be emptied: the release planner is asked, as for every dry run. Pure. Whether
//! other nodes have room is not looked at.

use std::collections::BTreeSet;

use gantry_kernel::{InstanceId, Name};

use super::model::{Workload, WorkloadKind};
use super::preview::{Part, course};
use super::release::{Instance, Wanted};

/// One workload that has instances on the node.
pub struct Leaving<'a> {
    pub name: &'a Name,
    /// None: it is stopped, deleted, or no part of its application any more.
    pub workload: Option<&'a Workload>,
    pub wanted: Wanted,
    /// All of them, those on the node as displaced.
    pub instances: Vec<Instance>,
    /// Those on the node.
    pub own: &'a BTreeSet<InstanceId>,
    /// What it keeps lies on the node.
    pub has_volume: bool,
}

const WITH_VOLUME: &str = "are stopped, and wait until the node takes instances again: what they keep lies there";

/// How many leave the node in the end, and what becomes of them in words.
pub fn outcome(of: Leaving<'_>) -> (u32, String) {
    let Leaving { name, workload, wanted, instances, own, has_volume } = of;
    let Some(workload) = workload else { return (number(own.len()), "are being stopped anyway".into()) };
    if workload.kind == WorkloadKind::CronJob {
        return (0, "runs are not cut off: they leave when they have ended".into());
    }
    // The way that is looked for takes a job that goes on to have ended.
    if workload.kind == WorkloadKind::Job {
        let words = if has_volume { WITH_VOLUME } else { "are stopped and started anew elsewhere" };
        return (number(own.len()), words.into());
    }
    let part = Part { workload: name.clone(), wanted, counts: vec![wanted.count], instances, revision: 0, depends_on: Vec::new(), after: Vec::new() };
    let told = course(vec![part], 1);
    let leaving = told.batches.iter().flat_map(|batch| &batch.stops).filter(|id| own.contains(id)).count();
    // Told up to a point only, it goes on alike.
    let leaving = if told.more { own.len() } else { leaving };
    if leaving < own.len() {
        let why = match wanted.keep {
            Some(keep) => format!("its budget keeps {keep} of {} ready: {} cannot leave", wanted.count, own.len() - leaving),
            None => format!("{} cannot leave: nothing may be stopped in its place", own.len() - leaving),
        };
        return (number(leaving), why);
    }
    let words = match workload.kind {
        WorkloadKind::Global => "end here: there is one on each node",
        _ if has_volume => WITH_VOLUME,
        WorkloadKind::Stateful => "go one by one, each before its successor starts elsewhere",
        _ if wanted.update.surge == 0 && wanted.update.max_unavailable > 0 => "go before their successors start elsewhere",
        WorkloadKind::Stateless | WorkloadKind::Job | WorkloadKind::CronJob => "are replaced elsewhere, each before it goes",
    };
    (number(leaving), words.into())
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Uuid;

    use super::*;
    use crate::domain::model::Update;

    fn id(n: u32) -> InstanceId {
        InstanceId(Uuid::from_u128(u128::from(n) + 1000))
    }

    /// Of `count` instances the first `here` are on the node.
    fn told(kind: WorkloadKind, count: u32, here: u32, keep: Option<u32>, has_volume: bool) -> (u32, String) {
        let workload = Workload { kind, replicas: count, ..Workload::default() };
        let instances = (0..count).map(|n| Instance { id: id(n), index: n, current: true, available: true, stopping: false, displaced: n < here });
        let own: BTreeSet<InstanceId> = (0..here).map(id).collect();
        let wanted = if kind == WorkloadKind::Global { count - here } else { count };
        let wanted = Wanted { kind, count: wanted, update: Update::default(), completed: 0, hold: false, keep, at_once: 0 };
        let name = Name::parse("web").unwrap();
        outcome(Leaving { name: &name, workload: Some(&workload), wanted, instances: instances.collect(), own: &own, has_volume })
    }

    #[test]
    fn instances_are_replaced_wait_for_their_budget_or_for_their_volume() {
        let (leaving, words) = told(WorkloadKind::Stateless, 3, 2, None, false);
        assert_eq!((leaving, words.as_str()), (2, "are replaced elsewhere, each before it goes"));
        // Its successor is ready before: the budget is no obstacle.
        assert_eq!(told(WorkloadKind::Stateless, 1, 1, Some(1), false).0, 1);
        let (leaving, words) = told(WorkloadKind::Stateful, 3, 1, Some(3), false);
        assert_eq!((leaving, words.as_str()), (0, "its budget keeps 3 of 3 ready: 1 cannot leave"));
        let (leaving, words) = told(WorkloadKind::Stateful, 3, 1, Some(2), true);
        assert!(leaving == 1 && words.contains("lies there"), "{leaving}: {words}");
        let (leaving, words) = told(WorkloadKind::Global, 3, 1, None, false);
        assert!(leaving == 1 && words.contains("on each node"), "{leaving}: {words}");
        assert_eq!(told(WorkloadKind::CronJob, 1, 1, None, false).0, 0);
        assert_eq!(told(WorkloadKind::Job, 1, 1, None, false).0, 1);
    }

    #[test]
    fn what_is_stopped_leaves_in_any_case() {
        let (name, own) = (Name::parse("web").unwrap(), BTreeSet::from([id(0)]));
        let wanted = Wanted { kind: WorkloadKind::Stateless, count: 0, update: Update::default(), completed: 0, hold: false, keep: None, at_once: 0 };
        let of = Leaving { name: &name, workload: None, wanted, instances: Vec::new(), own: &own, has_volume: false };
        assert_eq!(outcome(of).0, 1);
    }
}
