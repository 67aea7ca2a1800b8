//! Making room: which instances of lower priority would have to go so that one of higher priority can come. The lowest go
//! first, and as few as possible; none of another tenant, none whose family may lose no more, and never one that a rule of the newcomer needs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::amounts::KINDS;
use crate::best::NO;
use crate::choose::Hints;
use crate::cluster::{Cluster, GroupIx, InstanceKey, NodeIx};
use crate::score::Weights;
use crate::spec::HostPort;

#[derive(Clone, Debug, PartialEq)]
pub struct Preemption {
    pub node: NodeIx,
    /// In the order in which they should go: lowest first.
    pub victims: Vec<InstanceKey>,
}

/// Less is better, from the left.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    /// The highest priority among those who go.
    highest: i32,
    how_many: usize,
    sum: i64,
}

impl Cluster {
    /// The node where making room costs least, if there is one. Nothing is booked and nobody is taken away. When there is
    /// room already, [`choose`](Self::choose) says so; this is for when it does not.
    pub fn preempt(&mut self, group: GroupIx, weights: &Weights, hints: &Hints) -> Option<Preemption> {
        let priority = self.spec(group).priority;
        if self.spec(group).never_preempts {
            return None;
        }
        let mut scores = std::mem::take(&mut self.scratch);
        self.score_rules(group, weights, hints, &mut scores);
        self.add_fill(&mut scores, &self.groups[group.0 as usize].asked, weights);
        let needed = self.needed(group);
        let mut order: Vec<usize> = (0..scores.len()).filter(|at| scores[*at] > NO && self.lowest[*at] < priority).collect();
        order.sort_unstable_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        let mut best: Option<(Cost, Preemption)> = None;
        for at in order {
            // Better nodes come first, so that a later one has to cost less; and it costs at least the lowest that is there.
            let least = Cost { highest: self.lowest[at], how_many: 1, sum: self.lowest[at].into() };
            if best.as_ref().is_some_and(|(cost, _)| least >= *cost) {
                continue;
            }
            if let Some((cost, victims)) = self.victims(group, at, priority, &needed)
                && best.as_ref().is_none_or(|(before, _)| cost < *before)
            {
                best = Some((cost, Preemption { node: NodeIx(at as u32), victims }));
            }
        }
        self.scratch = scores;
        best.map(|(_, preemption)| preemption)
    }

    /// Counters of those that the newcomer has to be near to: they stay.
    fn needed(&self, group: GroupIx) -> Vec<usize> {
        let own = &self.groups[group.0 as usize];
        let rules = own.spec.rules.near.iter().zip(&own.near_counters);
        rules.filter(|(near, _)| !near.apart && near.weight.is_none()).map(|(_, counter)| *counter).collect()
    }

    fn victims(&self, group: GroupIx, at: usize, priority: i32, needed: &[usize]) -> Option<(Cost, Vec<InstanceKey>)> {
        let own = &self.groups[group.0 as usize];
        let mut candidates: Vec<(i32, InstanceKey, GroupIx)> = Vec::new();
        for (key, standing) in &self.here[at] {
            let other = &self.groups[standing.0 as usize];
            let kept = other.counted_by.iter().any(|c| needed.contains(c));
            if other.spec.priority < priority && other.spec.tenant == own.spec.tenant && !kept && self.allowance(*standing) > 0 {
                candidates.push((other.spec.priority, *key, *standing));
            } else if other.spec.ports.iter().any(|theirs| own.spec.ports.iter().any(|port| port.meets(theirs))) {
                return None;
            }
        }
        candidates.sort_unstable_by_key(|(priority, key, _)| (*priority, *key));
        let mut room = Room::of(self, group, at);
        let mut left: BTreeMap<usize, u32> = BTreeMap::new();
        let mut going: Vec<(i32, InstanceKey, GroupIx)> = Vec::new();
        for candidate in candidates {
            if room.enough() {
                break;
            }
            let other = &self.groups[candidate.2.0 as usize];
            let allowance = left.entry(other.family).or_insert_with(|| self.allowance(candidate.2));
            if *allowance == 0 {
                continue;
            }
            *allowance -= 1;
            room.change(self, candidate, 1);
            going.push(candidate);
        }
        if !room.enough() {
            return None;
        }
        // Whose going turned out not to be needed stays, the highest first.
        for n in (0..going.len()).rev() {
            room.change(self, going[n], -1);
            if room.enough() {
                going.remove(n);
            } else {
                room.change(self, going[n], 1);
            }
        }
        let highest = going.iter().map(|g| g.0).max()?;
        let sum = going.iter().map(|g| i64::from(g.0)).sum();
        Some((Cost { highest, how_many: going.len(), sum }, going.into_iter().map(|g| g.1).collect()))
    }
}

/// What is missing on a node while instances are thought away.
struct Room {
    group: GroupIx,
    free: [i64; KINDS],
    asked: [i64; KINDS],
    extended: Vec<(usize, i64)>,
    ports: Vec<(HostPort, i64)>,
}

impl Room {
    fn of(cluster: &Cluster, group: GroupIx, at: usize) -> Self {
        let own = &cluster.groups[group.0 as usize];
        let here = |port: &HostPort, user: &(u32, Option<IpAddr>)| user.0 == at as u32 && port.meets_at(user.1);
        let users = |port: &HostPort| cluster.port_users.get(&port.key()).map_or(0, |all| all.iter().filter(|user| here(port, *user)).count() as i64);
        Self {
            group,
            free: cluster.free_for(group, at),
            asked: own.asked,
            extended: own.extended.iter().map(|(index, amount)| (*index, cluster.extended_free[*index][at] - amount)).collect(),
            ports: own.spec.ports.iter().map(|port| (*port, users(port))).collect(),
        }
    }

    fn change(&mut self, cluster: &Cluster, (_, key, group): (i32, InstanceKey, GroupIx), sign: i64) {
        let other = &cluster.groups[group.0 as usize];
        let kept = cluster.goes_back(key, self.group);
        for ((free, amount), kept) in self.free.iter_mut().zip(other.asked).zip(kept) {
            *free += sign * (amount - kept);
        }
        for (index, missing) in &mut self.extended {
            *missing += sign * other.extended.iter().filter(|(i, _)| i == index).map(|(_, a)| a).sum::<i64>();
        }
        for (port, users) in &mut self.ports {
            *users -= sign * other.spec.ports.iter().filter(|theirs| port.meets(theirs)).count() as i64;
        }
    }

    fn enough(&self) -> bool {
        self.free.iter().zip(self.asked).all(|(free, asked)| asked == 0 || *free >= asked)
            && self.extended.iter().all(|(_, left)| *left >= 0)
            && self.ports.iter().all(|(_, users)| *users <= 0)
    }
}
