//! The part of the balancer for a file of state that is damaged: what an earlier agent has done to the machine is found again on the machine.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::{Balancer, public};
use crate::adapters::addresses;
use crate::domain::wanted::Wanted;

/// Before an address of which it is not known whose it was; no service is called so.
const LEFT: &str = "left ";

pub(super) fn is_left(of: &str) -> bool {
    of.starts_with(LEFT)
}

impl Balancer {
    /// Services take their addresses up again, which go by their names; the others are given back, and so is the table of datagrams. Public
    /// addresses are this node's that its last word says are.
    pub(super) async fn recover(&mut self) {
        self.saved.filtered = true;
        match addresses::single().await {
            Ok(there) => {
                let word = self.disk.wanted().await.map(|state| Wanted::parse(state).0).unwrap_or_default();
                self.saved.public = public::left(&there, &word, &self.listen.public_interface);
                if let Some(network) = self.listen.service_network {
                    self.saved.addresses = left(&there, network);
                }
            }
            Err(error) => tracing::error!(%error, "which addresses services had on this machine is not known; they stay"),
        }
        self.save().await;
    }
}

fn left(there: &BTreeMap<Ipv4Addr, String>, network: Ipv4Addr) -> BTreeMap<String, Ipv4Addr> {
    let ours = there.iter().filter(|(address, at)| *at == "lo" && address.octets()[..2] == network.octets()[..2]);
    ours.map(|(address, _)| (format!("{LEFT}{address}"), *address)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::adapters::disk::Disk;
    use crate::adapters::haproxy::Haproxy;
    use crate::app::balancer::inside::free_address;
    use crate::app::balancer::{FILE, Listen};

    async fn opened(folder: &std::path::Path) -> Balancer {
        let haproxy = Haproxy::new("/nowhere/haproxy".into(), folder.join("haproxy"), folder.join("log"), "127.0.0.1:0".into());
        let disk = Disk::open(folder.join("state")).await.unwrap();
        let listen = Listen { address: Ipv4Addr::LOCALHOST.into(), service_network: None, public_interface: String::new() };
        Balancer::open(Arc::new(haproxy), disk, listen, "a-test").await
    }

    #[tokio::test]
    async fn a_damaged_file_stops_nobody_and_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("state")).unwrap();
        let file = folder.path().join("state").join(FILE);
        std::fs::write(&file, "{\"layout\": {\"services\"").unwrap();
        let balancer = opened(folder.path()).await;
        assert!(balancer.saved.filtered, "there may be a table");
        assert!(serde_json::from_slice::<serde_json::Value>(&std::fs::read(&file).unwrap()).is_ok());
        assert!(!opened(&folder.path().join("another")).await.saved.filtered, "where there was no file there is none");
    }

    #[tokio::test]
    async fn addresses_that_nobody_remembers_are_taken_up_by_their_services_or_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut balancer = opened(folder.path()).await;
        let network = Ipv4Addr::new(10, 87, 0, 0);
        let own = free_address(network, "app.web", &BTreeSet::new()).unwrap();
        let at = |address: Ipv4Addr, interface: &str| (address, interface.to_owned());
        let there = [Ipv4Addr::LOCALHOST, own, Ipv4Addr::new(10, 87, 1, 1), Ipv4Addr::new(10, 88, 1, 1)].map(|address| at(address, "lo"));
        let there = there.into_iter().chain([at(Ipv4Addr::new(10, 87, 1, 2), "eth0")]).collect();
        balancer.saved.addresses = left(&there, network);
        assert_eq!(balancer.saved.addresses.len(), 2, "nobody else's");
        balancer.listen.service_network = Some(network);
        assert_eq!(balancer.chosen("app.web"), Some(own), "as before");
        assert_eq!(balancer.saved.addresses.keys().map(String::as_str).collect::<Vec<_>>(), ["app.web", "left 10.87.1.1"]);
    }
}
