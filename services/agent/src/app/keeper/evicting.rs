//! Instances that have written more on the node's disk than they may: they get no more requests, end, and are made anew after a pause that grows.

use gantry_kernel::InstanceId;

use super::Keeper;
use crate::domain::actual::Pod;
use crate::domain::restart::delay_ms;

impl Keeper {
    pub(super) fn note_excess(&mut self, pods: &[Pod]) {
        self.facts.evicted.clear();
        let excess = self.shared.excess.borrow();
        for pod in pods.iter().filter(|p| p.running()) {
            let memory = self.memory.entry(pod.instance).or_default();
            let Some(why) = pod.container.as_ref().and_then(|c| excess.get(&c.id)) else {
                memory.evicted.clear();
                continue;
            };
            self.facts.evicted.insert(pod.instance);
            if memory.evicted.is_empty() {
                tracing::warn!(instance.id = %pod.instance, why, "an instance is ended for what it has written");
            }
            memory.evicted.clone_from(why);
        }
    }

    /// One has ended: if it was for what it had written, it waits before it is made anew.
    pub(super) fn pause_if_evicted(&mut self, id: InstanceId) {
        if self.memory.get(&id).is_none_or(|m| m.evicted.is_empty()) {
            return;
        }
        let evictions = self.evictions.entry(id).or_default();
        *evictions = evictions.saturating_add(1);
        let again = delay_ms(evictions.saturating_add(1));
        let now = self.now_ms();
        self.facts.not_before_ms.insert(id, now.saturating_add(again));
    }
}
