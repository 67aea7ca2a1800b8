//! Which cluster shall have how many of a workload. The same question always has the same answer, whatever was before; and what
//! is lost or comes back moves its own share and nothing else.

use std::collections::BTreeMap;

use super::settings::FleetPolicy;
use crate::domain::model::{Workload, WorkloadKind};
use crate::domain::wanted::kept_volumes;

/// One cluster, as far as dividing concerns it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    pub name: String,
    pub weight: u32,
    /// Where it is; empty: nobody said.
    pub region: String,
    pub zone: String,
    pub lost: bool,
    /// So many are said to be there, whatever the weights.
    pub fixed: Option<u32>,
}

impl Site {
    fn takes(&self) -> bool {
        self.weight > 0 && !self.lost
    }
}

/// What ties a workload to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Free,
    /// It keeps volumes, which do not move.
    Data,
    /// It must never run twice, and nobody knows whether it runs on a lost cluster.
    Fenced,
    /// It runs to its end, once.
    Once,
}

pub fn bound(workload: &Workload) -> Bound {
    match workload.kind {
        WorkloadKind::Stateful => Bound::Data,
        _ if !kept_volumes(workload).is_empty() => Bound::Data,
        _ if workload.placement.fenced => Bound::Fenced,
        WorkloadKind::Job | WorkloadKind::CronJob => Bound::Once,
        WorkloadKind::Stateless | WorkloadKind::Global => Bound::Free,
    }
}

/// What is to be divided.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub kind: WorkloadKind,
    pub bound: Bound,
    pub count: u32,
    /// Where it, or its data, is: an index into the clusters.
    pub home: Option<usize>,
    /// A job that has done all that was asked.
    pub done: bool,
}

/// Of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// None: nothing of it is there. One with a pod on each node counts as one.
    pub replicas: Option<u32>,
    /// Why, for a person.
    pub reason: String,
}

impl Share {
    fn none(reason: &str) -> Self {
        Self { replicas: None, reason: reason.to_owned() }
    }
}

/// A share for each cluster, in their order. If all are lost there is nowhere to go, and what is there stays: it is more likely
/// that we are cut off.
pub fn shares(policy: FleetPolicy, asked: &Asked, sites: &[Site]) -> Vec<Share> {
    if sites.iter().any(|s| s.weight > 0) && !sites.iter().any(Site::takes) {
        let there: Vec<Site> = sites.iter().map(|s| Site { lost: false, ..s.clone() }).collect();
        let told = |s: Share| Share { reason: format!("{}; all of the clusters are lost, and what is there stays", s.reason), ..s };
        return shares(policy, asked, &there).into_iter().map(told).collect();
    }
    let away = |site: &Site| match (site.lost, site.weight) {
        (true, _) => Share::none("the cluster is lost"),
        (_, 0) => Share::none("its weight is 0"),
        _ => Share::none("nothing is due here"),
    };
    let mut out: Vec<Share> = sites.iter().map(away).collect();
    if asked.bound != Bound::Free {
        let stays = asked.home.filter(|at| sites.get(*at).is_some_and(|site| asked.bound != Bound::Once || asked.done || !site.lost));
        let Some(at) = stays.or_else(|| first(policy, sites)) else { return out };
        let reason = match (asked.bound, stays.is_some(), sites[at].lost) {
            (Bound::Data, true, true) => "its data is on this cluster, which is lost: it waits here until the cluster is back; volumes do not move",
            (Bound::Data, true, false) => "its data is here; volumes do not move",
            (Bound::Fenced, true, true) => "it must never run twice, and may still run on this cluster, which is lost: it waits here",
            (Bound::Fenced, true, false) => "it must never run twice, so it stays here",
            (Bound::Once, true, _) => "it runs once, and began here",
            (_, false, _) => "it runs on one cluster, and this is the first for it",
            (Bound::Free, ..) => "",
        };
        out[at] = Share { replicas: Some(number(asked, &sites[at])), reason: reason.to_owned() };
        return out;
    }
    let on_each = asked.kind == WorkloadKind::Global;
    match policy {
        _ if on_each => {
            for (share, _) in out.iter_mut().zip(sites).filter(|(_, site)| site.takes()) {
                *share = Share { replicas: Some(1), reason: "one on each node of each cluster".into() };
            }
        }
        FleetPolicy::Duplicate => {
            for (share, site) in out.iter_mut().zip(sites).filter(|(_, site)| site.takes()) {
                *share = Share { replicas: Some(number(asked, site)), reason: "all of it is on each cluster".into() };
            }
        }
        FleetPolicy::Failover => {
            if let Some(at) = first(policy, sites) {
                let before: Vec<&str> = sites[..at].iter().filter(|s| s.lost && s.weight > 0).map(|s| s.name.as_str()).collect();
                let reason =
                    if before.is_empty() { "the first of the clusters".into() } else { format!("the first that is not lost, after {}", before.join(", ")) };
                out[at] = Share { replicas: Some(number(asked, &sites[at])), reason };
            }
        }
        FleetPolicy::Spread => by_weight(asked, sites, &mut out),
    }
    // What is scaled to nothing keeps its objects in one place.
    if asked.count == 0
        && out.iter().all(|s| s.replicas.is_none())
        && let Some(at) = first(policy, sites)
    {
        out[at] = Share { replicas: Some(0), reason: "none is asked for".into() };
    }
    out
}

fn number(asked: &Asked, site: &Site) -> u32 {
    match asked.kind {
        WorkloadKind::CronJob | WorkloadKind::Global => 1,
        WorkloadKind::Stateless | WorkloadKind::Stateful | WorkloadKind::Job => site.fixed.unwrap_or(asked.count),
    }
}

/// For what is on one cluster only: the first in order, or the heaviest where order says nothing.
fn first(policy: FleetPolicy, sites: &[Site]) -> Option<usize> {
    let mut taking = sites.iter().enumerate().filter(|(_, site)| site.takes());
    match policy {
        FleetPolicy::Failover => taking.next().map(|(at, _)| at),
        FleetPolicy::Spread | FleetPolicy::Duplicate => taking.max_by_key(|(at, site)| (site.weight, std::cmp::Reverse(*at))).map(|(at, _)| at),
    }
}

/// Each has what it would have if none were lost; what the lost ones would have goes to others of their zone, else of their
/// region, else to all. So nothing moves that need not, and all is as before when they are back.
fn by_weight(asked: &Asked, sites: &[Site], out: &mut [Share]) {
    let mut left = asked.count;
    for (share, site) in out.iter_mut().zip(sites).filter(|(_, site)| site.takes()) {
        if let Some(fixed) = site.fixed {
            let n = fixed.min(left);
            left -= n;
            *share = Share { replicas: Some(n).filter(|n| *n > 0), reason: format!("{fixed} are said to be here") };
        }
    }
    let dividing: Vec<usize> = (0..sites.len()).filter(|at| sites[*at].weight > 0 && (sites[*at].lost || sites[*at].fixed.is_none())).collect();
    let taking: Vec<usize> = dividing.iter().copied().filter(|at| sites[*at].takes()).collect();
    if taking.is_empty() {
        return;
    }
    let own = over_places(left, &dividing, sites, 0);
    let mut moved: BTreeMap<Vec<usize>, (u32, Vec<&str>)> = BTreeMap::new();
    for at in dividing.iter().copied().filter(|at| sites[*at].lost) {
        let lost = &sites[at];
        let near = |same: &dyn Fn(&Site) -> bool| taking.iter().copied().filter(|at| same(&sites[*at])).collect::<Vec<_>>();
        let zone = near(&|s: &Site| !s.zone.is_empty() && s.zone == lost.zone && s.region == lost.region);
        let region = near(&|s: &Site| !s.region.is_empty() && s.region == lost.region);
        let to = [zone, region].into_iter().find(|all| !all.is_empty()).unwrap_or_else(|| taking.clone());
        let one = moved.entry(to).or_default();
        one.0 += own.get(&at).copied().unwrap_or(0);
        one.1.push(&lost.name);
    }
    let mut taken: BTreeMap<usize, (u32, Vec<String>)> = BTreeMap::new();
    for (to, (count, of)) in moved {
        let weights: Vec<u64> = to.iter().map(|at| sites[*at].weight.into()).collect();
        for (at, n) in to.iter().zip(divide(count, &weights)).filter(|(_, n)| *n > 0) {
            let one = taken.entry(*at).or_default();
            one.0 += n;
            one.1.extend(of.iter().map(|name| (*name).to_owned()));
        }
    }
    let total: u64 = dividing.iter().map(|at| u64::from(sites[*at].weight)).sum();
    for at in taking {
        let mine = own.get(&at).copied().unwrap_or(0);
        let (more, of) = taken.remove(&at).unwrap_or_default();
        let mut reason = format!("{mine} of {left} by its weight of {} in {total}", sites[at].weight);
        if more > 0 {
            reason = format!("{reason}, and {more} of {}, which {} lost", of.join(", "), if of.len() == 1 { "is" } else { "are" });
        }
        out[at] = Share { replicas: Some(mine + more).filter(|n| *n > 0), reason };
    }
}

/// Over regions, then zones, then clusters: so two go to two zones even if one zone has two clusters.
fn over_places(count: u32, members: &[usize], sites: &[Site], level: usize) -> BTreeMap<usize, u32> {
    let place = |at: usize| {
        let site = &sites[at];
        match (level, site.region.is_empty(), site.zone.is_empty()) {
            (0, false, _) => site.region.clone(),
            (0, true, false) | (1, _, false) => format!("/{}", site.zone),
            (0 | 1, ..) => format!("//{}", site.name),
            _ => String::new(),
        }
    };
    let mut groups: Vec<(String, Vec<usize>)> = Vec::new();
    for at in members.iter().copied() {
        let key = if level < 2 { place(at) } else { at.to_string() };
        match groups.iter_mut().find(|(of, _)| *of == key) {
            Some((_, all)) => all.push(at),
            None => groups.push((key, vec![at])),
        }
    }
    let weights: Vec<u64> = groups.iter().map(|(_, all)| all.iter().map(|at| u64::from(sites[*at].weight)).sum()).collect();
    let numbers = divide(count, &weights);
    let mut out = BTreeMap::new();
    for ((_, all), n) in groups.into_iter().zip(numbers) {
        match all[..] {
            [one] => drop(out.insert(one, n)),
            _ => out.extend(over_places(n, &all, sites, level + 1)),
        }
    }
    out
}

/// By largest remainder: the parts sum to `count`, and each is its exact quota rounded down or up. Of equal remainders the first
/// counts. Without any weight nobody gets anything.
pub fn divide(count: u32, weights: &[u64]) -> Vec<u32> {
    let total: u128 = weights.iter().map(|w| u128::from(*w)).sum();
    if total == 0 {
        return vec![0; weights.len()];
    }
    let exact = |w: u64| u128::from(count) * u128::from(w);
    let mut parts: Vec<u32> = weights.iter().map(|w| u32::try_from(exact(*w) / total).unwrap_or(count)).collect();
    let left = count - parts.iter().sum::<u32>();
    let mut order: Vec<usize> = (0..weights.len()).filter(|at| weights[*at] > 0).collect();
    order.sort_by_key(|at| (std::cmp::Reverse(exact(weights[*at]) % total), *at));
    for at in order.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        parts[at] += 1;
    }
    parts
}

#[cfg(test)]
mod tests;
