//! Whether a job goes on: what its tries have come to, and when that is the end of it. Jobs and the runs of schedules (`runs`) have the same
//! limits. Pure; called again after every change.

use std::collections::HashSet;

use gantry_kernel::OffsetDateTime;

use super::model::{Job, Workload, WorkloadKind};

/// After so many failures a run of a schedule is given up, if the document says nothing (as Kubernetes does).
pub const RETRIES: u32 = 6;

/// What has become of a job's tries: of one revision, since its last restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// When the first was placed, if one was: it may have waited for something before.
    pub began: Option<OffsetDateTime>,
    /// Also those that were lost with their node.
    pub failed: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    GoesOn,
    /// The document says that nothing of it runs for now.
    Held,
    /// It has failed, and why: nothing of it runs any more.
    GivenUp(String),
}

/// What [`Turn::GivenUp`] says ends so.
const GIVEN_UP: &str = "and is given up";

/// How often it is tried again after failures; none: until it ends well. Each try is an instance of its own then.
pub fn retries(workload: &Workload) -> Option<u32> {
    let said = workload.job.as_ref().and_then(|job| job.retries);
    match workload.kind {
        WorkloadKind::Job => said.or(workload.restart_attempts),
        WorkloadKind::CronJob => Some(said.unwrap_or(RETRIES)),
        WorkloadKind::Stateless | WorkloadKind::Stateful | WorkloadKind::Global => None,
    }
}

/// Has it failed more often than it is tried again?
pub fn is_spent(retries: Option<u32>, failed: u32) -> bool {
    retries.is_some_and(|most| failed > most)
}

/// Does it take longer than it may, when it began then?
pub fn is_late(job: &Job, began: OffsetDateTime, now: OffsetDateTime) -> bool {
    job.deadline_seconds > 0 && now - began > time::Duration::seconds(job.deadline_seconds.into())
}

/// Does it depend on its tries whether it goes on?
pub fn is_limited(workload: &Workload) -> bool {
    workload.kind == WorkloadKind::Job && (retries(workload).is_some() || workload.job.as_ref().is_some_and(|job| job.deadline_seconds > 0))
}

pub fn is_suspended(workload: &Workload) -> bool {
    workload.kind == WorkloadKind::Job && workload.job.as_ref().is_some_and(|job| job.suspended)
}

/// Does each number of it have to end well once?
pub fn is_indexed(workload: &Workload) -> bool {
    workload.kind == WorkloadKind::Job && workload.job.as_ref().is_some_and(|job| job.indexed)
}

/// The number of an indexed job's next instance, of so many. `taken`: those that have ended well, and those of instances that have not ended.
/// None: it waits for one of these.
pub fn next_number(count: u32, taken: &HashSet<u32>) -> Option<u32> {
    (0..count).find(|number| !taken.contains(number))
}

/// Of a workload of which `wanted` instances shall end well and `completed` have. What is no job goes on.
pub fn turn(workload: &Workload, wanted: u32, completed: u32, tries: &Tries, now: OffsetDateTime) -> Turn {
    if workload.kind != WorkloadKind::Job || completed >= wanted {
        return Turn::GoesOn;
    }
    if is_suspended(workload) {
        return Turn::Held;
    }
    if is_spent(retries(workload), tries.failed) {
        let times = if tries.failed == 1 { "once".to_owned() } else { format!("{} times", tries.failed) };
        return Turn::GivenUp(format!("failed {times} {GIVEN_UP}"));
    }
    match &workload.job {
        Some(job) if tries.began.is_some_and(|began| is_late(job, began, now)) => {
            Turn::GivenUp(format!("took longer than {} s {GIVEN_UP}", job.deadline_seconds))
        }
        Some(_) | None => Turn::GoesOn,
    }
}

/// Is this what is told of a job that was given up? What workloads wait for is kept in words only.
pub fn is_end(reason: &str) -> bool {
    reason.ends_with(GIVEN_UP)
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    const AT: OffsetDateTime = datetime!(2026-11-29 12:00 UTC);

    fn of(kind: WorkloadKind, job: Job) -> Workload {
        Workload { kind, replicas: 2, job: Some(job), ..Workload::default() }
    }

    fn after(job: Job, completed: u32, failed: u32, seconds: i64) -> Turn {
        turn(&of(WorkloadKind::Job, job), 2, completed, &Tries { began: Some(AT), failed }, AT + Duration::seconds(seconds))
    }

    #[test]
    fn a_job_is_tried_again_as_often_as_it_says() {
        let twice = || Job { retries: Some(2), ..Job::default() };
        assert_eq!(after(twice(), 0, 2, 0), Turn::GoesOn, "the third try");
        assert_eq!(after(twice(), 1, 3, 0), Turn::GivenUp("failed 3 times and is given up".into()));
        assert_eq!(after(twice(), 2, 3, 0), Turn::GoesOn, "all have ended well");
        assert_eq!(after(Job { retries: Some(0), ..Job::default() }, 0, 1, 0), Turn::GivenUp("failed once and is given up".into()));
        assert_eq!(after(Job::default(), 0, 1000, 0), Turn::GoesOn, "it says nothing");
        let attempts = Workload { restart_attempts: Some(1), job: None, ..of(WorkloadKind::Job, Job::default()) };
        assert!(matches!(turn(&attempts, 1, 0, &Tries { began: None, failed: 2 }, AT), Turn::GivenUp(_)), "Compose says it so");
        assert!(is_limited(&attempts) && !is_limited(&of(WorkloadKind::Job, Job::default())));
    }

    #[test]
    fn a_job_has_its_time_from_its_first_instance_on() {
        let minute = || Job { deadline_seconds: 60, ..Job::default() };
        assert_eq!(after(minute(), 0, 5, 60), Turn::GoesOn);
        let ended = after(minute(), 1, 0, 61);
        assert_eq!(ended, Turn::GivenUp("took longer than 60 s and is given up".into()));
        assert!(matches!(ended, Turn::GivenUp(why) if is_end(&why)) && !is_end("waits until `migrate` has completed"));
        let unstarted = turn(&of(WorkloadKind::Job, minute()), 2, 0, &Tries::default(), AT);
        assert_eq!(unstarted, Turn::GoesOn, "what waits for others has not begun");
    }

    #[test]
    fn each_number_of_an_indexed_job_ends_well_once() {
        assert_eq!(next_number(3, &HashSet::from([0, 2])), Some(1));
        assert_eq!(next_number(2, &HashSet::from([0, 1])), None, "an old one still has its number");
        let indexed = || Job { indexed: true, ..Job::default() };
        assert!(is_indexed(&of(WorkloadKind::Job, indexed())) && !is_indexed(&of(WorkloadKind::Stateless, indexed())));
    }

    #[test]
    fn a_job_is_held_back_and_what_is_no_job_has_no_end() {
        let held = Job { suspended: true, retries: Some(0), ..Job::default() };
        assert_eq!(after(held.clone(), 0, 1, 0), Turn::Held);
        assert_eq!(after(held.clone(), 2, 0, 0), Turn::GoesOn);
        assert_eq!(turn(&of(WorkloadKind::Stateless, held), 2, 0, &Tries { began: Some(AT), failed: 9 }, AT), Turn::GoesOn);
        assert_eq!(retries(&of(WorkloadKind::CronJob, Job::default())), Some(6));
    }
}
