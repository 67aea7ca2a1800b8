//! After nodes have come or come back: a few moves that make the cluster more even. Each move makes a measure of unevenness
//! smaller by at least a given step, so that this ends, and undoes nothing that it did before.
//!
//! The measure is the sum of two squares: how full each node is, and how many instances of one family stand together on a node.

use std::fmt;

use crate::amounts::Resource;
use crate::choose::Hints;
use crate::cluster::{Cluster, GroupIx, InstanceKey, NodeIx};
use crate::score::Weights;

#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    Drained,
    /// Shares of the more used one of processors and memory, in per cent, before and after.
    Fuller {
        from_percent: u32,
        to_percent: u32,
    },
    /// Instances of its family on either node before.
    Together {
        there: u32,
        here: u32,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drained => f.write_str("its node is drained"),
            Self::Fuller { from_percent, to_percent } => write!(f, "its node is {from_percent} % full, the other one {to_percent} %"),
            Self::Together { there, here } => write!(f, "{there} of its workload stand on its node, {here} on the other one"),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    pub instance: InstanceKey,
    pub from: NodeIx,
    pub to: NodeIx,
    pub reason: Reason,
}

/// How much a rebalancing may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub moves: usize,
    /// A move that gains less than this is not worth the disturbance, in the measure's unit: 1 is one node from empty to full.
    pub gain: f64,
    /// Even out how full nodes are; otherwise only families that stand together are parted.
    pub load: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { moves: 10, gain: 0.02, load: true }
    }
}

/// How much two of one family on a node weigh against fullness.
const TOGETHER: f64 = 0.05;
/// So many of the fullest nodes are looked at for each move.
const SOURCES: usize = 16;

impl Cluster {
    /// The moves, booked, the one that gains most first. `movable` says whether an instance may be moved now; nobody is moved
    /// twice, none of a family whose allowance is used up, and none to where a rule or the room forbids it.
    pub fn rebalance(&mut self, limits: &Limits, weights: &Weights, movable: impl Fn(InstanceKey) -> bool) -> Vec<Move> {
        let mut moves: Vec<Move> = Vec::new();
        while moves.len() < limits.moves {
            let done = |key: InstanceKey| moves.iter().any(|m| m.instance == key);
            let Some(next) = self.best_move(limits, weights, |key| movable(key) && !done(key)) else { break };
            let Some(group) = self.instances.get(&next.instance).map(|p| p.group) else { break };
            self.use_allowance(group);
            self.place(next.instance, group, next.to);
            moves.push(next);
        }
        moves
    }

    fn best_move(&mut self, limits: &Limits, weights: &Weights, movable: impl Fn(InstanceKey) -> bool) -> Option<Move> {
        let mut sources: Vec<(f64, usize)> = (0..self.nodes.len()).filter(|at| !self.here[*at].is_empty()).map(|at| (self.crowd(at, limits), at)).collect();
        sources.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        // The emptier node is better, whatever is preferred otherwise: this is about being even.
        let even = Weights { pack: 0, load: 20, ..*weights };
        let mut best: Option<(f64, Move)> = None;
        for (_, from) in sources.into_iter().take(SOURCES) {
            let mut tried: Vec<GroupIx> = Vec::new();
            let mut standing = self.here[from].clone();
            standing.sort_unstable();
            for (key, group) in standing.into_iter().filter(|(k, _)| movable(*k)) {
                // Equal instances gain the same.
                if tried.contains(&group) || self.allowance(group) == 0 {
                    continue;
                }
                tried.push(group);
                let from_ix = NodeIx(from as u32);
                self.remove(key);
                let choice = self.choose(group, &even, &Hints { only: None, except: vec![from_ix] });
                let found = choice.map(|c| (self.gain(group, from, c.node.0 as usize, limits), c.node));
                let reason = found.map(|(_, to)| self.reason(group, from, to.0 as usize));
                self.place(key, group, from_ix);
                let (Some((gain, to)), Some(reason)) = (found, reason) else { continue };
                if gain >= limits.gain && best.as_ref().is_none_or(|(most, _)| gain > *most) {
                    best = Some((gain, Move { instance: key, from: from_ix, to, reason }));
                }
            }
        }
        best.map(|(_, m)| m)
    }

    /// The share of the more used one of processors and memory, with one more instance of the group if there is one.
    fn fill(&self, at: usize, more: Option<GroupIx>) -> f64 {
        let share = |kind: Resource| {
            let limit = f64::from(self.limit[kind as usize][at].max(1));
            let asked = more.map_or(0, |g| self.groups[g.0 as usize].asked[kind as usize]);
            (self.used[kind as usize][at] + asked) as f64 / limit
        };
        share(Resource::Cpu).max(share(Resource::Memory))
    }

    /// How much there is to gain on a node.
    fn crowd(&self, at: usize, limits: &Limits) -> f64 {
        let mut families: Vec<usize> = self.here[at].iter().map(|(_, group)| self.groups[group.0 as usize].family).collect();
        families.sort_unstable();
        let together = families.windows(2).filter(|w| w[0] == w[1]).count() as f64;
        together * TOGETHER + if limits.load { self.fill(at, None).powi(2) } else { 0.0 }
    }

    /// How much smaller the measure gets when the instance, which has been taken off `from`, goes to `to`.
    fn gain(&self, group: GroupIx, from: usize, to: usize, limits: &Limits) -> f64 {
        let square = |x: f64| x * x;
        let load = |at: usize| square(self.fill(at, Some(group))) - square(self.fill(at, None));
        let together = |at: usize| f64::from(2 * self.family_here(group, at) + 1) * TOGETHER / 2.0;
        let full = if limits.load { load(from) - load(to) } else { 0.0 };
        full + together(from) - together(to)
    }

    fn reason(&self, group: GroupIx, from: usize, to: usize) -> Reason {
        let (there, here) = (self.family_here(group, from) + 1, self.family_here(group, to));
        if there > here + 1 {
            return Reason::Together { there, here };
        }
        let percent = |share: f64| (share * 100.0).round().clamp(0.0, 10_000.0) as u32;
        Reason::Fuller { from_percent: percent(self.fill(from, Some(group))), to_percent: percent(self.fill(to, None)) }
    }
}
