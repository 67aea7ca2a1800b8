//! What to do next for one workload so that its instances become what is wanted: the rolling planner. Pure: called again
//! after every change, it always gives the next steps and needs no memory. Of a blue-green or canary release (`rollout`) each
//! of the two sets is kept by it.

use std::collections::HashSet;
use std::time::Duration;

use gantry_kernel::InstanceId;

use super::model::{Update, WorkloadKind};

/// What is wanted of a workload now.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub kind: WorkloadKind,
    /// 0 when stopped or deleted.
    pub count: u32,
    pub update: Update,
    /// Jobs: how many have already ended well.
    pub completed: u32,
    /// Too soon after a failure, or something it depends on is not there yet: place nothing now.
    pub hold: bool,
    /// Its budget: so many stay ready while nodes are emptied.
    pub keep: Option<u32>,
    /// Jobs: so many run at once; 0: all.
    pub at_once: u32,
}

impl Wanted {
    /// How many shall be there: of a job, those that have not ended well yet.
    pub fn target(&self) -> u32 {
        match self.kind {
            WorkloadKind::Job => self.count.saturating_sub(self.completed),
            WorkloadKind::Stateless | WorkloadKind::Stateful | WorkloadKind::Global | WorkloadKind::CronJob => self.count,
        }
    }
}

/// An instance that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    pub id: InstanceId,
    pub index: u32,
    /// Of the wanted revision, and placed after the last restart.
    pub current: bool,
    /// Ready, and in rotation wherever it is balanced.
    pub available: bool,
    /// Told to stop already.
    pub stopping: bool,
    /// Its node shall be emptied.
    pub displaced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Place { index: u32 },
    Stop { instance: InstanceId },
}

impl Action {
    /// Whom it stops.
    fn stops(&self) -> Option<InstanceId> {
        match self {
            Self::Stop { instance } => Some(*instance),
            Self::Place { .. } => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// Everything is as wanted: the right number, all current and available, no old one left.
    pub settled: bool,
    /// So many would have to leave their node, and their budget does not let them.
    pub held: u32,
}

/// The next steps. Never takes the number of available instances below `count - max_unavailable` by itself, and never has
/// more than `count + surge` alive by placing.
pub fn plan(wanted: &Wanted, instances: &[Instance]) -> Plan {
    let alive: Vec<&Instance> = instances.iter().filter(|i| !i.stopping).collect();
    // An instance on a node that is being emptied is replaced like one of an old revision.
    let (current, old): (Vec<&Instance>, Vec<&Instance>) = alive.iter().partition(|i| i.current && !i.displaced);
    let target = wanted.target();
    let (mut actions, held) = stops(wanted, target, &current, &old);
    let stopped: HashSet<InstanceId> = actions.iter().filter_map(Action::stops).collect();
    let placed = if wanted.hold { Vec::new() } else { places(wanted, target, instances, &current, &old) };
    let kept: Vec<_> = alive.iter().filter(|i| !stopped.contains(&i.id)).collect();
    let settled = actions.is_empty() && placed.is_empty() && old.is_empty() && count(&current) == target && {
        wanted.kind == WorkloadKind::Job && target == 0 || wanted.kind != WorkloadKind::Job && kept.iter().all(|i| i.available)
    };
    actions.extend(placed.into_iter().map(|index| Action::Place { index }));
    Plan { actions, settled, held }
}

/// Has a release that is not settled had no progress for too long?
pub fn overdue(update: &Update, since_progress: Duration) -> bool {
    since_progress > Duration::from_secs(update.progress_deadline_seconds.into())
}

/// Surge and unavailability that this kind of workload allows.
fn room(wanted: &Wanted) -> (u32, u32) {
    match wanted.kind {
        // Two of one number, or two on one node, would share a volume or a port.
        WorkloadKind::Stateful | WorkloadKind::Global => (0, wanted.update.max_unavailable.max(1)),
        WorkloadKind::Stateless | WorkloadKind::Job | WorkloadKind::CronJob if wanted.update.surge == 0 && wanted.update.max_unavailable == 0 => (1, 0),
        WorkloadKind::Stateless | WorkloadKind::Job | WorkloadKind::CronJob => (wanted.update.surge, wanted.update.max_unavailable),
    }
}

/// Who goes now, and how many their budget keeps.
fn stops(wanted: &Wanted, target: u32, current: &[&Instance], old: &[&Instance]) -> (Vec<Action>, u32) {
    let (_, may_miss) = room(wanted);
    let available = count_if(current, |i| i.available) + count_if(old, |i| i.available);
    let floor = target.saturating_sub(may_miss);
    let mut spare = available.saturating_sub(floor);
    let (mut out, mut held) = (Vec::new(), 0);
    let mut ready = available;
    // Old ones that serve nobody go first and cost nothing, but a stateful workload replaces one at a time, from the last.
    let mut leaving: Vec<&Instance> = old.to_vec();
    leaving.sort_by_key(|i| (i.available, std::cmp::Reverse(i.index), i.id));
    let mut at_once = if wanted.kind == WorkloadKind::Stateful && target > 0 {
        may_miss.saturating_sub(target.saturating_sub(available).min(may_miss)).max(u32::from(leaving.first().is_some_and(|i| !i.available)))
    } else {
        u32::MAX
    };
    for instance in leaving {
        if at_once == 0 {
            break;
        }
        if instance.available {
            // It goes on elsewhere under its number: until that one is ready, this is what there is of it.
            if instance.displaced && target > 0 && current.iter().any(|i| i.index == instance.index && !i.available) {
                continue;
            }
            if spare == 0 {
                break;
            }
            // Without a target nothing is to be kept: it is stopped or deleted.
            if instance.displaced && instance.current && target > 0 && wanted.keep.is_some_and(|keep| ready <= keep) {
                held += 1;
                continue;
            }
            spare -= 1;
            ready -= 1;
        }
        at_once -= 1;
        out.push(Action::Stop { instance: instance.id });
    }
    // Too many: unavailable ones first, then the highest numbers.
    let mut extra: Vec<&Instance> = current.to_vec();
    extra.sort_by_key(|i| (i.available, std::cmp::Reverse(i.index), i.id));
    for instance in extra.iter().take(current.len().saturating_sub(usize::try_from(target).unwrap_or(usize::MAX))) {
        if instance.available {
            if spare == 0 {
                break;
            }
            spare -= 1;
        }
        out.push(Action::Stop { instance: instance.id });
    }
    (out, held)
}

fn places(wanted: &Wanted, target: u32, instances: &[Instance], current: &[&Instance], old: &[&Instance]) -> Vec<u32> {
    let (surge, _) = room(wanted);
    let mut missing = target.saturating_sub(count(current));
    if wanted.kind == WorkloadKind::Job && wanted.at_once > 0 {
        missing = missing.min(wanted.at_once.saturating_sub(count(current)));
    }
    let ceiling = target.saturating_add(surge);
    // Without surge not even one that is going away may stand beside its successor: they may share a volume.
    let going = if surge == 0 { instances.iter().filter(|i| i.stopping).count() } else { 0 };
    let standing = count(current) + count(old) + u32::try_from(going).unwrap_or(u32::MAX);
    let mut free = ceiling.saturating_sub(standing).min(missing);
    // Numbers of instances that still exist in any way are taken.
    let taken: HashSet<u32> = instances.iter().map(|i| i.index).collect();
    let mut out = Vec::new();
    let mut index = 0;
    while free > 0 {
        if wanted.kind == WorkloadKind::Stateful {
            if index >= target {
                break;
            }
            // In order, unless it says otherwise: each waits until all lower numbers are available.
            match instances.iter().find(|i| i.index == index) {
                Some(lower) if wanted.update.parallel || lower.available && !lower.stopping => {}
                Some(_) => break,
                None => {
                    out.push(index);
                    free -= 1;
                    if !wanted.update.parallel {
                        break;
                    }
                }
            }
        } else if !taken.contains(&index) {
            out.push(index);
            free -= 1;
        }
        index += 1;
    }
    out
}

fn count(instances: &[&Instance]) -> u32 {
    u32::try_from(instances.len()).unwrap_or(u32::MAX)
}

fn count_if(instances: &[&Instance], test: impl Fn(&Instance) -> bool) -> u32 {
    u32::try_from(instances.iter().filter(|i| test(i)).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
