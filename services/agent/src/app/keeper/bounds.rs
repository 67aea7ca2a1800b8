//! What bounds the scheduler's word: the lease of this node, and instances that showed signs of an intrusion.

use std::sync::Arc;

use gantry_contract::proto::scheduler as wire;

use super::Keeper;
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
