//! The part of an application's look about instances that stay with an earlier revision: those below a stateful workload's partition have it
//! again when they are made anew.

use std::collections::BTreeMap;

use gantry_kernel::Name;

use super::advance::{Subject, pause};
use super::place::Steps;
use super::reconcile::Reconciler;
use super::world::World;
use crate::domain::model::Workload;
use crate::store::{self, Pending};

/// The revision with which the instance of this number comes, if that is not the one at work: the one that it had last.
pub(super) fn earlier(subject: &Subject, name: &Name, workload: &Workload, index: u32) -> Option<u64> {
    if !workload.is_partitioned(index) {
        return None;
    }
    let own = |i: &&store::instance::Model| i.workload == name.as_str() && i.number.unsigned_abs() == index;
    let last = subject.alive.iter().chain(&subject.ended).filter(own).max_by_key(|i| i.position)?;
    (last.revision != subject.row.current).then(|| last.revision.unsigned_abs())
}

impl Reconciler {
    /// Places one as if `revision` was at work.
    pub(super) async fn place_earlier(&mut self, subject: &Subject, name: &Name, revision: u64, index: u32, world: &mut World, steps: &mut Steps) {
        let app = subject.view.id;
        let found = self.s.models.get(&self.s.host, app, revision).await;
        let read = match found {
            Ok(model) => self.know(app, revision).await.map(|()| model),
            Err(error) => Err(error),
        };
        let model = match read {
            Ok(model) => model,
            Err(error) => {
                tracing::warn!(app.id = %app, revision, error = format!("{error:#}"), "an instance that stays with an earlier revision cannot be made anew");
                let reason = format!("number {index} stays with revision {revision}, which cannot be read now");
                steps.pending.insert(name.to_string(), Pending::because(1, reason));
                return;
            }
        };
        let (mut row, mut view) = (subject.row.clone(), subject.view.clone());
        (row.current, view.current) = (i64::try_from(revision).unwrap_or(i64::MAX), revision);
        let before = Subject { row, view, alive: subject.alive.clone(), ended: subject.ended.clone(), tries: BTreeMap::new(), model };
        // It ran with this revision, so that has the workload.
        if let Some(workload) = before.model.workloads.get(name) {
            if let Some(reason) = pause(&before, name, workload.kind, self.s.host.env.now()) {
                steps.pending.insert(name.to_string(), Pending::because(1, reason));
                return;
            }
            self.place(&before, name, workload, index, world, steps).await;
        }
    }
}
