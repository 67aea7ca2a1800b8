//! By which way the pods of other nodes are reached: routes of the kernel, one for each node's network of pods. Pure: what is
//! sensible of what the scheduler says, and what has to be done to have it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use gantry_contract::proto::scheduler as wire;
use serde::{Deserialize, Serialize};

/// A network of pods: private, and neither a single address nor half the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    first: Ipv4Addr,
    /// Bits that all its addresses share, 8 to 30.
    prefix: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no private network such as 10.88.0.0/16")]
pub struct NoNetwork(String);

impl Network {
    fn mask(self) -> u32 {
        u32::MAX << (32 - u32::from(self.prefix))
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.first.to_bits()
    }

    fn overlaps(self, other: Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let bad = || NoNetwork(text.to_owned());
        let (first, prefix) = text.split_once('/').ok_or_else(bad)?;
        let network = Self { first: first.parse().map_err(|_| bad())?, prefix: prefix.parse().ok().filter(|p| (8..=30).contains(p)).ok_or_else(bad)? };
        let whole = network.first.to_bits() & !network.mask() == 0;
        if whole && network.first.is_private() { Ok(network) } else { Err(bad()) }
    }
}

impl TryFrom<String> for Network {
    type Error = NoNetwork;

    fn try_from(text: String) -> Result<Self, NoNetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// Which node's address leads to which network.
pub type Routes = BTreeMap<Network, Ipv4Addr>;

/// The routes that this node shall have, and why others are left out.
pub fn routes(said: &wire::Routes, own: Network) -> (Routes, Vec<String>) {
    let mut routes = Routes::new();
    let mut faults = Vec::new();
    for node in &said.nodes {
        match route(node, own, &routes) {
            Ok((network, via)) => drop(routes.insert(network, via)),
            Err(why) => faults.push(format!("node {}: {why}", node.node)),
        }
    }
    (routes, faults)
}

fn route(node: &wire::NodeRoute, own: Network, before: &Routes) -> Result<(Network, Ipv4Addr), String> {
    let network: Network = node.pod_network.parse().map_err(|e: NoNetwork| e.to_string())?;
    let via: Ipv4Addr = node.address.parse().map_err(|_| format!("`{}` is no address", node.address))?;
    if via.is_unspecified() || via.is_loopback() || via.is_multicast() || via.is_broadcast() || network.contains(via) {
        return Err(format!("{via} cannot lead to {network}"));
    }
    if network.overlaps(own) {
        return Err(format!("its pods are in {network}, where those of this node are ({own}); give each node a network of its own"));
    }
    match before.keys().find(|other| other.overlaps(network)) {
        Some(other) => Err(format!("its pods are in {network}, where those of another node are ({other}); give each node a network of its own")),
        None => Ok((network, via)),
    }
}

/// What has to be set and what taken away, to get from what is there to what is wanted.
pub fn steps(there: &BTreeMap<String, String>, wanted: &Routes) -> (Vec<(String, String)>, Vec<String>) {
    let wanted: BTreeMap<String, String> = wanted.iter().map(|(network, via)| (network.to_string(), via.to_string())).collect();
    let set = wanted.iter().filter(|(network, via)| there.get(*network) != Some(*via)).map(|(n, v)| (n.clone(), v.clone())).collect();
    let gone = there.keys().filter(|network| !wanted.contains_key(*network)).cloned().collect();
    (set, gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn node(name: &str, address: &str, pods: &str) -> wire::NodeRoute {
        wire::NodeRoute { node: name.into(), address: address.into(), pod_network: pods.into() }
    }

    #[test]
    fn only_whole_private_networks_are_networks_of_pods() {
        assert_eq!(network("10.88.0.0/16").to_string(), "10.88.0.0/16");
        assert!(network("10.88.0.0/16").contains(Ipv4Addr::new(10, 88, 200, 1)) && !network("10.88.0.0/16").contains(Ipv4Addr::new(10, 89, 0, 1)));
        for bad in ["10.88.0.0", "10.88.0.1/16", "8.8.0.0/16", "10.0.0.0/4", "10.0.0.1/32", "x/16", "10.88.0.0/x", ""] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_node_in_the_way_of_another_is_left_out_and_named() {
        let nodes = vec![
            node("n2", "192.168.0.2", "10.2.0.0/16"),
            node("n3", "192.168.0.3", "10.2.128.0/17"),
            node("n4", "192.168.0.4", "10.1.0.0/16"),
            node("n5", "10.5.0.1", "10.5.0.0/16"),
            node("n6", "", "10.6.0.0/16"),
            node("n7", "192.168.0.7", "10.7.0.0/24"),
        ];
        let (routes, faults) = routes(&wire::Routes { nodes }, network("10.1.0.0/16"));
        let expected = [("10.2.0.0/16", Ipv4Addr::new(192, 168, 0, 2)), ("10.7.0.0/24", Ipv4Addr::new(192, 168, 0, 7))];
        assert_eq!(routes, expected.map(|(n, via)| (network(n), via)).into());
        assert_eq!(faults.iter().map(|f| &f[..7]).collect::<Vec<_>>(), ["node n3", "node n4", "node n5", "node n6"]);
    }

    #[test]
    fn what_is_as_wanted_is_left_alone() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let there = BTreeMap::from([pair("10.2.0.0/16", "192.168.0.2"), pair("10.3.0.0/16", "192.168.0.9"), pair("10.4.0.0/16", "192.168.0.4")]);
        let wanted = Routes::from([(network("10.2.0.0/16"), Ipv4Addr::new(192, 168, 0, 2)), (network("10.3.0.0/16"), Ipv4Addr::new(192, 168, 0, 3))]);
        assert_eq!(steps(&there, &wanted), (vec![pair("10.3.0.0/16", "192.168.0.3")], vec!["10.4.0.0/16".to_owned()]));
    }
}
