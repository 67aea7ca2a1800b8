//! The part of a round about what is remembered of instances: how often they crashed, where they are, and which may get requests.

use std::collections::{BTreeMap, BTreeSet};

use gantry_kernel::InstanceId;
use serde::{Deserialize, Serialize};

use super::{Keeper, READY_FILE, chain};
use crate::domain::actual::{ContainerState, Pod};
use crate::domain::restart::{crashes_after, given_up};
use crate::domain::wanted::Wanted;

pub(super) const CRASHES_FILE: &str = "crashes.json";

/// For the next agent: what has failed so often that it is not started again is not started by it either.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Crashed {
    /// In a row.
    pub(super) crashes: BTreeMap<InstanceId, u32>,
    /// Containers whose end is among them.
    pub(super) counted: BTreeSet<String>,
}

impl Keeper {
    /// Drops what is known of instances that are no more, counts crashes, finds addresses.
    pub(super) async fn remember(&mut self, wanted: &Wanted, pods: &[Pod]) {
        let there: BTreeSet<InstanceId> = wanted.instances.keys().copied().chain(pods.iter().map(|p| p.instance)).collect();
        self.memory.retain(|id, _| there.contains(id));
        self.failures.retain(|id, _| there.contains(id));
        self.evictions.retain(|id, _| there.contains(id));
        self.facts.crashes.retain(|id, _| there.contains(id));
        self.facts.not_before_ms.retain(|id, _| there.contains(id));
        self.facts.attempts.retain(|id, _| there.contains(id));
        self.refreshed.retain(|id, _| there.contains(id));
        self.hosts.retain(|id, _| there.contains(id));
        self.counted.retain(|c| pods.iter().any(|p| p.container.as_ref().is_some_and(|k| k.id == *c)));
        self.find_addresses(pods).await;
        let mut more = false;
        for pod in pods {
            let memory = self.memory.entry(pod.instance).or_default();
            if memory.image_digest.is_empty()
                && let Some(instance) = wanted.instances.get(&pod.instance)
            {
                memory.image_digest = instance.image.split_once('@').map_or(String::new(), |(_, digest)| digest.to_owned());
            }
            if let Some(container) = &pod.container
                && let ContainerState::Exited { ran_ms, .. } = container.state
                && self.counted.insert(container.id.clone())
            {
                let crashes = self.facts.crashes.entry(pod.instance).or_default();
                *crashes = crashes_after(*crashes, ran_ms);
                more = true;
            }
            let ended = pod.container.as_ref().and_then(|c| if let ContainerState::Exited { code, .. } = c.state { Some(code) } else { None });
            let crashes = self.facts.crashes.get(&pod.instance).copied().unwrap_or(0);
            memory.given_up = ended.zip(wanted.instances.get(&pod.instance)).is_some_and(|(code, i)| given_up(i, code, crashes));
        }
        if more {
            let crashed = Crashed { crashes: self.facts.crashes.clone(), counted: self.counted.clone() };
            if let Err(error) = self.disk.note(CRASHES_FILE, &crashed).await {
                tracing::error!(error = chain(&error), "how often instances have failed cannot be saved: the next agent begins to count anew");
            }
        }
    }

    /// Instances that may get requests, with their addresses; saved when they change.
    pub(super) async fn ready_addresses(&mut self, wanted: &Wanted, pods: &[Pod]) -> BTreeMap<InstanceId, String> {
        let mut addresses = BTreeMap::new();
        let mut ready = BTreeMap::new();
        for pod in pods.iter().filter(|p| wanted.instances.contains_key(&p.instance)) {
            let Some(memory) = self.memory.get(&pod.instance) else { continue };
            if pod.container.is_some() && memory.ready() {
                addresses.insert(pod.instance, memory.address.clone());
                ready.insert(pod.instance, pod.running_ids().collect::<Vec<_>>().join(" "));
            }
        }
        if ready != self.ready {
            self.ready = ready;
            // Of no use any more when the machine has started anew.
            if let Err(error) = self.disk.note(READY_FILE, &self.ready).await {
                tracing::error!(%error, "which instances are ready cannot be saved");
            }
        }
        addresses
    }

    /// Instances of this node in the balancer whose container does not run: nobody waits for their answers. Of those elsewhere it
    /// is not known: they are drained.
    pub(super) fn gone(&self, wanted: &Wanted, pods: &[Pod]) -> BTreeSet<InstanceId> {
        let here = |id: &InstanceId| wanted.instances.contains_key(id) || pods.iter().any(|p| p.instance == *id);
        let runs = |id: &InstanceId| pods.iter().any(|p| p.instance == *id && p.running());
        self.balancer.layout().in_use().into_iter().filter(|id| here(id) && !runs(id)).collect()
    }
}
