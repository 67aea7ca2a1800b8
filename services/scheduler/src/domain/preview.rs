//! What a change would do to the instances, and in which order: the release planner asked again and again, as if everything that it wanted
//! had come about. Pure; called for dry runs.

use std::collections::BTreeSet;

use gantry_kernel::{InstanceId, Name, Uuid};

use super::model::{Condition, WorkloadKind};
use super::release::{self, Action, Instance, Wanted};

/// So many batches are told; of a workload of a thousand that is replaced one by one the rest goes on alike.
const MOST: usize = 200;

/// A workload's instances, or those of one side of an exchange.
#[derive(Clone, Debug)]
pub struct Part {
    pub workload: Name,
    /// Its count and whether it holds are said anew in each step.
    pub wanted: Wanted,
    /// How many are wanted in each step of the release; the last number stays. Empty: none.
    pub counts: Vec<u32>,
    pub instances: Vec<Instance>,
    /// Of what it places.
    pub revision: u64,
    pub depends_on: Vec<(Name, Condition)>,
    /// Those that are replaced before it is.
    pub after: Vec<Name>,
}

/// What happens at once. The next one begins when what was started is ready and what was stopped is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Counted from the one in which the release is.
    pub step: usize,
    pub starts: Vec<Start>,
    pub stops: Vec<InstanceId>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Start {
    pub workload: Name,
    pub index: u32,
    pub revision: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Course {
    pub batches: Vec<Batch>,
    /// There would be more of them than are told.
    pub more: bool,
}

/// The way through `steps` steps of a release; a change without any has one.
pub fn course(mut parts: Vec<Part>, steps: usize) -> Course {
    let mut out = Course::default();
    let mut made: u128 = 0;
    for step in 0..steps.max(1) {
        loop {
            let batch = next(&mut parts, step, &mut made);
            let nothing = batch.starts.is_empty() && batch.stops.is_empty();
            if !nothing && out.batches.len() == MOST {
                out.more = true;
                return out;
            }
            if !nothing {
                out.batches.push(batch);
            }
            // Also without a step of its own something may be on its way, and others wait for it.
            if !settle(&mut parts) && nothing {
                break;
            }
        }
    }
    out
}

fn next(parts: &mut [Part], step: usize, made: &mut u128) -> Batch {
    let mut batch = Batch { step, ..Batch::default() };
    let missing = |part: &Part| part.depends_on.iter().any(|(needed, condition)| !is_met(parts, needed, *condition));
    let later = |part: &Part| part.after.iter().any(|first| has_old(parts, first));
    let held: Vec<(bool, bool)> = parts.iter().map(|part| (missing(part), later(part))).collect();
    for (at, (missing, later)) in held.into_iter().enumerate() {
        let hold = missing || later;
        let count = parts[at].counts.get(step).or(parts[at].counts.last()).copied().unwrap_or(0);
        parts[at].wanted = Wanted { count, hold, ..parts[at].wanted };
        for action in release::plan(&parts[at].wanted, &parts[at].instances).actions {
            match action {
                // It serves until it is its turn.
                Action::Stop { instance } if later && parts[at].instances.iter().any(|i| i.id == instance && !i.current && i.available) => {}
                Action::Stop { instance } => {
                    parts[at].instances.retain(|i| i.id != instance);
                    batch.stops.push(instance);
                }
                Action::Place { index } => {
                    let index = if parts[at].wanted.kind == WorkloadKind::Stateless { free(parts, &parts[at].workload, index) } else { index };
                    *made += 1;
                    let id = InstanceId(Uuid::from_u128(*made));
                    parts[at].instances.push(Instance { id, index, current: true, available: false, stopping: false, displaced: false });
                    batch.starts.push(Start { workload: parts[at].workload.clone(), index, revision: parts[at].revision });
                }
            }
        }
    }
    batch
}

/// `index`, or the next number that no instance of the workload has on any side.
fn free(parts: &[Part], workload: &Name, index: u32) -> u32 {
    let taken: BTreeSet<u32> = parts.iter().filter(|p| p.workload == *workload).flat_map(|p| &p.instances).map(|i| i.index).collect();
    (index..u32::MAX).find(|n| !taken.contains(n)).unwrap_or(index)
}

/// What was started is ready, what was told to stop is gone, jobs have run to their end. False: it was so already.
fn settle(parts: &mut [Part]) -> bool {
    let mut moved = false;
    for part in parts {
        let before = part.instances.len();
        part.instances.retain(|i| !i.stopping);
        if part.wanted.kind == WorkloadKind::Job && part.counts.iter().any(|n| *n > 0) {
            let running = part.instances.iter().filter(|i| i.current).count();
            part.instances.retain(|i| !i.current);
            part.wanted.completed = part.wanted.completed.saturating_add(u32::try_from(running).unwrap_or(u32::MAX));
        }
        moved |= part.instances.len() != before;
        for instance in part.instances.iter_mut().filter(|i| i.current && !i.available) {
            (instance.available, moved) = (true, true);
        }
    }
    moved
}

/// Is something of it still to be replaced?
fn has_old(parts: &[Part], workload: &Name) -> bool {
    parts.iter().filter(|p| p.workload == *workload).flat_map(|p| &p.instances).any(|i| !i.current && !i.stopping)
}

/// Of what is not part of the application nothing is waited for.
fn is_met(parts: &[Part], needed: &Name, condition: Condition) -> bool {
    let of = || parts.iter().filter(|p| p.workload == *needed);
    let completed = |p: &Part| p.wanted.completed;
    if of().next().is_none() {
        return true;
    }
    match condition {
        Condition::Started => of().any(|p| completed(p) > 0 || p.instances.iter().any(|i| i.available)),
        Condition::Healthy => of().any(|p| p.instances.iter().any(|i| i.available)),
        Condition::Completed => of().all(|p| completed(p) >= p.counts.last().copied().unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::model::Update;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn wanted(kind: WorkloadKind, surge: u32, max_unavailable: u32) -> Wanted {
        Wanted { kind, count: 0, update: Update { surge, max_unavailable, ..Update::default() }, completed: 0, hold: false, keep: None, at_once: 0 }
    }

    fn id(n: u32) -> InstanceId {
        InstanceId(Uuid::from_u128(1_000_000 + u128::from(n)))
    }

    fn instance(n: u32, current: bool) -> Instance {
        Instance { id: id(n), index: n, current, available: true, stopping: false, displaced: false }
    }

    fn part(text: &str, count: u32, instances: Vec<Instance>) -> Part {
        let wanted = wanted(WorkloadKind::Stateless, 1, 0);
        Part { workload: name(text), wanted, counts: vec![count], instances, revision: 2, depends_on: Vec::new(), after: Vec::new() }
    }

    fn shape(course: &Course) -> Vec<(Vec<u32>, Vec<InstanceId>)> {
        course.batches.iter().map(|b| (b.starts.iter().map(|s| s.index).collect(), b.stops.clone())).collect()
    }

    #[test]
    fn scaling_up_is_one_batch_and_down_takes_the_highest_numbers() {
        let up = course(vec![part("web", 3, vec![instance(0, true)])], 1);
        assert_eq!(shape(&up), [(vec![1, 2], vec![])]);
        let down = course(vec![part("web", 1, (0..3).map(|n| instance(n, true)).collect())], 1);
        assert_eq!(shape(&down), [(vec![], vec![id(2), id(1)])]);
        let as_it_is = course(vec![part("web", 1, vec![instance(0, true)])], 1);
        assert_eq!(as_it_is, Course::default());
    }

    #[test]
    fn a_rolling_replacement_goes_on_one_by_one() {
        let course = course(vec![part("web", 2, vec![instance(0, false), instance(1, false)])], 1);
        assert_eq!(shape(&course), [(vec![2], vec![]), (vec![], vec![id(1)]), (vec![1], vec![]), (vec![], vec![id(0)])]);
        assert!(course.batches.iter().flat_map(|b| &b.starts).all(|s| s.revision == 2));
    }

    #[test]
    fn a_stateful_workload_is_replaced_from_its_last_number() {
        let stateful = Part { wanted: wanted(WorkloadKind::Stateful, 0, 1), ..part("db", 2, vec![instance(0, false), instance(1, false)]) };
        let course = course(vec![stateful], 1);
        // What was stopped is gone before the next look, so that its number comes back at once.
        assert_eq!(shape(&course), [(vec![], vec![id(1)]), (vec![1], vec![]), (vec![], vec![id(0)]), (vec![0], vec![])]);
    }

    #[test]
    fn who_depends_on_another_starts_after_it_and_a_job_is_waited_for() {
        let job = Part { wanted: wanted(WorkloadKind::Job, 1, 0), ..part("migrate", 1, Vec::new()) };
        let web = Part { depends_on: vec![(name("migrate"), Condition::Completed)], ..part("web", 1, Vec::new()) };
        let front = Part { depends_on: vec![(name("web"), Condition::Healthy), (name("elsewhere"), Condition::Started)], ..part("front", 1, Vec::new()) };
        let course = course(vec![front, web, job], 1);
        let order: Vec<&str> = course.batches.iter().flat_map(|b| &b.starts).map(|s| s.workload.as_str()).collect();
        assert_eq!((order, course.batches.len()), (vec!["migrate", "web", "front"], 3));
    }

    #[test]
    fn who_is_restarted_with_another_one_is_replaced_after_it() {
        let db = Part { wanted: wanted(WorkloadKind::Stateful, 0, 1), ..part("db", 1, vec![instance(0, false)]) };
        let waits = Part { depends_on: vec![(name("db"), Condition::Healthy)], after: vec![name("db")], ..part("web", 1, Vec::new()) };
        let web = Part { instances: vec![Instance { id: id(7), ..instance(0, false) }], ..waits };
        let course = course(vec![web, db], 1);
        let order: Vec<&str> = course.batches.iter().flat_map(|b| &b.starts).map(|s| s.workload.as_str()).collect();
        assert_eq!(order, ["db", "web"]);
        let stops: Vec<InstanceId> = course.batches.iter().flat_map(|b| b.stops.iter().copied()).collect();
        assert_eq!(stops, [id(0), id(7)]);
    }

    #[test]
    fn an_exchange_stands_beside_the_old_ones_until_its_last_step() {
        let new = Part { counts: vec![0, 1, 2, 2], ..part("web", 0, Vec::new()) };
        let old = Part { counts: vec![2, 2, 2, 0], revision: 1, ..part("web", 0, vec![instance(0, true), instance(1, true)]) };
        let course = course(vec![new, old], 4);
        let told: Vec<(usize, usize, usize)> = course.batches.iter().map(|b| (b.step, b.starts.len(), b.stops.len())).collect();
        assert_eq!(told, [(1, 1, 0), (2, 1, 0), (3, 0, 2)]);
        let numbers: Vec<u32> = course.batches.iter().flat_map(|b| &b.starts).map(|s| s.index).collect();
        assert_eq!(numbers, [2, 3], "numbers of the old ones are taken");
    }

    #[test]
    fn stopping_is_one_batch_and_very_many_are_cut_off() {
        let all = (0..3).map(|n| instance(n, true)).collect();
        assert_eq!(course(vec![Part { counts: Vec::new(), ..part("web", 0, all) }], 1).batches.len(), 1);
        let many = course(vec![part("web", 500, (0..500).map(|n| instance(n, false)).collect())], 1);
        assert!(many.more && many.batches.len() == MOST);
    }

    proptest! {
        #[test]
        fn what_is_told_leads_to_what_is_wanted(count in 0u32..12, old in 0u32..12, surge in 0u32..3, missing in 0u32..3, current in 0u32..6) {
            let instances: Vec<Instance> = (0..old).map(|n| instance(n, n < current)).collect();
            let told = course(vec![Part { wanted: wanted(WorkloadKind::Stateless, surge, missing), ..part("web", count, instances) }], 1);
            let starts: usize = told.batches.iter().map(|b| b.starts.len()).sum();
            let stops: BTreeSet<InstanceId> = told.batches.iter().flat_map(|b| b.stops.iter().copied()).collect();
            prop_assert!(!told.more);
            prop_assert_eq!(i64::from(old) + i64::try_from(starts).unwrap() - i64::try_from(stops.len()).unwrap(), i64::from(count));
            prop_assert!((current..old).all(|n| stops.contains(&id(n))), "every old one goes");
        }
    }
}
