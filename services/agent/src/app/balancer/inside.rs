//! The part of the balancer for addresses inside the node: each service has one, under which instances reach it. They are kept on disk before
//! they are put on the machine, so that none is left by an agent that ended in between.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use sha2::{Digest, Sha256};

use super::naming::named;
use super::{BACK_AGAIN_MS, Balancer, recovering};
use crate::adapters::addresses;
use crate::domain::wanted::Wanted;

impl Balancer {
    /// Gives each service that has none yet its address inside the node, so that instances can be told of all names before the balancer
    /// is brought up to date.
    pub async fn assign(&mut self, wanted: &Wanted) {
        for service in wanted.services.values() {
            self.address(&named(service), false).await;
        }
    }

    /// The service's address on this node, made on first use. `unsure`: whether the machine has it is not known.
    pub(super) async fn address(&mut self, id: &str, unsure: bool) -> Option<Ipv4Addr> {
        self.listen.service_network?;
        if let Some(address) = self.saved.addresses.get(id) {
            // After a reboot the file is there and the address is not.
            if unsure {
                put(*address).await;
            }
            return Some(*address);
        }
        let address = self.chosen(id)?;
        // Before it is used: one that nobody remembers would stay on the machine for ever.
        self.save().await;
        put(address).await;
        Some(address)
    }

    /// Remembers a new address for a service: its own of before, if it is among those of which nobody knows whose they were.
    pub(super) fn chosen(&mut self, id: &str) -> Option<Ipv4Addr> {
        let network = self.listen.service_network?;
        let taken: BTreeSet<_> = self.saved.addresses.iter().filter(|(of, _)| !recovering::is_left(of)).map(|(_, address)| *address).collect();
        let address = free_address(network, id, &taken)?;
        self.saved.addresses.retain(|_, held| *held != address);
        self.saved.addresses.insert(id.to_owned(), address);
        Some(address)
    }

    /// Takes away the addresses of services that are no more. One that stays on the machine is kept in mind, and tried again later.
    pub(super) async fn give_back(&mut self, wanted: &Wanted, now_ms: i64) {
        if now_ms < self.back_not_before_ms {
            return;
        }
        let kept: BTreeSet<_> = wanted.services.values().map(named).collect();
        let gone: Vec<_> = self.saved.addresses.iter().filter(|(id, _)| !kept.contains(id.as_str())).map(|(id, a)| (id.clone(), *a)).collect();
        for (id, address) in &gone {
            match addresses::remove(*address, "lo").await {
                Ok(()) => drop(self.saved.addresses.remove(id)),
                Err(error) => {
                    tracing::warn!(%address, %error, "a service's address cannot be taken from this machine");
                    self.back_not_before_ms = now_ms + BACK_AGAIN_MS;
                }
            }
        }
        if !gone.is_empty() {
            self.save().await;
        }
    }
}

async fn put(address: Ipv4Addr) {
    if let Err(error) = addresses::put(address, "lo").await {
        tracing::error!(%error, "a service's address cannot be added to this machine");
    }
}

/// By the id's hash, so that a service has the same address on every node and after every restart if nobody else has it.
pub(super) fn free_address(network: Ipv4Addr, id: &str, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    let digest = Sha256::digest(id);
    let first = u16::from_be_bytes([digest[0], digest[1]]);
    let [a, b, _, _] = network.octets();
    (0..u16::MAX).map(|step| first.wrapping_add(step)).filter(|n| n & 0xff != 0 && n & 0xff != 0xff).find_map(|n| {
        let [c, d] = n.to_be_bytes();
        Some(Ipv4Addr::new(a, b, c, d)).filter(|address| !taken.contains(address))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_stable_and_never_shared() {
        let network = Ipv4Addr::new(10, 87, 0, 0);
        let first = free_address(network, "a", &BTreeSet::new()).unwrap();
        assert_eq!(free_address(network, "a", &BTreeSet::new()), Some(first));
        let second = free_address(network, "a", &BTreeSet::from([first])).unwrap();
        assert_ne!(first, second);
        assert_eq!(&second.octets()[..2], [10, 87]);
    }
}
