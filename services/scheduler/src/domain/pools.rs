//! Pools of public addresses, which operators set and services of applications are given addresses from. Which node has an address at
//! the moment is said here as well. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use gantry_kernel::{Name, OrgId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::observe::Phase;
use super::wanted::{AppView, Reports};

/// Of all pools together each address is looked at when one is searched.
const MOST_ADDRESSES: u64 = 65_536;
const MOST_RANGES: usize = 256;

/// As it is stored: addresses as the operator wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stored {
    pub addresses: Vec<String>,
    /// Who may use it; empty: all.
    pub orgs: Vec<OrgId>,
}

/// Addresses that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    first: u32,
    last: u32,
}

impl Range {
    /// `203.0.113.0/28`, `203.0.113.10-203.0.113.20` or one address, of IPv4.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` must be a network (203.0.113.0/28), a range (203.0.113.10-203.0.113.20) or an address of IPv4");
        let address = |text: &str| text.trim().parse::<Ipv4Addr>().map(u32::from).map_err(|_| wrong());
        let range = if let Some((first, last)) = text.split_once('-') {
            Self { first: address(first)?, last: address(last)? }
        } else if let Some((network, length)) = text.split_once('/') {
            let length: u32 = length.trim().parse().ok().filter(|l| (1..=32).contains(l)).ok_or_else(wrong)?;
            let (network, rest) = (address(network)?, u32::MAX.checked_shr(length).unwrap_or(0));
            if network & rest != 0 {
                return Err(format!("`{text}`: the network of this length begins at {}", Ipv4Addr::from(network & !rest)));
            }
            Self { first: network, last: network | rest }
        } else {
            let one = address(text)?;
            Self { first: one, last: one }
        };
        if range.first > range.last {
            return Err(format!("`{text}`: the range ends before it begins"));
        }
        // Networks that no address of a machine is in: this one, the loopback, of groups and reserved (RFC 6890).
        for (network, length, what) in [([0, 0, 0, 0], 8, "no machine's"), ([127, 0, 0, 0], 8, "the loopback's"), ([224, 0, 0, 0], 3, "for groups or reserved")]
        {
            let first = u32::from(Ipv4Addr::from(network));
            if range.overlaps(Self { first, last: first | (u32::MAX >> length) }) {
                return Err(format!("`{text}` has addresses that are {what}"));
            }
        }
        Ok(range)
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&u32::from(address))
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    fn count(self) -> u64 {
        u64::from(self.last - self.first) + 1
    }

    /// The lowest that nobody has. A pool may have thousands: only those that somebody has are looked at, up to the first gap.
    fn free(self, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        let mut next = self.first;
        for address in taken.range(Ipv4Addr::from(self.first)..=Ipv4Addr::from(self.last)) {
            if u32::from(*address) > next {
                break;
            }
            next = u32::from(*address).checked_add(1)?;
        }
        (next <= self.last).then(|| Ipv4Addr::from(next))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    pub ranges: Vec<Range>,
    /// Who may use it; empty: all.
    pub orgs: BTreeSet<OrgId>,
}

impl Pool {
    pub fn admits(&self, org: OrgId) -> bool {
        self.orgs.is_empty() || self.orgs.contains(&org)
    }

    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.ranges.iter().any(|r| r.contains(address))
    }

    pub fn size(&self) -> u32 {
        u32::try_from(self.ranges.iter().map(|r| r.count()).sum::<u64>()).unwrap_or(u32::MAX)
    }

    /// The lowest of the first range with one that nobody has.
    pub fn free(&self, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        self.ranges.iter().find_map(|r| r.free(taken))
    }
}

/// All of them, by name. No address is in two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pools(pub BTreeMap<String, Pool>);

impl Pools {
    /// What was stored was right when it was; a range that is none any more has no addresses.
    pub fn of(stored: &BTreeMap<String, Stored>) -> Self {
        let pool = |s: &Stored| Pool { ranges: s.addresses.iter().filter_map(|a| Range::parse(a).ok()).collect(), orgs: s.orgs.iter().copied().collect() };
        Self(stored.iter().map(|(name, s)| (name.clone(), pool(s))).collect())
    }

    /// Where an address comes from.
    pub fn with(&self, address: Ipv4Addr) -> Option<(&str, &Pool)> {
        self.0.iter().find(|(_, pool)| pool.contains(address)).map(|(name, pool)| (name.as_str(), pool))
    }

    /// What is wrong with a pool beside the others of this: the field's index and a sentence.
    pub fn faults(&self, name: &str, addresses: &[String]) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut seen: Vec<Range> = Vec::new();
        if addresses.is_empty() {
            faults.push(("addresses".to_owned(), "needs at least one network, range or address".to_owned()));
        }
        if addresses.len() > MOST_RANGES {
            faults.push(("addresses".to_owned(), format!("has at most {MOST_RANGES} networks and ranges")));
        }
        for (n, text) in addresses.iter().enumerate().take(MOST_RANGES) {
            let field = format!("addresses[{n}]");
            let range = match Range::parse(text) {
                Ok(range) => range,
                Err(detail) => {
                    faults.push((field, detail));
                    continue;
                }
            };
            if let Some((other, _)) = self.0.iter().find(|(other, pool)| *other != name && pool.ranges.iter().any(|r| r.overlaps(range))) {
                faults.push((field, format!("`{text}` has addresses of the pool `{other}`")));
            } else if seen.iter().any(|r| r.overlaps(range)) {
                faults.push((field, format!("`{text}` has addresses that another entry has already")));
            }
            seen.push(range);
        }
        let others = self.0.iter().filter(|(other, _)| *other != name).map(|(_, pool)| u64::from(pool.size())).sum::<u64>();
        if seen.iter().map(|r| r.count()).sum::<u64>() + others > MOST_ADDRESSES {
            faults.push(("addresses".to_owned(), format!("all pools together have at most {MOST_ADDRESSES} addresses")));
        }
        faults
    }
}

/// A node that can have addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub name: Name,
    /// Everything is to leave it.
    pub draining: bool,
}

/// Which node has each address. `nodes`: those that are not lost. One that is not drained comes first, then one with a ready
/// instance of the address's services; among equals a number made of the address and the node's name decides, so that all rounds say the same, and no
/// other address moves when one node comes or goes.
pub fn holders<'a>(apps: impl IntoIterator<Item = &'a AppView>, nodes: &[Candidate], reports: &Reports) -> BTreeMap<Ipv4Addr, Name> {
    let mut ready: BTreeMap<Ipv4Addr, BTreeSet<&Name>> = BTreeMap::new();
    for app in apps {
        for (_, service) in app.services() {
            let Some(address) = service.address.as_ref().and_then(|a| a.given) else { continue };
            let on = ready.entry(address).or_default();
            for instance in app.instances.iter().filter(|i| i.workload == service.workload && i.phase != Phase::Stopping) {
                let seen = reports.get(&instance.node).and_then(|r| r.instances.get(&instance.id));
                if seen.map_or(instance.phase == Phase::Running, |o| o.ready) {
                    on.insert(&instance.node);
                }
            }
        }
    }
    let known: BTreeMap<&Name, bool> = nodes.iter().map(|n| (&n.name, n.draining)).collect();
    let best = |address: Ipv4Addr, on: &BTreeSet<&Name>| {
        // There may be thousands of both: all nodes are compared only where none of them has an instance that is ready.
        let of = |draining: bool| {
            let here = heaviest(address, on.iter().copied().filter(|n| known.get(n) == Some(&draining)));
            here.or_else(|| heaviest(address, nodes.iter().filter(|n| n.draining == draining).map(|n| &n.name)))
        };
        of(false).or_else(|| of(true)).cloned()
    };
    ready.into_iter().filter_map(|(address, on)| Some((address, best(address, &on)?))).collect()
}

fn heaviest<'n>(address: Ipv4Addr, nodes: impl Iterator<Item = &'n Name>) -> Option<&'n Name> {
    nodes.max_by_key(|node| weight(address, node))
}

/// Rendezvous hashing: the node with the highest has it.
fn weight(address: Ipv4Addr, node: &Name) -> [u8; 32] {
    Sha256::digest(format!("{address} {node}")).into()
}

#[cfg(test)]
mod tests;
