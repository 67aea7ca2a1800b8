//! The part of a round about how the containers are: which of them are asked, and what follows from their answers.

use std::collections::{BTreeMap, BTreeSet};

use gantry_contract::proto::scheduler as wire;

use super::Keeper;
use crate::app::probing::Subject;
use crate::domain::actual::Pod;
use crate::domain::health::{Probe, probes};
use crate::domain::wanted::{Wanted, staying};

/// How probes are told which container of an instance is meant, if it is none of the further ones.
const MAIN: &str = "";

impl Keeper {
    pub(super) fn watch_health(&mut self, wanted: &Wanted, pods: &[Pod]) {
        let subjects = pods.iter().filter_map(|pod| Some(self.subjects(wanted, wanted.instances.get(&pod.instance)?, pod))).flatten().collect();
        self.probing.watch(subjects);
        self.facts.dead.clear();
        self.facts.dead_beside.clear();
        for pod in pods {
            let container = pod.container.as_ref().filter(|_| pod.running());
            let health = container.and_then(|c| self.probing.health(pod.instance, MAIN, &c.id));
            if health.as_ref().is_some_and(|h| !h.alive()) {
                self.facts.dead.insert(pod.instance);
            }
            let mut beside = BTreeMap::new();
            for of in wanted.instances.get(&pod.instance).into_iter().flat_map(staying) {
                let health = pod.runs_beside(&of.name).and_then(|c| self.probing.health(pod.instance, &of.name, &c.id));
                if health.as_ref().is_some_and(|h| !h.alive()) {
                    self.facts.dead_beside.insert((pod.instance, of.name.clone()));
                }
                beside.insert(of.name.clone(), health);
            }
            let memory = self.memory.entry(pod.instance).or_default();
            (memory.health, memory.beside) = (health, beside);
        }
    }

    /// The containers of a pod that are to be asked.
    fn subjects(&self, wanted: &Wanted, instance: &wire::WantedInstance, pod: &Pod) -> Vec<Subject> {
        let Some(address) = self.memory.get(&pod.instance).map(|m| m.address.clone()).filter(|a| !a.is_empty()) else { return Vec::new() };
        let before = self.ready.get(&pod.instance).map_or("", String::as_str);
        let subject = |name: &str, container: &str, probes: Vec<Probe>| Subject {
            instance: pod.instance,
            name: name.to_owned(),
            container: container.to_owned(),
            address: address.clone(),
            probes,
            ready_before: before.split(' ').any(|id| id == container),
        };
        let main = pod.container.as_ref().filter(|_| pod.running());
        let main = main.map(|c| subject(MAIN, &c.id, probes(&instance.probes, &wanted.balanced_ports(pod.instance))));
        // What is balanced is asked of the instance as a whole; only their own probes are theirs.
        let beside = staying(instance).filter_map(|of| Some(subject(&of.name, &pod.runs_beside(&of.name)?.id, probes(&of.probes, &BTreeSet::new()))));
        main.into_iter().chain(beside).collect()
    }
}
