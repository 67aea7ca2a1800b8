//! The part of an application's look about workloads with a schedule: what is due, and when to look again.

use gantry_contract::scheduler::InstanceEvent;
use gantry_kernel::{InstanceId, Name};

use super::advance::{Subject, pause};
use super::place::Steps;
use super::reconcile::Reconciler;
use super::world::World;
use crate::domain::clock::Clock;
use crate::domain::model::{Workload, WorkloadKind};
use crate::domain::observe::Phase;
use crate::domain::runs::{self, Due, Running};
use crate::store::{self, Pending};

impl Reconciler {
    pub(super) async fn run_due(&mut self, subject: &Subject, name: &Name, workload: &Workload, world: &mut World, steps: &mut Steps) -> anyhow::Result<()> {
        let Some((schedule, cron)) = workload.schedule.as_ref().and_then(|s| Some((s, Clock::parse(&s.cron, &s.time_zone).ok()?))) else { return Ok(()) };
        let (app, now) = (subject.view.id, self.s.host.env.now());
        // What was due before the revision came is not made up for.
        let since = self.known.get(&(app, subject.view.current)).map_or(now, |known| known.at);
        let due = match cron.last(now).filter(|at| *at > since) {
            Some(at) => {
                // Counted in the database: among the application's latest, which are at hand, its other workloads may have pushed this run's out.
                let ended = store::ended_since(self.s.orm(), app, name.as_str(), at).await?;
                let of = |phase: &str| ended.get(phase).copied().unwrap_or(0);
                let failed = of("failed").saturating_add(of("lost"));
                let began = store::first_placed(self.s.orm(), app, name.as_str(), at).await?;
                Some(Due { at, began, wanted: workload.replicas.max(1), succeeded: of("completed"), failed })
            }
            None => None,
        };
        let deadline = workload.job.as_ref().map(|j| j.deadline_seconds).filter(|s| *s > 0);
        let of = subject.alive.iter().filter(|i| i.workload == name.as_str());
        let running: Vec<Running> = of
            .map(|i| Running {
                id: InstanceId(i.id),
                index: i.number.unsigned_abs(),
                placed_at: i.placed_at,
                stopping: Phase::parse(&i.phase) == Phase::Stopping,
            })
            .collect();
        let begun = running.iter().map(|i| i.placed_at).chain(due.and_then(|due| due.began));
        let ends = deadline.into_iter().flat_map(|seconds| begun.clone().map(move |at| at + time::Duration::seconds(i64::from(seconds) + 1)));
        if let Some(next) = cron.next(now).into_iter().chain(ends.filter(|at| *at > now)).min() {
            self.runs_at.insert((app, name.clone()), next);
        }
        let next = runs::steps(schedule, &workload.job.clone().unwrap_or_default(), now, due.as_ref(), &running);
        steps.events.extend(next.stop.iter().map(|instance| InstanceEvent::Stopping { instance: *instance, app }));
        if let Some(note) = next.note {
            steps.pending.insert(name.to_string(), Pending::because(0, note));
        }
        // A failed try is repeated after a pause that grows.
        if let Some(reason) = pause(subject, name, WorkloadKind::Job, now).filter(|_| !next.place.is_empty()) {
            steps.pending.insert(name.to_string(), Pending::because(u32::try_from(next.place.len()).unwrap_or(u32::MAX), reason));
            return Ok(());
        }
        for index in next.place {
            self.place(subject, name, workload, index, world, steps).await;
        }
        Ok(())
    }
}
