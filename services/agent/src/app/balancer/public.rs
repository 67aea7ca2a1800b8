//! The part of the balancer for public addresses: the node has those that the scheduler says it has, and no others. They are kept on disk
//! before they are added, so that none is left by an agent that ended in between.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use rustix::net::sockopt::{set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};

use super::Balancer;
use crate::adapters::{addresses, machine, neighbours};
use crate::domain::wanted::{Service, Wanted};

/// The machine's addresses are looked after this often: whoever sets its network anew may take them away.
const LOOK_MS: i64 = 5_000;

/// What was last seen of them.
pub(super) struct Public {
    /// Network interface that gets them; empty: the one by which the machine would reach them.
    interface: String,
    asked: BTreeSet<Ipv4Addr>,
    seen_ms: i64,
}

impl Public {
    pub(super) fn new(interface: String) -> Self {
        Self { interface, asked: BTreeSet::new(), seen_ms: 0 }
    }

    pub(super) fn shorten_pauses(&mut self, now_ms: i64) {
        self.seen_ms = self.seen_ms.min(now_ms);
    }
}

impl Balancer {
    /// Takes what is this node's. What fails is said, and tried again by a later round.
    pub(super) async fn hold_public(&mut self, wanted: &Wanted, now_ms: i64) {
        let asked = asked(wanted);
        if asked == self.public.asked && (asked.is_empty() || now_ms - self.public.seen_ms < LOOK_MS) {
            return;
        }
        (self.public.asked, self.public.seen_ms) = (asked.clone(), now_ms);
        let there = match addresses::local().await {
            Ok(there) => there,
            Err(error) => return tracing::error!(%error, "the machine's addresses are not known"),
        };
        for address in asked {
            match (self.saved.public.contains_key(&address), there.contains(&address)) {
                (true, true) => {}
                (false, true) => self.refuse(address, "the machine has it already, so it must be in no address pool"),
                (_, false) => self.take(address).await,
            }
        }
    }

    /// Gives away what is not this node's any more; without a word of the scheduler nothing is. It waits for nobody: another node has them
    /// soon, whether the container runtime and the balancer here answer or not.
    pub async fn give_away_public(&mut self, wanted: &Wanted) {
        let asked = asked(wanted);
        let lost: Vec<(Ipv4Addr, String)> = self.saved.public.iter().filter(|(a, _)| !asked.contains(a)).map(|(a, i)| (*a, i.clone())).collect();
        for (address, interface) in lost {
            let stuck = format!("{address} stays");
            if let Err(error) = addresses::remove(address, &interface).await {
                // Tried again by every round, and said once.
                if self.refused.insert(stuck) {
                    tracing::error!(%address, interface, %error, "a public address that is another node's now cannot be taken from this machine");
                }
                continue;
            }
            self.refused.remove(&stuck);
            tracing::info!(%address, interface, "a public address is not this node's any more");
            self.saved.public.remove(&address);
            self.save().await;
        }
    }

    async fn take(&mut self, address: Ipv4Addr) {
        let Some(interface) = self.interface(address).await else {
            return self.refuse(address, "the machine knows no way to it; set `agent.public_interface`");
        };
        // Before it is used: one that nobody remembers would stay on the machine for ever.
        self.saved.public.insert(address, interface.clone());
        self.save().await;
        match addresses::add(address, &interface).await {
            Ok(()) => {
                self.refused.remove(&address.to_string());
                tracing::info!(%address, interface, "a public address is this node's");
                neighbours::tell(address, &interface);
            }
            Err(error) => {
                // One that may be there all the same is kept in mind.
                if addresses::local().await.is_ok_and(|there| !there.contains(&address)) {
                    self.saved.public.remove(&address);
                    self.save().await;
                }
                self.refuse(address, &error.to_string());
            }
        }
    }

    /// Told in the log once.
    fn refuse(&mut self, address: Ipv4Addr, why: &str) {
        if self.refused.insert(address.to_string()) {
            tracing::error!(%address, why, "a public address cannot be added to this machine; the service is without it");
        }
    }

    async fn interface(&self, address: Ipv4Addr) -> Option<String> {
        if !self.public.interface.is_empty() {
            return Some(self.public.interface.clone());
        }
        let shown = machine::run("ip", &["-o", "-4", "route", "get", &address.to_string()]).await.ok()?;
        let device = shown.split_whitespace().skip_while(|word| *word != "dev").nth(1)?;
        Some(device.to_owned()).filter(|device| device != "lo")
    }

    /// Where a service listens besides, of those addresses that the machine has.
    pub(super) fn public_at(&self, service: &Service) -> BTreeSet<SocketAddrV4> {
        asked_by(service).filter(|at| self.saved.public.contains_key(at.ip())).collect()
    }

    /// One port that cannot be opened would make HAProxy refuse its whole configuration. HAProxy itself may have the port at all addresses.
    pub(super) fn is_free_beside(&mut self, at: SocketAddrV4) -> bool {
        let opened = || -> rustix::io::Result<()> {
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
            set_socket_reuseaddr(&socket, true)?;
            set_socket_reuseport(&socket, true)?;
            bind(&socket, &at)?;
            listen(&socket, 1)
        };
        match opened() {
            Ok(()) => {
                self.refused.remove(&at.to_string());
                true
            }
            Err(error) => {
                if self.refused.insert(at.to_string()) {
                    tracing::error!(address = %at, %error, "a service's port cannot be opened at its public address; the service is without it");
                }
                false
            }
        }
    }
}

/// Of the addresses that stand by themselves on this machine, those that an agent before this one must have added: the last word says that
/// they are this node's. `interface`: the one that gets them, if it is said.
pub(super) fn left(there: &BTreeMap<Ipv4Addr, String>, word: &Wanted, interface: &str) -> BTreeMap<Ipv4Addr, String> {
    let asked = asked(word);
    // One of the machine's own lies on its loopback otherwise.
    let ours = |at: &str| if interface.is_empty() { at != "lo" } else { at == interface };
    there.iter().filter(|(address, at)| asked.contains(*address) && ours(at)).map(|(address, at)| (*address, at.clone())).collect()
}

fn asked(wanted: &Wanted) -> BTreeSet<Ipv4Addr> {
    wanted.services.values().flat_map(asked_by).map(|at| *at.ip()).collect()
}

/// What was read at the door is an address and a port.
fn asked_by(service: &Service) -> impl Iterator<Item = SocketAddrV4> {
    let asked = service.wire.public_addresses.iter();
    asked.filter_map(|a| Some(SocketAddrV4::new(a.address.parse().ok()?, u16::try_from(a.port).ok()?)))
}

#[cfg(test)]
mod tests {
    use gantry_contract::proto::scheduler as wire;

    use super::*;

    #[test]
    fn of_an_agent_that_nobody_remembers_only_what_the_last_word_says_is_taken_up() {
        let [asked, other] = [Ipv4Addr::new(198, 51, 100, 7), Ipv4Addr::new(198, 51, 100, 8)];
        let address = wire::PublicAddress { address: asked.to_string(), port: 80 };
        let service = wire::WantedService { service_id: "s".into(), name: "web".into(), public_addresses: vec![address], ..Default::default() };
        let (word, faults) = Wanted::parse(wire::WantedState { services: vec![service], ..Default::default() });
        assert!(faults.is_empty(), "{faults:?}");
        let on = |interface: &str| BTreeMap::from([asked, other].map(|address| (address, interface.to_owned())));
        assert_eq!(left(&on("eth0"), &word, ""), BTreeMap::from([(asked, "eth0".to_owned())]));
        assert_eq!(left(&on("eth1"), &word, "eth1").len(), 1);
        assert!(left(&on("eth0"), &word, "eth1").is_empty() && left(&on("lo"), &word, "").is_empty() && left(&on("eth0"), &Wanted::default(), "").is_empty());
    }
}
