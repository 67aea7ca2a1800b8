//! An application's instances as the release planner sees them, and what is wanted of a workload: for the reconciler, and for previews.

use std::collections::{BTreeSet, HashMap};

use gantry_kernel::Name;

use crate::domain::model::{Update, Workload, WorkloadKind};
use crate::domain::observe::Phase;
use crate::domain::placement;
use crate::domain::release::{Instance, Wanted};
use crate::domain::wanted::{AppView, Reports};
use crate::store;

/// The log position of a workload's last restart.
pub fn restarted_at(row: &store::app::Model, name: &Name) -> i64 {
    row.restarts.get(name.as_str()).and_then(serde_json::Value::as_i64).unwrap_or(0)
}

/// How many instances of the revision at work have ended well since the last restart.
pub fn completed(row: &store::app::Model, ended: &[store::instance::Model], name: &Name) -> u32 {
    let restarted = restarted_at(row, name);
    let done = |i: &&store::instance::Model| i.workload == name.as_str() && i.revision == row.current && i.phase == "completed" && i.position > restarted;
    u32::try_from(ended.iter().filter(done).count()).unwrap_or(u32::MAX)
}

/// The instances of one workload. `row` says which revision is at work, `draining` which nodes are to be emptied.
pub fn instances(
    row: &store::app::Model,
    view: &AppView,
    alive: &[store::instance::Model],
    name: &Name,
    reports: &Reports,
    draining: &BTreeSet<String>,
) -> Vec<Instance> {
    let restarted = restarted_at(row, name);
    let available = view.available(name, reports);
    let by_id: HashMap<_, _> = alive.iter().map(|row| (row.id, row)).collect();
    let of = view.instances.iter().filter(|i| i.workload == *name).filter_map(|standing| Some((standing, *by_id.get(&standing.id.0)?)));
    of.map(|(standing, instance)| Instance {
        id: standing.id,
        index: standing.index,
        current: standing.revision == row.current.unsigned_abs() && instance.position > restarted,
        available: standing.phase != Phase::Stopping && available.contains(&standing.id),
        stopping: standing.phase == Phase::Stopping,
        displaced: draining.contains(&instance.node) || instance.displaced.is_some(),
    })
    .collect()
}

/// Of a workload that may be no more. Whether it has to wait is for the caller to say.
pub fn wanted(workload: Option<&Workload>, count: u32, completed: u32) -> Wanted {
    match workload {
        Some(workload) => Wanted { kind: workload.kind, count, update: workload.update, completed, hold: false, keep: placement::floor(workload, count) },
        None => Wanted { kind: WorkloadKind::Stateless, count: 0, update: Update::default(), completed: 0, hold: false, keep: None },
    }
}
