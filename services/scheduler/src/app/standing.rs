//! An application's instances as the release planner sees them, and what is wanted of a workload: for the reconciler, and for previews.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use gantry_kernel::{AppId, Name};
use sea_orm::DbErr;

use super::change::scaled;
use super::context::Scheduler;
use crate::domain::jobs::{self, Tries};
use crate::domain::model::{Model, Update, Workload, WorkloadKind};
use crate::domain::observe::Phase;
use crate::domain::placement;
use crate::domain::release::{Instance, Wanted};
use crate::domain::wanted::{AppView, Reports, node_volumes};
use crate::store;

/// So many of the ended instances are looked at, the latest.
const LATEST: usize = 200;

/// The latest ended instances of an application, the newest first; and of those before them the ones without which it would be forgotten that
/// a job of `goal` is done, or on which node a volume is. `row` says which revision is at work.
///
/// # Errors
/// When the database refuses.
pub async fn ended(
    s: &Scheduler,
    app: AppId,
    row: &store::app::Model,
    goal: &Model,
    alive: &[store::instance::Model],
) -> Result<Vec<store::instance::Model>, DbErr> {
    let mut ended = store::ended(s.orm(), app, LATEST as u64).await?;
    if ended.len() < LATEST {
        return Ok(ended);
    }
    let scale = scaled(row);
    let count = |name: &Name, workload: &Workload| workload.count(scale.get(name).copied(), 0);
    let missing = forgotten(goal, count, |name| completed(row, &ended, name), alive.iter().chain(&ended));
    if !missing.is_empty() {
        let before = store::ended_of(s.orm(), app, row.current, &missing).await?;
        let known: HashSet<_> = ended.iter().map(|i| i.id).collect();
        ended.extend(before.into_iter().filter(|i| !known.contains(&i.id)));
    }
    Ok(ended)
}

/// Workloads of which the instances that are `known` do not tell enough, as others have pushed theirs out: jobs that may be done, and those that
/// have volumes on a node.
fn forgotten<'a>(
    goal: &Model,
    count: impl Fn(&Name, &Workload) -> u32,
    done: impl Fn(&Name) -> u32,
    known: impl Iterator<Item = &'a store::instance::Model> + Clone,
) -> Vec<String> {
    let is = |name: &Name, workload: &Workload| {
        let numbers: BTreeSet<i32> = known.clone().filter(|i| i.workload == name.as_str()).map(|i| i.number).collect();
        let wanted = match workload.kind {
            WorkloadKind::Job if done(name) < count(name, workload) => return true,
            WorkloadKind::Stateful => usize::try_from(count(name, workload)).unwrap_or(usize::MAX),
            WorkloadKind::Stateless | WorkloadKind::Global | WorkloadKind::Job | WorkloadKind::CronJob => 1,
        };
        numbers.len() < wanted && !node_volumes(workload, &goal.volumes).is_empty()
    };
    goal.workloads.iter().filter(|(name, workload)| is(name, workload)).map(|(name, _)| name.to_string()).collect()
}

/// What the tries of each job have come to that is limited and not done. `ended` is what [`ended()`] gives. Counted in the database: others may have
/// pushed its tries out of the latest.
///
/// # Errors
/// When the database refuses.
pub async fn tries(s: &Scheduler, app: AppId, row: &store::app::Model, goal: &Model, ended: &[store::instance::Model]) -> Result<BTreeMap<Name, Tries>, DbErr> {
    let (scale, mut out) = (scaled(row), BTreeMap::new());
    for (name, workload) in goal.workloads.iter().filter(|(_, workload)| jobs::is_limited(workload)) {
        if completed(row, ended, name) < workload.count(scale.get(name).copied(), 0) {
            out.insert(name.clone(), store::tries(s.orm(), app, name.as_str(), row.current, restarted_at(row, name)).await?);
        }
    }
    Ok(out)
}

/// The log position of a workload's last restart.
pub fn restarted_at(row: &store::app::Model, name: &Name) -> i64 {
    row.restarts.get(name.as_str()).and_then(serde_json::Value::as_i64).unwrap_or(0)
}

/// How many instances of the revision at work have ended well since the last restart. `ended` is what [`ended()`] gives.
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
        Some(workload) => Wanted {
            kind: workload.kind,
            count,
            update: workload.update,
            completed,
            hold: false,
            keep: placement::floor(workload, count),
            at_once: workload.job.as_ref().map_or(0, |job| job.parallelism),
        },
        None => Wanted { kind: WorkloadKind::Stateless, count: 0, update: Update::default(), completed: 0, hold: false, keep: None, at_once: 0 },
    }
}

#[cfg(test)]
mod tests {
    use gantry_kernel::OffsetDateTime;

    use super::*;
    use crate::domain::model::{Mount, MountKind};
    use crate::store::instance;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn a_job_that_may_be_done_and_a_volume_without_a_known_node_are_looked_for_further_back() {
        let mounts = vec![Mount::new(MountKind::Volume, "data", "/data")];
        let of = |kind, mounts: &[Mount]| Workload { kind, replicas: 2, mounts: mounts.to_vec(), ..Workload::default() };
        let mut goal = Model::default();
        goal.workloads.insert(name("migrate"), of(WorkloadKind::Job, &[]));
        goal.workloads.insert(name("db"), of(WorkloadKind::Stateful, &mounts));
        goal.workloads.insert(name("files"), of(WorkloadKind::Stateless, &mounts));
        goal.workloads.insert(name("web"), of(WorkloadKind::Stateless, &[]));
        let known = |workload: &str, number| instance::Model { workload: workload.into(), number, ..instance::Model::running(OffsetDateTime::UNIX_EPOCH) };
        let found = |done: u32, known: &[instance::Model]| forgotten(&goal, |_, w| w.count(None, 0), |_| done, known.iter());
        assert_eq!(found(0, &[known("web", 0)]), ["db", "files", "migrate"]);
        assert_eq!(found(1, &[known("db", 0), known("db", 0), known("files", 7)]), ["db", "migrate"], "of the second one nothing is known");
        assert_eq!(found(2, &[known("db", 0), known("db", 1), known("files", 7)]), Vec::<String>::new());
    }
}
