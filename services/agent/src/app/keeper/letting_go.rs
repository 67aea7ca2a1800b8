//! What is kept in memory for instances that are no more is let go, also when their removal was not this agent's.

use std::collections::BTreeSet;

use gantry_kernel::InstanceId;

use super::Keeper;
use crate::domain::actual::Pod;
use crate::domain::wanted::Wanted;

impl Keeper {
    pub(super) async fn let_go_of_others(&mut self, wanted: &Wanted, pods: &[Pod]) {
        let pods = pods.iter().map(|p| p.instance);
        // A step under way lets go by itself.
        let there: BTreeSet<InstanceId> = wanted.instances.keys().copied().chain(pods).chain(self.facts.busy.iter().copied()).collect();
        if self.kept_for.as_ref() != Some(&there) {
            self.steps.folders.forget_others(&there).await;
            self.kept_for = Some(there);
        }
    }
}
