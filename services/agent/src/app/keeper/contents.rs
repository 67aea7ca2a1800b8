//! What running containers see changes with the word: names of their space, and files of configs and secrets.

use gantry_contract::proto::scheduler as wire;

use super::{Keeper, chain};
use crate::adapters::folders::hosts_text;
use crate::domain::actual::Pod;
use crate::domain::spec;
use crate::domain::wanted::Wanted;

impl Keeper {
    /// Containers see new services of their space without a restart.
    pub(super) async fn update_hosts(&mut self, wanted: &Wanted, pods: &[Pod]) {
        let elsewhere = self.shared.elsewhere.borrow().clone();
        for pod in pods.iter().filter(|p| p.running()) {
            let Some(instance) = wanted.instances.get(&pod.instance) else { continue };
            let Some(address) = self.memory.get(&pod.instance).map(|m| m.address.as_str()).filter(|a| !a.is_empty()) else { continue };
            let hostname = spec::hostname_of(instance);
            let text = hosts_text(address, &hostname, &self.balancer.names(wanted, instance, &elsewhere));
            if self.hosts.get(&pod.instance) == Some(&text) {
                continue;
            }
            match self.steps.folders.write_hosts(pod.instance, &text).await {
                // A step under way may write it, too.
                Ok(_) if !self.facts.busy.contains(&pod.instance) => drop(self.hosts.insert(pod.instance, text)),
                Ok(_) => {}
                Err(error) => tracing::warn!(error = %chain(&error), "an instance does not see the services of its space"),
            }
        }
    }

    /// Running containers get new contents of their space's configs and secrets.
    pub(super) async fn update_files(&mut self, wanted: &Wanted, pods: &[Pod]) {
        let changing = |i: &wire::WantedInstance| i.files.iter().any(|f| f.live);
        for pod in pods.iter().filter(|p| p.running() && !self.facts.busy.contains(&p.instance)) {
            let (id, due) = (pod.instance, self.refreshed.get(&pod.instance) != Some(&wanted.generation));
            let Some(instance) = wanted.instances.get(&id).filter(|_| due) else { continue };
            if !changing(instance) && !instance.init.iter().chain(&instance.sidecars).any(changing) {
                continue;
            }
            match self.steps.folders.refresh(id, instance).await {
                Ok(changed) => {
                    if changed {
                        tracing::info!(instance.id = %id, "an instance was given new contents of its files");
                    }
                    self.refreshed.insert(id, wanted.generation);
                }
                Err(error) => tracing::warn!(instance.id = %id, error = chain(&error), "an instance still has old contents of its files"),
            }
        }
    }
}
