//! What is kept here for instances that are no more is let go, also when their removal was not this agent's, or was nobody's: a pod that
//! was taken away by hand leaves its folder, and volumes that are mounted.

use std::collections::BTreeSet;
use std::time::Duration;

use gantry_kernel::InstanceId;
use tokio::time::Instant;

use super::{Keeper, chain};
use crate::domain::actual::Pod;
use crate::domain::wanted::Wanted;

/// Interfaces that could not be taken away are tried again after this.
const INTERFACES_AGAIN: Duration = Duration::from_secs(30);
/// It is looked this often also where nothing has changed: what was busy, or hung, may be let go by now.
const LOOKED_FOR: Duration = Duration::from_secs(60);

impl Keeper {
    /// At the start, whenever other instances are there than before, and from time to time.
    pub(super) async fn let_go_of_others(&mut self, wanted: &Wanted, pods: &[Pod]) {
        let pods = pods.iter().map(|p| p.instance);
        // A step under way lets go by itself.
        let mut there: BTreeSet<InstanceId> = wanted.instances.keys().copied().chain(pods).chain(self.facts.busy.iter().copied()).collect();
        // Whatever is kept from running for now.
        there.extend(self.shared.wanted.borrow().iter().flat_map(|w| w.instances.keys().copied()));
        if self.kept_for.as_ref().is_some_and(|(kept_for, at)| *kept_for == there && at.elapsed() < LOOKED_FOR) {
            return;
        }
        // Also without a pod: one that was to go on here, and never did.
        for id in self.kept_for.iter().flat_map(|(kept_for, _)| kept_for).filter(|id| !there.contains(*id)) {
            self.steps.checkpoints.forget(*id).await;
        }
        self.steps.folders.forget_others(&there).await;
        let held = self.shared.held.borrow().clone();
        let left: Vec<InstanceId> = self.steps.folders.present().await.into_iter().filter(|id| !there.contains(id) && !held.contains(id)).collect();
        if !left.is_empty() {
            self.clear_beside(left);
        }
        self.kept_for = Some((there, Instant::now()));
    }

    /// Interfaces of pods that somebody else took away, or that could not be taken away with their pod: their addresses would stay taken. Not
    /// while a step is under way, which may have made a pod that was not seen yet.
    pub(super) async fn let_go_of_interfaces(&mut self, pods: &[Pod]) {
        let there: BTreeSet<String> = pods.iter().map(|p| p.id.clone()).collect();
        let due = self.interfaces_again.is_some_and(|at| at <= Instant::now());
        if !self.facts.busy.is_empty() || (self.connected.as_ref() == Some(&there) && !due) {
            return;
        }
        let left = self.steps.nics.left(&there).await;
        self.connected = Some(there);
        // What cannot be taken away now is looked for again.
        self.interfaces_again = (!left.is_empty()).then(|| Instant::now() + INTERFACES_AGAIN);
        if left.is_empty() {
            return;
        }
        let (nics, cancel) = (self.steps.nics.clone(), self.cancel.clone());
        self.tracker.spawn(async move {
            let letting_go = async {
                for pod in left {
                    if nics.remove(&pod, None).await {
                        tracing::info!(pod, "interfaces of a pod that is no more were let go");
                    }
                }
            };
            // What is cut off is taken up by the next agent.
            tokio::select! { () = cancel.cancelled() => {}, () = letting_go => {} }
        });
    }

    /// A folder may be large: what runs here does not wait until it is removed. Whoever is wanted again meanwhile does.
    fn clear_beside(&self, left: Vec<InstanceId>) {
        let (steps, shared, cancel) = (self.steps.clone(), self.shared.clone(), self.cancel.clone());
        shared.held.send_modify(|held| held.extend(left.iter().copied()));
        let clearing = async move {
            // An agent that dies now would want some of them by the word before, and their volumes would be empty.
            shared.until_saved(false).await;
            for id in left {
                let again = shared.wanted.borrow().as_ref().is_some_and(|w| w.instances.contains_key(&id));
                if !again {
                    match steps.clear(id).await {
                        Ok(()) => tracing::info!(instance.id = %id, "what an instance has left that is no more was taken away"),
                        Err(error) => tracing::warn!(instance.id = %id, error = chain(&error), "what an instance has left that is no more stays"),
                    }
                }
                shared.held.send_modify(|held| {
                    held.remove(&id);
                });
                shared.wake.notify_one();
            }
        };
        self.tracker.spawn(async move {
            // What is cut off is taken up by the next agent.
            tokio::select! { () = cancel.cancelled() => {}, () = clearing => {} }
        });
    }
}
