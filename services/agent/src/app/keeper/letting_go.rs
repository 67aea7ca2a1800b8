//! What is kept here for instances that are no more is let go, also when their removal was not this agent's, or was nobody's: a pod that
//! was taken away by hand leaves its folder, and volumes that are mounted.

use std::collections::BTreeSet;

use gantry_kernel::InstanceId;

use super::{Keeper, chain};
use crate::domain::actual::Pod;
use crate::domain::wanted::Wanted;

impl Keeper {
    /// At the start, and whenever other instances are there than before.
    pub(super) async fn let_go_of_others(&mut self, wanted: &Wanted, pods: &[Pod]) {
        let pods = pods.iter().map(|p| p.instance);
        // A step under way lets go by itself.
        let mut there: BTreeSet<InstanceId> = wanted.instances.keys().copied().chain(pods).chain(self.facts.busy.iter().copied()).collect();
        // Whatever is kept from running for now.
        there.extend(self.shared.wanted.borrow().iter().flat_map(|w| w.instances.keys().copied()));
        if self.kept_for.as_ref() == Some(&there) {
            return;
        }
        // Also without a pod: one that was to go on here, and never did.
        for id in self.kept_for.iter().flatten().filter(|id| !there.contains(*id)) {
            self.steps.checkpoints.forget(*id).await;
        }
        self.steps.folders.forget_others(&there).await;
        for id in self.steps.folders.present().await.into_iter().filter(|id| !there.contains(id)) {
            match self.steps.clear(id).await {
                Ok(()) => tracing::info!(instance.id = %id, "what an instance has left that is no more was taken away"),
                Err(error) => tracing::warn!(instance.id = %id, error = chain(&error), "what an instance has left that is no more stays"),
            }
        }
        self.kept_for = Some(there);
    }
}
