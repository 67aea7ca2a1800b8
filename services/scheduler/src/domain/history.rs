//! Which ended instances of jobs and of the runs of schedules are still listed. They are only told no more: what was done is recorded, and a job
//! that is done stays so. Pure; asked whenever somebody looks.

use std::collections::BTreeMap;

use gantry_kernel::OffsetDateTime;

use super::clock::Clock;
use super::jobs;
use super::model::{Schedule, Workload};

/// An ended instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub placed_at: OffsetDateTime,
    pub at: OffsetDateTime,
    pub end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Well,
    /// By itself, or with its node.
    Failed,
    /// It was told to stop.
    Stopped,
}

/// What is known of one run of a schedule.
#[derive(Default)]
struct Run {
    well: u32,
    failed: u32,
    /// When the last of it ended.
    at: Option<OffsetDateTime>,
}

/// Is an ended job still listed? `last`: when the last of it ended.
pub fn has_job(workload: &Workload, is_over: bool, last: OffsetDateTime, now: OffsetDateTime) -> bool {
    !is_over || !is_past(workload, last, now)
}

/// Those of the `ended` instances of a schedule's runs that are still listed. `alive`: when those were placed that have not ended.
pub fn of_runs(workload: &Workload, schedule: &Schedule, ended: &[Ended], alive: &[OffsetDateTime], now: OffsetDateTime) -> Vec<bool> {
    // What cannot be read any more has no runs that could be told apart.
    let Ok(clock) = Clock::parse(&schedule.cron, &schedule.time_zone) else { return vec![true; ended.len()] };
    let mut runs: BTreeMap<OffsetDateTime, Run> = BTreeMap::new();
    let due: Vec<OffsetDateTime> = ended.iter().map(|i| clock.last(i.placed_at).unwrap_or(i.placed_at)).collect();
    for (at, one) in due.iter().zip(ended) {
        let run = runs.entry(*at).or_default();
        run.well += u32::from(one.end == End::Well);
        run.failed += u32::from(one.end == End::Failed);
        run.at = run.at.max(Some(one.at));
    }
    let under_way: Vec<OffsetDateTime> = alive.iter().filter_map(|at| clock.last(*at)).collect();
    let present = clock.last(now);
    let (mut succeeded, mut failed) = (0_u32, 0_u32);
    let mut shown = BTreeMap::new();
    for (at, run) in runs.iter().rev() {
        let is_well = run.well >= workload.replicas.max(1);
        // One that failed may be tried again until the next is due.
        let goes_on = under_way.contains(at) || (Some(*at) == present && !is_well && !jobs::is_spent(jobs::retries(workload), run.failed));
        if goes_on {
            shown.insert(*at, true);
            continue;
        }
        let (count, most) = if is_well { (&mut succeeded, schedule.keep_succeeded) } else { (&mut failed, schedule.keep_failed) };
        *count += 1;
        shown.insert(*at, most.is_none_or(|most| *count <= most) && run.at.is_none_or(|last| !is_past(workload, last, now)));
    }
    due.iter().map(|at| shown.get(at).copied().unwrap_or(true)).collect()
}

fn is_past(workload: &Workload, last: OffsetDateTime, now: OffsetDateTime) -> bool {
    let keep = workload.job.as_ref().and_then(|job| job.keep_seconds);
    keep.is_some_and(|seconds| now - last > time::Duration::seconds(seconds.into()))
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;
    use crate::domain::model::{Job, WorkloadKind};

    const NOON: OffsetDateTime = datetime!(2026-11-29 12:00 UTC);

    fn workload(keep_seconds: Option<u32>) -> Workload {
        Workload { kind: WorkloadKind::CronJob, job: Some(Job { keep_seconds, ..Job::default() }), ..Workload::default() }
    }

    /// Placed when a run was due so many minutes after noon, and ended ten seconds later.
    fn ended(minute: i64, end: End) -> Ended {
        let placed_at = NOON + Duration::minutes(minute) + Duration::seconds(1);
        Ended { placed_at, at: placed_at + Duration::seconds(10), end }
    }

    fn listed(schedule: &Schedule, keep_seconds: Option<u32>, all: &[Ended], alive: &[OffsetDateTime], minute: i64) -> Vec<bool> {
        of_runs(&workload(keep_seconds), schedule, all, alive, NOON + Duration::minutes(minute) + Duration::seconds(30))
    }

    fn minutely(keep_succeeded: Option<u32>, keep_failed: Option<u32>) -> Schedule {
        Schedule { cron: "* * * * *".into(), keep_succeeded, keep_failed, ..Schedule::default() }
    }

    #[test]
    fn as_many_runs_are_listed_as_the_schedule_keeps() {
        let all = [ended(0, End::Well), ended(1, End::Failed), ended(1, End::Well), ended(2, End::Failed), ended(3, End::Well), ended(4, End::Failed)];
        assert_eq!(listed(&minutely(None, None), None, &all, &[], 9), [true; 6]);
        // The run of the first minute failed once and ended well in the end.
        assert_eq!(listed(&minutely(Some(2), Some(1)), None, &all, &[], 9), [false, true, true, false, true, true]);
        assert_eq!(listed(&minutely(Some(0), Some(0)), None, &all, &[], 9), [false; 6]);
        assert_eq!(listed(&Schedule { cron: "never".into(), ..minutely(Some(0), Some(0)) }, None, &all, &[], 9), [true; 6]);
    }

    #[test]
    fn a_run_that_has_not_ended_is_listed_whole() {
        let all = [ended(3, End::Failed), ended(4, End::Failed)];
        let none = minutely(Some(0), Some(0));
        assert_eq!(listed(&none, None, &all, &[], 4), [false, true], "it may be tried again");
        assert_eq!(listed(&none, None, &all, &[ended(3, End::Well).placed_at], 9), [true, false], "the earlier one still runs");
    }

    #[test]
    fn what_has_ended_is_listed_as_long_as_it_says() {
        let all = [ended(0, End::Well), ended(1, End::Stopped)];
        assert_eq!(listed(&minutely(None, None), Some(100), &all, &[], 2), [false, true]);
        let (kept, last) = (workload(Some(60)), NOON);
        assert!(has_job(&kept, true, last, NOON + Duration::seconds(60)) && !has_job(&kept, true, last, NOON + Duration::seconds(61)));
        assert!(has_job(&kept, false, last, NOON + Duration::hours(1)), "it is tried again");
        assert!(has_job(&workload(None), true, last, NOON + Duration::hours(1)));
    }
}
