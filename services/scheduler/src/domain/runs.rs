//! What to do next for a workload with a schedule: start the run that is due, and see to it until it has ended. Pure; called
//! again after every change, as the release planner is.

use gantry_kernel::{InstanceId, OffsetDateTime};

use super::jobs;
use super::model::{Job, Overlap, Schedule};

/// Since when a run is due, and what has become of it so far.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    pub at: OffsetDateTime,
    /// When its first instance was placed, if one was: it may have waited for the run before, or for a scheduler that was away.
    pub began: Option<OffsetDateTime>,
    /// So many instances have to end well.
    pub wanted: u32,
    /// Of this run.
    pub succeeded: u32,
    pub failed: u32,
}

/// An instance that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    pub id: InstanceId,
    pub index: u32,
    pub placed_at: OffsetDateTime,
    pub stopping: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    pub place: Vec<u32>,
    pub stop: Vec<InstanceId>,
    /// Why the run that is due is given up.
    pub note: Option<String>,
}

pub fn steps(schedule: &Schedule, job: &Job, now: OffsetDateTime, due: Option<&Due>, running: &[Running]) -> Steps {
    let passed = |since: OffsetDateTime, seconds: u32| seconds > 0 && now - since > time::Duration::seconds(seconds.into());
    let late = |since: OffsetDateTime| jobs::is_late(job, since, now);
    let ended = |test: &dyn Fn(&Running) -> bool| running.iter().filter(|i| !i.stopping && test(i)).map(|i| i.id).collect::<Vec<_>>();
    // The deadline holds also for runs before the one that is due, for which that may be waiting, and while no more are to begin.
    let mut out = Steps { stop: ended(&|i| late(i.placed_at)), ..Steps::default() };
    let Some(due) = due.filter(|_| !schedule.suspended && !job.suspended) else { return out };
    let (own, earlier): (Vec<&Running>, Vec<&Running>) = running.iter().partition(|i| i.placed_at >= due.at);
    if due.began.is_some_and(late) {
        out.stop = ended(&|i| i.placed_at >= due.at || late(i.placed_at));
        out.note = (!own.is_empty()).then(|| format!("its run of {} took longer than {} s and is ended", due.at, job.deadline_seconds));
        return out;
    }
    let begun = !own.is_empty() || due.succeeded + due.failed > 0;
    if !begun && schedule.start_within_seconds.is_some_and(|seconds| passed(due.at, seconds)) {
        return out;
    }
    match schedule.overlap {
        Overlap::Allow => {}
        Overlap::Forbid if begun || earlier.is_empty() => {}
        // The next one waits until the last one has ended.
        Overlap::Forbid => return out,
        Overlap::Replace => out.stop = ended(&|i| i.placed_at < due.at || late(i.placed_at)),
    }
    if jobs::is_spent(Some(job.retries.unwrap_or(jobs::RETRIES)), due.failed) {
        out.note = Some(format!("its run of {} failed {} times and is given up", due.at, due.failed));
        return out;
    }
    let alive = count(&own);
    let mut missing = due.wanted.saturating_sub(due.succeeded).saturating_sub(alive);
    if job.parallelism > 0 {
        missing = missing.min(job.parallelism.saturating_sub(alive));
    }
    let taken = |index: u32| running.iter().any(|i| i.index == index);
    out.place = (0..).filter(|index| !taken(*index)).take(missing as usize).collect();
    out
}

fn count(of: &[&Running]) -> u32 {
    u32::try_from(of.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Uuid;
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    const AT: OffsetDateTime = datetime!(2026-11-29 12:00 UTC);

    fn due(succeeded: u32, failed: u32) -> Due {
        Due { at: AT, began: None, wanted: 2, succeeded, failed }
    }

    /// Half a minute after it was due.
    fn at_once(schedule: &Schedule, job: &Job, due: Option<&Due>, running: &[Running]) -> Steps {
        steps(schedule, job, AT + Duration::seconds(30), due, running)
    }

    fn running(n: u32, seconds: i64) -> Running {
        Running { id: InstanceId(Uuid::from_u128(n.into())), index: n, placed_at: AT + Duration::seconds(seconds), stopping: false }
    }

    fn plain(due: &Due, running: &[Running]) -> Steps {
        at_once(&Schedule::default(), &Job::default(), Some(due), running)
    }

    #[test]
    fn a_run_is_started_once_and_completed() {
        assert_eq!(plain(&due(0, 0), &[]).place, [0, 1]);
        assert_eq!(plain(&due(0, 0), &[running(0, 1), running(1, 1)]), Steps::default());
        assert_eq!(plain(&due(1, 1), &[]).place, [0], "one ended well, one is tried again");
        assert_eq!(plain(&due(2, 0), &[]), Steps::default());
        assert_eq!(at_once(&Schedule::default(), &Job::default(), None, &[running(0, -60)]), Steps::default(), "nothing is due, what runs goes on");
    }

    #[test]
    fn a_run_that_has_not_ended_is_joined_waited_for_or_replaced() {
        let earlier = [running(0, -60)];
        let with = |overlap| at_once(&Schedule { overlap, ..Schedule::default() }, &Job::default(), Some(&due(0, 0)), &earlier);
        assert_eq!((with(Overlap::Allow).place, with(Overlap::Allow).stop), (vec![1, 2], vec![]));
        assert_eq!(with(Overlap::Forbid), Steps::default());
        assert_eq!((with(Overlap::Replace).place, with(Overlap::Replace).stop), (vec![1, 2], vec![earlier[0].id]));
    }

    #[test]
    fn too_late_too_often_and_too_long_are_ends() {
        let late = Schedule { start_within_seconds: Some(10), ..Schedule::default() };
        assert_eq!(at_once(&late, &Job::default(), Some(&due(0, 0)), &[]), Steps::default());
        assert_eq!(at_once(&late, &Job::default(), Some(&due(0, 1)), &[]).place, [0, 1], "it has begun in time");
        assert!(plain(&due(0, 7), &[]).place.is_empty() && plain(&due(0, 7), &[]).note.is_some());
        let job = Job { deadline_seconds: 20, ..Job::default() };
        let begun = Due { began: Some(AT + Duration::seconds(1)), ..due(0, 0) };
        assert_eq!(at_once(&Schedule::default(), &job, Some(&begun), &[running(0, 1)]).stop, [running(0, 1).id]);
        assert_eq!(at_once(&Schedule::default(), &job, Some(&begun), &[]), Steps::default(), "and it is not tried again");
        let one = Job { parallelism: 1, ..Job::default() };
        assert_eq!(at_once(&Schedule::default(), &one, Some(&due(0, 0)), &[]).place, [0]);
        let suspended = Schedule { suspended: true, ..Schedule::default() };
        assert_eq!(at_once(&suspended, &Job::default(), Some(&due(0, 0)), &[]), Steps::default());
    }

    #[test]
    fn a_run_that_begins_late_has_as_much_time_as_any_other() {
        let job = Job { deadline_seconds: 60, ..Job::default() };
        let later = AT + Duration::hours(1);
        assert_eq!(steps(&Schedule::default(), &job, later, Some(&due(0, 0)), &[]).place, [0, 1], "nobody was there to start it before");
        let begun = Due { began: Some(later), ..due(0, 0) };
        let alive = [running(0, 3_600), running(1, 3_600)];
        assert_eq!(steps(&Schedule::default(), &job, later + Duration::seconds(60), Some(&begun), &alive), Steps::default());
        assert_eq!(steps(&Schedule::default(), &job, later + Duration::seconds(61), Some(&begun), &alive).stop.len(), 2);
    }

    #[test]
    fn a_run_that_hangs_is_ended_also_when_the_next_one_is_due() {
        let job = Job { deadline_seconds: 80, ..Job::default() };
        let hangs = [running(0, -60), running(1, -20)];
        for overlap in [Overlap::Allow, Overlap::Forbid, Overlap::Replace] {
            let found = at_once(&Schedule { overlap, ..Schedule::default() }, &job, Some(&due(0, 0)), &hangs);
            assert!(found.stop.contains(&hangs[0].id), "{overlap:?}: what is to come would wait for it for ever");
            assert_eq!(found.stop.contains(&hangs[1].id), overlap == Overlap::Replace, "{overlap:?}");
        }
        let suspended = Schedule { suspended: true, ..Schedule::default() };
        assert_eq!(at_once(&suspended, &job, Some(&due(0, 0)), &hangs).stop, [hangs[0].id]);
        assert_eq!(at_once(&Schedule::default(), &job, None, &hangs).stop, [hangs[0].id], "nothing is due since the last revision");
        let going = [Running { stopping: true, ..hangs[0] }];
        assert_eq!(at_once(&suspended, &job, None, &going), Steps::default(), "it is told once");
    }
}
