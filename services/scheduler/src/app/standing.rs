//! An application's instances as the release planner sees them, and what is wanted of a workload: for the reconciler, and for previews.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use gantry_kernel::{AppId, Name, OffsetDateTime};
use sea_orm::DbErr;

use super::change::scaled;
use super::context::Scheduler;
use crate::domain::jobs::{self, Tries};
use crate::domain::model::{Model, ReleaseStrategy, Update, Workload, WorkloadKind};
use crate::domain::observe::Phase;
use crate::domain::placement;
use crate::domain::release::{Instance, Wanted};
use crate::domain::wanted::{AppView, Reports, node_volumes};
use crate::store;

/// So many of the ended instances are looked at, the latest.
const LATEST: usize = 200;

/// The latest ended instances of an application, the newest first; and of those before them the ones without which it would be forgotten that
/// a job of `goal` is done, on which node a volume is, or which revision a number stays with. `row` says which revision is at work.
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

/// Workloads of which the instances that are `known` do not tell enough, as others have pushed theirs out: jobs that may be done, those that
/// have volumes on a node, and those with numbers that stay with a revision.
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
        // Which revision a number had last, and on which node it was.
        numbers.len() < wanted && (workload.update.partition > 0 || !node_volumes(workload, &goal.volumes).is_empty())
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
    u32::try_from(done(row, ended, name).count()).unwrap_or(u32::MAX)
}

/// The numbers of these.
pub fn numbers_done(row: &store::app::Model, ended: &[store::instance::Model], name: &Name) -> HashSet<u32> {
    done(row, ended, name).map(|i| i.number.unsigned_abs()).collect()
}

fn done<'a>(row: &store::app::Model, ended: &'a [store::instance::Model], name: &Name) -> impl Iterator<Item = &'a store::instance::Model> {
    let restarted = restarted_at(row, name);
    let is_done =
        move |i: &&store::instance::Model| i.workload == name.as_str() && i.revision == row.current && i.phase == "completed" && i.position > restarted;
    ended.iter().filter(is_done)
}

/// What of the world says how instances stand.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    pub reports: &'a Reports,
    /// Nodes that are to be emptied.
    pub draining: &'a BTreeSet<String>,
    pub now: OffsetDateTime,
}

/// The instances of one workload, which may be no more. `row` says which revision is at work.
pub fn instances(
    row: &store::app::Model,
    view: &AppView,
    alive: &[store::instance::Model],
    (name, workload): (&Name, Option<&Workload>),
    around: Around<'_>,
) -> Vec<Instance> {
    let restarted = restarted_at(row, name);
    let available = view.available(name, around.reports);
    let proves = workload.map_or(0, |w| w.min_ready_seconds);
    let by_id: HashMap<_, _> = alive.iter().map(|row| (row.id, row)).collect();
    let of = view.instances.iter().filter(|i| i.workload == *name).filter_map(|standing| Some((standing, *by_id.get(&standing.id.0)?)));
    of.map(|(standing, instance)| {
        let stays = workload.is_some_and(|w| stays(row, w, instance));
        let current = (standing.revision == row.current.unsigned_abs() || stays) && instance.position > restarted;
        let displaced = around.draining.contains(&instance.node) || instance.displaced.is_some();
        // What is replaced serves until it goes, however short a time it has: it does not go before others as one that serves nobody.
        let counts = !current || displaced || has_proved(instance, proves, around.now);
        Instance {
            id: standing.id,
            index: standing.index,
            current,
            available: standing.phase != Phase::Stopping && available.contains(&standing.id) && counts,
            stopping: standing.phase == Phase::Stopping,
            displaced,
        }
    })
    .collect()
}

/// Does it stay with the revision that it has, because its workload says so? Of what a release exchanges, nothing does.
pub fn stays(row: &store::app::Model, workload: &Workload, instance: &store::instance::Model) -> bool {
    workload.stays(instance.number.unsigned_abs()) && !(is_exchanging(row) && workload.is_exchanged())
}

/// Is a release under way that exchanges instances?
pub fn is_exchanging(row: &store::app::Model) -> bool {
    row.release_revision.is_some() && row.release_from.is_some() && ReleaseStrategy::exchanges(&row.release_strategy)
}

/// Has it been ready for so long without a break?
fn has_proved(row: &store::instance::Model, seconds: u32, now: OffsetDateTime) -> bool {
    // Each time it becomes ready or is started anew is an event. Before that its node may say so already.
    seconds == 0 || Phase::parse(&row.phase) == Phase::Running && now - row.changed_at >= time::Duration::seconds(seconds.into())
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
    use super::*;
    use crate::domain::model::{Mount, MountKind};
    use crate::store::instance;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn an_instance_counts_after_its_time_in_rotation() {
        let row = instance::Model { changed_at: OffsetDateTime::UNIX_EPOCH, ..instance::Model::running(OffsetDateTime::UNIX_EPOCH) };
        let proved = |seconds, after| has_proved(&row, seconds, OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(after));
        assert_eq!([proved(0, 0), proved(10, 9), proved(10, 10)], [true, false, true]);
        let placed = instance::Model { phase: "placed".into(), ..row.clone() };
        assert!(!has_proved(&placed, 10, OffsetDateTime::UNIX_EPOCH + time::Duration::hours(1)), "it took long to start");
    }

    #[test]
    fn instances_stay_as_the_document_says() {
        let of = |kind, update: Update| Workload { kind, update, ..Workload::default() };
        let partition = of(WorkloadKind::Stateful, Update { partition: 2, ..Update::default() });
        let manual = |kind| of(kind, Update { manual: true, ..Update::default() });
        assert_eq!([0, 1, 2].map(|n| partition.stays(n)), [true, true, false]);
        assert!(!Workload { kind: WorkloadKind::Stateless, ..partition }.stays(0), "numbers of others mean nothing");
        assert!(manual(WorkloadKind::Global).stays(5) && !manual(WorkloadKind::Job).stays(0));
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
        let mut kept = Model::default();
        let update = Update { partition: 1, ..Update::default() };
        kept.workloads.insert(name("db"), Workload { update, ..of(WorkloadKind::Stateful, &[]) });
        assert_eq!(forgotten(&kept, |_, w| w.count(None, 0), |_| 0, [known("db", 0)].iter()), ["db"], "which revision the other one had");
        assert_eq!(found(2, &[known("db", 0), known("db", 1), known("files", 7)]), Vec::<String>::new());
    }
}
