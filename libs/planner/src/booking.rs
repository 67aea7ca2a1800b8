//! Groups become known, instances come and go: each booking touches one node, its group, its family and the counters that
//! count it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::amounts::{KINDS, MOST};
use crate::cluster::{Cluster, Family, Group, GroupIx, InstanceKey, NodeIx, Placed};
use crate::spec::Spec;

impl Cluster {
    /// Makes a group known. With a key that is known, the spec is replaced, and its instances count by the new one.
    pub fn set_group(&mut self, spec: &Spec) -> GroupIx {
        let known = self.by_key.get(&spec.key).copied();
        let Some(found) = known else {
            let ix = GroupIx(u32::try_from(self.groups.len()).expect("fewer than 2^32 groups"));
            let group = self.new_group(spec);
            self.groups.push(group);
            self.by_key.insert(spec.key.clone(), ix);
            self.join(ix);
            return ix;
        };
        if *self.groups[found.0 as usize].spec == *spec {
            return found;
        }
        let standing: Vec<InstanceKey> = self.instances.iter().filter(|(_, p)| p.group == found).map(|(k, _)| *k).collect();
        let mut places: Vec<(InstanceKey, NodeIx)> = standing.into_iter().filter_map(|k| Some((k, self.remove(k)?))).collect();
        places.sort_unstable();
        self.leave(found);
        self.groups[found.0 as usize] = self.new_group(spec);
        self.join(found);
        for (key, node) in places {
            self.place(key, found, node);
        }
        found
    }

    fn new_group(&mut self, spec: &Spec) -> Group {
        let family = match self.family_names.get(&spec.family) {
            Some(known) => *known,
            None => {
                self.families.push(Family::default());
                self.family_groups.push(Vec::new());
                self.family_names.insert(spec.family.clone(), self.families.len() - 1);
                self.families.len() - 1
            }
        };
        let amount = |a: &u64| i64::try_from(*a).unwrap_or(MOST).min(MOST);
        let extended = spec.extended.iter().map(|(name, a)| (self.extended(name), amount(a))).collect();
        Group {
            asked: spec.requests.asked(),
            spec: Arc::new(spec.clone()),
            family,
            extended,
            bias: Vec::new(),
            bias_at: 0,
            wide: Vec::new(),
            on: BTreeMap::new(),
            counted_by: Vec::new(),
            shunned_by: Vec::new(),
            near_counters: Vec::new(),
            spread_counters: Vec::new(),
            zone_counter: 0,
        }
    }

    /// Books an instance, whether it fits or not: what stands, stands. An instance that is known is moved.
    pub fn place(&mut self, key: InstanceKey, group: GroupIx, node: NodeIx) {
        self.remove(key);
        let reserved = self.take_reserved(group, node);
        self.amounts(group, node, reserved.as_ref().map(|(_, taken)| taken), 1);
        self.here[node.0 as usize].push((key, group));
        let priority = self.groups[group.0 as usize].spec.priority;
        let lowest = &mut self.lowest[node.0 as usize];
        *lowest = (*lowest).min(priority);
        self.count(group, node, true);
        self.instances.insert(key, Placed { group, node, reserved });
    }

    /// Takes an instance away; where it stood, if it did.
    pub fn remove(&mut self, key: InstanceKey) -> Option<NodeIx> {
        let placed = self.instances.remove(&key)?;
        let at = placed.node.0 as usize;
        self.amounts(placed.group, placed.node, placed.reserved.as_ref().map(|(_, taken)| taken), -1);
        self.give_back_reserved(placed.reserved);
        self.here[at].retain(|(k, _)| *k != key);
        self.lowest[at] = self.here[at].iter().map(|(_, group)| self.groups[group.0 as usize].spec.priority).min().unwrap_or(i32::MAX);
        self.count(placed.group, placed.node, false);
        Some(placed.node)
    }

    /// Takes an instance away that others displace: one fewer of its family may be taken away after it.
    pub fn displace(&mut self, key: InstanceKey) -> Option<NodeIx> {
        let group = self.group_of(key)?;
        self.use_allowance(group);
        self.remove(key)
    }

    fn amounts(&mut self, group: GroupIx, node: NodeIx, from_reservation: Option<&[i64; KINDS]>, sign: i64) {
        let at = node.0 as usize;
        for kind in 0..KINDS {
            let taken = from_reservation.map_or(0, |r| r[kind]);
            self.used[kind][at] += sign * (self.groups[group.0 as usize].asked[kind] - taken);
            self.refresh(kind, at);
        }
        for (index, amount) in &self.groups[group.0 as usize].extended {
            self.extended_free[*index][at] -= sign * amount;
        }
        for port in &self.groups[group.0 as usize].spec.ports {
            let users = self.port_users.entry(port.key()).or_default();
            if sign > 0 {
                users.push((node.0, port.address));
            } else if let Some(found) = users.iter().position(|user| *user == (node.0, port.address)) {
                users.swap_remove(found);
            }
        }
        let group = &mut self.groups[group.0 as usize];
        for on in [&mut group.on, &mut self.families[group.family].on] {
            change_count(on, node.0, sign > 0);
        }
    }

    /// How many instances of this family may still be taken away by drains, displacements and moves. `None`: as many as you like.
    pub fn set_allowance(&mut self, group: GroupIx, allowance: Option<u32>) {
        let family = self.groups[group.0 as usize].family;
        self.families[family].allowance = allowance;
    }

    pub(crate) fn allowance(&self, group: GroupIx) -> u32 {
        self.families[self.groups[group.0 as usize].family].allowance.unwrap_or(u32::MAX)
    }

    pub(crate) fn use_allowance(&mut self, group: GroupIx) {
        let family = self.groups[group.0 as usize].family;
        if let Some(left) = &mut self.families[family].allowance {
            *left = left.saturating_sub(1);
        }
    }

    /// How many instances of the group's family stand on the node.
    pub(crate) fn family_here(&self, group: GroupIx, at: usize) -> u32 {
        let family = &self.families[self.groups[group.0 as usize].family];
        family.on.get(&u32::try_from(at).unwrap_or(u32::MAX)).copied().unwrap_or(0)
    }
}

/// One more or one fewer; where there are none, there is no entry.
pub(crate) fn change_count(counts: &mut BTreeMap<u32, u32>, at: u32, more: bool) {
    if more {
        *counts.entry(at).or_default() += 1;
    } else if let Some(count) = counts.get_mut(&at) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&at);
        }
    }
}
