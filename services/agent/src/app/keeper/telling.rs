//! The end of a round: what the scheduler, the log shipper and the metrics are told.

use std::sync::Arc;

use gantry_contract::proto::scheduler as wire;

use super::Keeper;
use crate::domain::actual::Pod;
use crate::domain::status::statuses;
use crate::domain::wanted::Wanted;

impl Keeper {
    pub(super) fn tell(&self, wanted: &Wanted, pods: &[Pod]) {
        let balancers = self
            .balancer
            .layout()
            .in_rotation()
            .into_iter()
            .map(|(service_id, instances)| wire::BalancerStatus { service_id, in_rotation: instances.iter().map(ToString::to_string).collect() });
        let status = wire::Status {
            beat: 0,
            generation: wanted.generation,
            instances: self.shared.fetching.tell(self.with_signs(statuses(wanted, pods, &self.memory, &self.facts.busy))),
            balancers: balancers.collect(),
            waiting: self.holder.waiting().into_iter().collect(),
            images: self.shared.images.borrow().values().cloned().collect(),
            draining: self.balancer.layout().leaving().iter().map(ToString::to_string).collect(),
        };
        self.tell_layout();
        let pods = Arc::new(pods.to_vec());
        self.shared.pods.send_if_modified(|held| {
            let changed = *held != pods;
            *held = pods;
            changed
        });
        // Last: whoever finds a word's generation in it finds what became of that word in the others.
        self.shared.status.send_if_modified(|held| {
            let changed = *held != status;
            *held = status;
            changed
        });
    }

    pub(super) fn tell_layout(&self) {
        self.shared.layout.send_if_modified(|held| {
            let changed = held != self.balancer.layout();
            if changed {
                held.clone_from(self.balancer.layout());
            }
            changed
        });
    }
}
