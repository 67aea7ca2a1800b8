//! What the planner is told: nodes, and groups of equal instances that look for places.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::amounts::Amounts;
use crate::formula::UserRule;
use crate::rules::{Match, Near, Preference, Spread, Taint, Toleration};

/// A node as it is now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    pub name: String,
    /// By full name: `node.arch`, `node.os`, `node.zone`, `node.labels.<label>`. `node.name` is added.
    pub attributes: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub runtime_classes: BTreeSet<String>,
    /// [`crate::UNLIMITED`] where something is not counted.
    pub capacity: Amounts,
    /// Of the capacity, per cent that may be given away; 100 is all of it and no more.
    pub overcommit_percent: Amounts,
    /// Kept from placement: the system's own share.
    pub system: Amounts,
    /// Countable things such as `nvidia.com/gpu`.
    pub extended: BTreeMap<String, u64>,
    /// Images that lie there.
    pub images: BTreeSet<String>,
    /// Measured use of its processors, in thousandths.
    pub load: u32,
    /// Its agent is heard from.
    pub present: bool,
    /// Takes nothing new.
    pub cordoned: bool,
}

/// One revision of one workload: its instances are equal to the planner.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spec {
    /// Two specs with the same key are the same group; the later one replaces the earlier one.
    pub key: String,
    /// All revisions of one workload: counted together where instances are kept apart.
    pub family: String,
    /// Displaces only those of the same tenant.
    pub tenant: String,
    /// Selectors choose among groups of their own scope.
    pub scope: String,
    pub labels: BTreeMap<String, String>,
    pub requests: Amounts,
    pub extended: BTreeMap<String, u64>,
    /// Higher ones may displace lower ones.
    pub priority: i32,
    /// Waits instead of displacing.
    pub never_preempts: bool,
    pub rules: Rules,
    /// Written by users.
    pub formulas: Vec<UserRule>,
    /// Ports of the node's own addresses.
    pub ports: BTreeSet<HostPort>,
    /// 0: no limit.
    pub max_per_node: u32,
    pub image: String,
    /// Uses what is reserved under this key. Empty: nothing.
    pub reservation: String,
}

/// A port of a node that an instance takes for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    pub number: u16,
    pub transport: Transport,
    /// All of the node's addresses if none.
    pub address: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    Tcp,
    Udp,
    Sctp,
}

/// Of TCP, at all addresses.
impl From<u16> for HostPort {
    fn from(number: u16) -> Self {
        Self { number, transport: Transport::Tcp, address: None }
    }
}

impl HostPort {
    /// Ports with different ones never meet.
    pub(crate) fn key(&self) -> (u16, Transport) {
        (self.number, self.transport)
    }

    /// Is it the same address, or is one of them all of them?
    pub(crate) fn meets_at(&self, address: Option<IpAddr>) -> bool {
        self.address.is_none_or(|own| address.is_none_or(|other| own == other))
    }

    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.key() == other.key() && self.meets_at(other.address)
    }
}

/// Everything that decides by rules alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rules {
    /// All must hold.
    pub required: Vec<Match>,
    /// All of one of these lists must hold, if there is any.
    pub any_of: Vec<Vec<Match>>,
    pub preferred: Vec<Preference>,
    pub tolerations: Vec<Toleration>,
    /// Any if empty.
    pub runtime_class: String,
    pub near: Vec<Near>,
    pub spread: Vec<Spread>,
}
