//! Steps under way: how one is begun, and what follows from its end.

use super::words::{kind, name};
use super::{Finished, Keeper, LAST_STEP};
use crate::app::steps::StepError;
use crate::domain::acts::Act;
use crate::domain::plan::Action;
use crate::domain::restart::delay_ms;
use crate::domain::wanted::Wanted;

impl Keeper {
    pub(super) fn begin(&mut self, action: Action, wanted: &Wanted) {
        let id = action.instance();
        let instance = wanted.instances.get(&id).cloned();
        let names = instance.as_ref().map(|i| self.balancer.names(wanted, i, &self.shared.elsewhere.borrow())).unwrap_or_default();
        self.facts.busy.insert(id);
        match &action {
            Action::Create { attempt, .. } | Action::Start { attempt, .. } => drop(self.facts.attempts.insert(id, *attempt)),
            Action::Stop { .. } | Action::Beside { .. } | Action::StopBeside { .. } | Action::Remove { .. } => {}
        }
        let (steps, done, cancel, shared) = (self.steps.clone(), self.finished.0.clone(), self.cancel.clone(), self.shared.clone());
        self.tracker.spawn(async move {
            let step = async {
                shared.until_saved(instance.as_ref().is_some_and(|i| i.fenced)).await;
                steps.take(action.clone(), instance, names).await
            };
            let late = async {
                cancel.cancelled().await;
                tokio::time::sleep(LAST_STEP).await;
            };
            let result = tokio::select! {
                result = step => result,
                () = late => return,
            };
            // Only fails when the keeper has ended, and then nobody needs it.
            let _ = done.send((action, result));
        });
    }

    pub(super) fn take_in(&mut self, (action, result): Finished) {
        let id = action.instance();
        self.facts.busy.remove(&id);
        // What the engine had before is not what it has now: it would be made a second time.
        self.seen = None;
        // The step may have begun with an older word.
        self.refreshed.remove(&id);
        self.hosts.remove(&id);
        let wanted = self.shared.wanted.borrow().as_ref().and_then(|w| w.instances.get(&id).cloned());
        let failure = result.as_ref().err().map(StepError::sentence);
        self.shared.acts.record(Act::of_instance(kind(&action), id, wanted.as_ref(), failure));
        let memory = self.memory.entry(id).or_default();
        match result {
            Ok(done) => {
                memory.failure.clear();
                if let Some(address) = done.address {
                    memory.address = address;
                }
                if let Some(digest) = done.image_digest {
                    memory.image_digest = digest;
                }
                if matches!(action, Action::Create { .. } | Action::Start { .. }) {
                    self.failures.remove(&id);
                    self.facts.not_before_ms.remove(&id);
                }
                tracing::info!(instance.id = %id, action = name(&action), "instance step done");
                if matches!(action, Action::Stop { .. } | Action::Remove { .. }) {
                    self.pause_if_evicted(id);
                }
            }
            // Nothing has failed. Told as a failure, it would be the instance's end, and when it may run again it would have to wait.
            Err(refusal @ (StepError::Unwanted | StepError::Fenced)) => {
                tracing::info!(instance.id = %id, action = name(&action), reason = %refusal, "instance step refused");
            }
            Err(error) => {
                memory.failure = error.sentence();
                let failures = self.failures.entry(id).or_default();
                *failures += 1;
                let again = delay_ms(*failures + 1);
                tracing::warn!(instance.id = %id, action = name(&action), error = %memory.failure, again_ms = again, "instance step failed");
                let now = self.now_ms();
                self.facts.not_before_ms.insert(id, now + again);
            }
        }
    }
}
