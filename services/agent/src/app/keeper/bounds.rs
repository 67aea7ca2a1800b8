//! What bounds the scheduler's word: the lease of this node, and instances that showed signs of an intrusion.

use std::sync::Arc;

use gantry_contract::proto::scheduler as wire;
use gantry_kernel::InstanceId;

use super::Keeper;
use crate::domain::actual::Pod;
use crate::domain::wanted::Wanted;

impl Keeper {
    /// What is wanted as long as the scheduler hears this node; without that, what must not run twice is to be stopped.
    pub(super) fn within_lease(&mut self, word: &Arc<Wanted>) -> Arc<Wanted> {
        let lease = self.shared.lease.borrow().awake(self.shared.sleep.total());
        let over = tokio::time::Instant::now() >= lease.stop_at() && word.is_exclusive();
        if over != std::mem::replace(&mut self.fencing, over) {
            if over {
                tracing::warn!("the scheduler does not hear this node: instances that must not run twice are stopped, and public addresses given away");
            } else {
                tracing::info!("the scheduler hears this node again: all instances may run");
            }
        }
        if over { Arc::new(word.fenced(lease.grace())) } else { word.clone() }
    }

    /// What must not run twice begins to stop before anything else of the round is waited for: what the engine knows of others, the disk, and
    /// the balancer may all take longer than is left of the lease.
    pub(super) fn end_fenced(&mut self, wanted: &Wanted, pods: &[Pod]) {
        if !self.fencing {
            return;
        }
        let is_fenced = |id: &InstanceId| wanted.instances.get(id).is_some_and(|i| i.fenced);
        // Nor are unanswered requests.
        self.facts.in_use.retain(|id| !is_fenced(id));
        for action in self.planned(wanted, pods).actions {
            if is_fenced(&action.instance()) {
                self.begin(action, wanted);
            }
        }
    }

    /// What showed signs of an intrusion, and is to be stopped then, stops.
    pub(super) fn without_halted(&self, wanted: Arc<Wanted>) -> Arc<Wanted> {
        let halted = self.shared.halted.borrow();
        if halted.is_empty() {
            return wanted;
        }
        let mut out = (*wanted).clone();
        out.instances.iter_mut().filter(|(id, _)| halted.contains(id)).for_each(|(_, instance)| instance.stopping = true);
        for service in out.services.values_mut() {
            service.backends.retain(|id, _| !halted.contains(id));
        }
        Arc::new(out)
    }

    pub(super) fn with_signs(&self, mut all: Vec<wire::InstanceStatus>) -> Vec<wire::InstanceStatus> {
        let signs = self.shared.signs.borrow();
        for (id, own) in signs.iter() {
            let id = id.to_string();
            all.iter_mut().filter(|status| status.instance_id == id).for_each(|status| status.signs.clone_from(own));
        }
        all
    }
}
