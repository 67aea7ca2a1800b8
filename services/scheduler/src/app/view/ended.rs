//! What is told of an application's jobs and of instances that have ended.

use std::collections::BTreeMap;

use gantry_kernel::OffsetDateTime;

use super::{Seeing, sentence};
use crate::app::change::scaled;
use crate::app::standing;
use crate::domain::history::{End, Ended, has_job, of_runs};
use crate::domain::jobs;
use crate::domain::model::{Workload, WorkloadKind};
use crate::domain::observe::Phase;
use crate::store;

impl Seeing {
    /// Without those of jobs and runs that are not kept any longer.
    pub(super) fn listed(&self, ended: Vec<store::instance::Model>) -> Vec<store::instance::Model> {
        let mut hidden = Vec::new();
        for (name, workload) in &self.outline.workloads {
            let own: Vec<&store::instance::Model> = ended.iter().filter(|i| i.workload == name.as_str()).collect();
            match (workload.kind, &workload.schedule) {
                (WorkloadKind::Job, _) => {
                    let alive = self.alive.iter().any(|i| i.workload == name.as_str());
                    let count = workload.count(scaled(&self.row).get(name).copied(), 0);
                    let given_up = self.pending.get(name.as_str()).is_some_and(|(pending, _)| jobs::is_end(&pending.reason));
                    let done = standing::completed(&self.row, &ended, name) >= count;
                    hidden.extend(self.hidden_tries(workload, &own, !alive && (done || given_up)));
                }
                (WorkloadKind::CronJob, Some(schedule)) => {
                    let alive: Vec<OffsetDateTime> = self.alive.iter().filter(|i| i.workload == name.as_str()).map(|i| i.placed_at).collect();
                    let all: Vec<Ended> = own.iter().map(|i| seen(i)).collect();
                    let shown = of_runs(workload, schedule, &all, &alive, self.now);
                    hidden.extend(own.iter().zip(shown).filter(|(_, shown)| !shown).map(|(i, _)| i.id));
                }
                _ => {}
            }
        }
        ended.into_iter().filter(|i| !hidden.contains(&i.id)).collect()
    }

    /// The first job that has failed for good.
    pub(super) fn given_up(&self) -> Option<String> {
        self.outline.workloads.iter().filter(|(_, w)| w.kind == WorkloadKind::Job).find_map(|(name, _)| {
            let (pending, _) = self.pending.get(name.as_str())?;
            jobs::is_end(&pending.reason).then(|| sentence(name.as_str(), pending))
        })
    }

    /// A job's tries of one revision go together. Those of revisions before are over.
    fn hidden_tries(&self, workload: &Workload, own: &[&store::instance::Model], is_over: bool) -> Vec<gantry_kernel::Uuid> {
        let mut last: BTreeMap<i64, OffsetDateTime> = BTreeMap::new();
        for one in own {
            let at = last.entry(one.revision).or_insert(one.changed_at);
            *at = one.ended_at.unwrap_or(one.changed_at).max(*at);
        }
        let shown = |revision: i64| last.get(&revision).is_none_or(|at| has_job(workload, is_over || revision != self.row.current, *at, self.now));
        own.iter().filter(|i| !shown(i.revision)).map(|i| i.id).collect()
    }
}

fn seen(row: &store::instance::Model) -> Ended {
    let end = match Phase::parse(&row.phase) {
        Phase::Completed => End::Well,
        Phase::Failed | Phase::Lost => End::Failed,
        Phase::Placed | Phase::Running | Phase::Unhealthy | Phase::Stopping | Phase::Stopped => End::Stopped,
    };
    Ended { placed_at: row.placed_at, at: row.ended_at.unwrap_or(row.changed_at), end }
}
