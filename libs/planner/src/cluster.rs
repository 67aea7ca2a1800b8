//! The state: nodes as columns, groups, instances, and how many instances of what stand in which place. Changed by single
//! bookings, each of which touches one node and the counters of one group.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::amounts::{ALL, KINDS, MOST, Resource};
use crate::column::Column;
use crate::reserve::Reservation;
use crate::spec::{Node, Spec, Transport};
use crate::terms::{Counter, CounterKey};

/// Index of a node, given in the order in which nodes became known and never given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIx(pub u32);

/// Index of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupIx(pub u32);

/// The caller's id of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey(pub u128);

pub(crate) struct Placed {
    pub group: GroupIx,
    pub node: NodeIx,
    /// What it took of a reservation, and of which.
    pub reserved: Option<(usize, [i64; KINDS])>,
}

pub(crate) struct Group {
    pub spec: Arc<Spec>,
    pub asked: [i64; KINDS],
    pub family: usize,
    pub extended: Vec<(usize, i64)>,
    /// Of nodes, by rules on attributes: minus infinity, or how much it is preferred. Made at `bias_at` of the cluster.
    pub bias: Vec<f32>,
    pub bias_at: u64,
    /// Of each rule to spread: its nodes, if they are others than those that may do. Made with `bias`.
    pub wide: Vec<Option<Vec<bool>>>,
    /// Its instances per node, where there are any.
    pub on: BTreeMap<u32, u32>,
    /// Counters that count instances of this group.
    pub counted_by: Vec<usize>,
    /// Counters of those who carry a hard rule "apart from" this group.
    pub shunned_by: Vec<usize>,
    /// Of the own rules, in their order: the counter of each.
    pub near_counters: Vec<usize>,
    pub spread_counters: Vec<usize>,
    pub zone_counter: usize,
}

/// All instances of one workload, whatever their revision.
#[derive(Default)]
pub(crate) struct Family {
    /// Per node, where there are any.
    pub on: BTreeMap<u32, u32>,
    /// How many may still be taken away; more than enough unless said.
    pub allowance: Option<u32>,
}

/// See the crate's documentation.
#[derive(Default)]
pub struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) gone: Vec<bool>,
    by_name: HashMap<String, NodeIx>,
    pub(crate) columns: Vec<Column>,
    column_names: HashMap<String, usize>,
    pub(crate) limit: [Vec<i32>; KINDS],
    pub(crate) used: [Vec<i64>; KINDS],
    /// `limit - used`, as the passes over all nodes want it.
    pub(crate) free: [Vec<i32>; KINDS],
    /// One over the limit of processors and memory; 0 where there is none.
    pub(crate) inverse: [Vec<f32>; 2],
    pub(crate) load: Vec<f32>,
    pub(crate) any_load: bool,
    pub(crate) extended_names: HashMap<String, usize>,
    pub(crate) extended_free: Vec<Vec<i64>>,
    pub(crate) here: Vec<Vec<(InstanceKey, GroupIx)>>,
    /// The lowest priority that stands on each node.
    pub(crate) lowest: Vec<i32>,
    /// Nodes where a port is taken, and at which address.
    pub(crate) port_users: HashMap<(u16, Transport), Vec<(u32, Option<IpAddr>)>>,
    pub(crate) image_nodes: HashMap<String, BTreeSet<u32>>,
    pub(crate) groups: Vec<Group>,
    pub(crate) by_key: HashMap<String, GroupIx>,
    pub(crate) families: Vec<Family>,
    pub(crate) family_names: HashMap<String, usize>,
    pub(crate) instances: HashMap<InstanceKey, Placed>,
    pub(crate) counters: Vec<Counter>,
    pub(crate) counter_keys: HashMap<CounterKey, usize>,
    /// The counters by labels of each scope, and the groups of each.
    pub(crate) scope_counters: HashMap<String, Vec<usize>>,
    pub(crate) scope_groups: HashMap<String, Vec<GroupIx>>,
    pub(crate) family_groups: Vec<Vec<GroupIx>>,
    pub(crate) reservations: Vec<Reservation>,
    /// Moves when an attribute of a node changes.
    pub(crate) attributes_at: u64,
    pub(crate) scratch: Vec<f32>,
}

const NAME: &str = "node.name";
pub(crate) const ZONE: &str = "node.zone";
/// Not names that a document can say.
const TAINTS: &str = "\0taints";
const RUNTIMES: &str = "\0runtimes";
const STATE: &str = "\0state";

impl Cluster {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn node(&self, name: &str) -> Option<NodeIx> {
        self.by_name.get(name).copied()
    }

    pub fn node_name(&self, node: NodeIx) -> &str {
        &self.nodes[node.0 as usize].name
    }

    pub fn spec(&self, group: GroupIx) -> &Spec {
        &self.groups[group.0 as usize].spec
    }

    pub fn place_of(&self, instance: InstanceKey) -> Option<NodeIx> {
        self.instances.get(&instance).map(|p| p.node)
    }

    pub fn group_of(&self, instance: InstanceKey) -> Option<GroupIx> {
        self.instances.get(&instance).map(|p| p.group)
    }

    pub fn instances_on(&self, node: NodeIx) -> impl Iterator<Item = InstanceKey> {
        self.here[node.0 as usize].iter().map(|(key, _)| *key)
    }

    /// Makes a node known, or changes it. What stands on it stays, even if it no longer fits.
    pub fn set_node(&mut self, node: &Node) -> NodeIx {
        let at = match self.by_name.get(&node.name) {
            Some(known) => known.0 as usize,
            None => self.add_node(&node.name),
        };
        let ix = NodeIx(u32::try_from(at).unwrap_or(u32::MAX));
        let mut changed = std::mem::replace(&mut self.gone[at], false);
        // Who stands here is counted in the node's places, and goes along when these change.
        let moves = self.nodes[at].attributes != node.attributes;
        let standing: Vec<GroupIx> = if moves { self.here[at].iter().map(|(_, group)| *group).collect() } else { Vec::new() };
        standing.iter().for_each(|group| self.count(*group, ix, false));
        for (key, value) in &node.attributes {
            let column = self.column(key);
            changed |= self.columns[column].set(at, Some(value));
        }
        let dropped: Vec<String> = self.nodes[at].attributes.keys().filter(|k| !node.attributes.contains_key(*k)).cloned().collect();
        for key in dropped {
            let column = self.column(&key);
            changed |= self.columns[column].set(at, None);
        }
        let mut taints: Vec<String> = node.taints.iter().map(|t| format!("{}\u{1}{}\u{1}{}", t.key, t.value, t.effect.as_str())).collect();
        taints.sort();
        let runtimes: Vec<&str> = node.runtime_classes.iter().map(String::as_str).collect();
        let state = match (node.present, node.cordoned) {
            (false, _) => Some("absent"),
            (true, true) => Some("cordoned"),
            (true, false) => None,
        };
        for (name, value) in [(TAINTS, Some(taints.join("\u{2}"))), (RUNTIMES, Some(runtimes.join("\u{2}"))), (STATE, state.map(str::to_owned))] {
            let column = self.column(name);
            changed |= self.columns[column].set(at, value.as_deref());
        }
        if changed {
            self.attributes_at += 1;
        }
        self.set_room(at, node);
        self.nodes[at].clone_from(node);
        standing.iter().for_each(|group| self.count(*group, ix, true));
        ix
    }

    /// The node takes nothing any more and is no place for counting; its instances are to be removed by the caller.
    pub fn remove_node(&mut self, node: NodeIx) {
        let at = node.0 as usize;
        let empty = Node { name: self.nodes[at].name.clone(), ..Node::default() };
        self.set_node(&empty);
        let name = self.column(NAME);
        self.columns[name].set(at, None);
        self.gone[at] = true;
        self.by_name.remove(&empty.name);
        self.attributes_at += 1;
    }

    fn add_node(&mut self, name: &str) -> usize {
        let at = self.nodes.len();
        self.nodes.push(Node { name: name.to_owned(), ..Node::default() });
        self.gone.push(false);
        self.by_name.insert(name.to_owned(), NodeIx(u32::try_from(at).expect("fewer than 2^32 nodes")));
        self.columns.iter_mut().for_each(Column::grow);
        for kind in 0..KINDS {
            self.limit[kind].push(0);
            self.used[kind].push(0);
            self.free[kind].push(0);
        }
        self.inverse.iter_mut().for_each(|i| i.push(0.0));
        self.load.push(0.0);
        self.extended_free.iter_mut().for_each(|e| e.push(0));
        self.here.push(Vec::new());
        self.lowest.push(i32::MAX);
        let column = self.column(NAME);
        self.columns[column].set(at, Some(name));
        self.attributes_at += 1;
        at
    }

    fn set_room(&mut self, at: usize, node: &Node) {
        let limit = node.capacity.limit(&node.overcommit_percent);
        let system = node.system.units();
        for kind in ALL.map(|k| k as usize) {
            self.limit[kind][at] = (limit[kind] - system[kind]).clamp(0, MOST) as i32;
            self.refresh(kind, at);
        }
        for (n, kind) in [Resource::Cpu, Resource::Memory].into_iter().enumerate() {
            let limit = self.limit[kind as usize][at];
            self.inverse[n][at] = if limit > 0 { 1.0 / limit as f32 } else { 0.0 };
        }
        self.load[at] = node.load.min(1000) as f32;
        self.any_load |= node.load > 0;
        for name in node.extended.keys() {
            self.extended(name);
        }
        for (name, index) in &self.extended_names {
            let amount = |of: &Node| of.extended.get(name).map_or(0, |a| i64::try_from(*a).unwrap_or(MOST).min(MOST));
            self.extended_free[*index][at] += amount(node) - amount(&self.nodes[at]);
        }
        let ix = u32::try_from(at).unwrap_or(u32::MAX);
        for image in self.nodes[at].images.difference(&node.images) {
            if let Some(nodes) = self.image_nodes.get_mut(image) {
                nodes.remove(&ix);
            }
        }
        for image in node.images.difference(&self.nodes[at].images) {
            self.image_nodes.entry(image.clone()).or_default().insert(ix);
        }
    }

    pub(crate) fn refresh(&mut self, kind: usize, at: usize) {
        self.free[kind][at] = (i64::from(self.limit[kind][at]) - self.used[kind][at]).clamp(-MOST, MOST) as i32;
    }

    /// The column of an attribute; made if there is none.
    pub(crate) fn column(&mut self, name: &str) -> usize {
        if let Some(found) = self.column_names.get(name) {
            return *found;
        }
        let mut column = Column::new(self.nodes.len());
        for (at, node) in self.nodes.iter().enumerate() {
            column.set(at, if name == NAME { Some(&node.name) } else { node.attributes.get(name).map(String::as_str) });
        }
        self.columns.push(column);
        self.column_names.insert(name.to_owned(), self.columns.len() - 1);
        self.columns.len() - 1
    }

    pub(crate) fn state_column(&mut self) -> usize {
        self.column(STATE)
    }

    pub(crate) fn taint_column(&mut self) -> usize {
        self.column(TAINTS)
    }

    pub(crate) fn runtime_column(&mut self) -> usize {
        self.column(RUNTIMES)
    }

    pub(crate) fn extended(&mut self, name: &str) -> usize {
        if let Some(found) = self.extended_names.get(name) {
            return *found;
        }
        self.extended_free.push(vec![0; self.nodes.len()]);
        self.extended_names.insert(name.to_owned(), self.extended_free.len() - 1);
        self.extended_free.len() - 1
    }
}
