//! A node that only pretends to run containers: what it is told to have "runs" after a step, is put into rotation after another,
//! and leaves it before it stops. Who drives it (tests of the scheduler, the bench) speaks the protocol of agents for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use gantry_contract::proto::scheduler::{
    Backend, BalancerStatus, ImageStatus, InstanceStatus, OpenSession, Rejected, Sign, Status, WantedInstance, WantedState,
};

/// Addresses that were given out in this process. No two instances may share one, on whatever pretended nodes they are: who is told of
/// them tells instances apart by it, as on real nodes.
static GIVEN: AtomicU32 = AtomicU32::new(0);

/// The next of 10.64.0.0/10, which has four million of them; the first again after the last.
fn next_address() -> Ipv4Addr {
    const FIRST: u32 = 0x0A40_0000;
    Ipv4Addr::from(FIRST + GIVEN.fetch_add(1, Ordering::Relaxed) % 0x003F_FFFE + 1)
}

/// What the pretended node is like now. Tests look at it and change it.
#[derive(Default)]
pub struct Node {
    pub wanted: WantedState,
    /// Ready instances with the image each "runs".
    pub running: BTreeMap<String, String>,
    /// Of those, each its own as long as it runs.
    addresses: BTreeMap<String, Ipv4Addr>,
    /// In rotation, by service.
    pub rotation: BTreeMap<String, BTreeSet<String>>,
    pub exited: BTreeMap<String, i32>,
    /// Images that never become ready.
    pub broken: BTreeSet<String>,
    /// How few were in rotation of any balanced service at once, since the last reset.
    pub fewest: Option<usize>,
    /// Sessions it was told to open.
    pub opened: Vec<OpenSession>,
    /// It stops nothing for now.
    pub stubborn: bool,
    /// It does not open them.
    pub silent: bool,
    /// Why it was sent away.
    pub rejected: Option<Rejected>,
    /// Images it was told to fetch ahead; all of them come at once.
    pub ahead: BTreeSet<String>,
    /// What it finds in each of its instances.
    pub signs: Vec<Sign>,
    /// The way to the pods of each other node.
    pub routes: BTreeMap<String, (String, String)>,
}

impl Node {
    /// One step of time: stop what shall stop (out of rotation first), start what is missing, balance what is ready.
    pub fn step(&mut self) -> Status {
        let wanted: BTreeMap<_, _> = self.wanted.instances.iter().map(|i| (i.instance_id.clone(), i.clone())).collect();
        let in_rotation = |rotation: &BTreeMap<String, BTreeSet<String>>, id: &str| rotation.values().any(|r| r.contains(id));
        let stop: Vec<String> =
            self.running.keys().filter(|id| wanted.get(*id).is_none_or(|w| w.stopping) && !in_rotation(&self.rotation, id)).cloned().collect();
        for id in stop.into_iter().filter(|_| !self.stubborn) {
            self.running.remove(&id);
        }
        self.exited.retain(|id, _| wanted.contains_key(id));
        // Readiness comes one step after the start, rotation one step after readiness.
        let ready: BTreeSet<String> = self.running.keys().cloned().collect();
        for (id, instance) in &wanted {
            let broken = self.broken.iter().any(|b| instance.image.contains(b.as_str()));
            if !instance.stopping && !broken && !self.exited.contains_key(id) {
                self.running.insert(id.clone(), instance.image.clone());
            }
        }
        self.addresses.retain(|id, _| self.running.contains_key(id));
        for id in self.running.keys().filter(|id| !self.addresses.contains_key(*id)).cloned().collect::<Vec<_>>() {
            self.addresses.insert(id, next_address());
        }
        self.rotation = self
            .wanted
            .services
            .iter()
            .filter(|s| s.listen_port > 0 || !s.routes.is_empty())
            .map(|s| {
                let serves = |b: &&Backend| {
                    let stopping = wanted.get(&b.instance_id).is_some_and(|w| w.stopping);
                    // Of another node's instances only the address says that they are ready.
                    !stopping && if wanted.contains_key(&b.instance_id) { ready.contains(&b.instance_id) } else { !b.address.is_empty() }
                };
                (s.service_id.clone(), s.backends.iter().filter(serves).map(|b| b.instance_id.clone()).collect())
            })
            .collect();
        if let Some(least) = self.rotation.values().map(BTreeSet::len).min() {
            self.fewest = Some(self.fewest.map_or(least, |f| f.min(least)));
        }
        Status {
            generation: self.wanted.generation,
            instances: self.statuses(&wanted),
            images: self.ahead.iter().map(|i| ImageStatus { image: i.clone(), state: "present".into(), reason: String::new() }).collect(),
            balancers: self.rotation.iter().map(|(id, r)| BalancerStatus { service_id: id.clone(), in_rotation: r.iter().cloned().collect() }).collect(),
            ..Status::default()
        }
    }

    fn statuses(&self, wanted: &BTreeMap<String, WantedInstance>) -> Vec<InstanceStatus> {
        let status = |id: &str, state: &str, ready, exit_code| InstanceStatus {
            instance_id: id.into(),
            state: state.into(),
            ready,
            address: self.addresses.get(id).filter(|_| ready).map(Ipv4Addr::to_string).unwrap_or_default(),
            exit_code,
            signs: self.signs.clone(),
            reason: if exit_code == 0 { String::new() } else { format!("exit code {exit_code}") },
            ..InstanceStatus::default()
        };
        let mut out: Vec<_> = self.running.keys().map(|id| status(id, "running", true, 0)).collect();
        out.extend(self.exited.iter().map(|(id, code)| status(id, "exited", false, *code)));
        out.extend(
            wanted
                .keys()
                .filter(|id| !self.running.contains_key(*id) && !self.exited.contains_key(*id) && !wanted[*id].stopping)
                .map(|id| status(id, "starting", false, 0)),
        );
        out
    }

    /// The container of an instance ends for good.
    pub fn kill(&mut self, id: &str, code: i32) {
        self.running.remove(id);
        self.exited.insert(id.to_owned(), code);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_instances_have_one_address_and_each_keeps_its_own() {
        let wanted = |ids: std::ops::Range<u32>| WantedState {
            instances: ids.map(|n| WantedInstance { instance_id: format!("i{n}"), image: "web".into(), ..WantedInstance::default() }).collect(),
            ..WantedState::default()
        };
        let (mut one, mut other) = (Node::default(), Node::default());
        (one.wanted, other.wanted) = (wanted(0..300), wanted(300..600));
        let addresses = |status: &Status| -> BTreeMap<String, String> {
            status.instances.iter().filter(|i| i.ready).map(|i| (i.instance_id.clone(), i.address.clone())).collect()
        };
        let first: BTreeMap<_, _> = [one.step(), other.step()].iter().flat_map(addresses).collect();
        assert_eq!((first.len(), first.values().collect::<BTreeSet<_>>().len()), (600, 600));
        one.kill("i7", 1);
        let again: BTreeMap<_, _> = [one.step(), other.step()].iter().flat_map(addresses).collect();
        assert_eq!(again.len(), 599);
        assert!(again.iter().all(|(id, address)| first[id] == *address));
    }
}
