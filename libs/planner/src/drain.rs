//! Emptying a node: who can go where now, and who has to wait for what.

use crate::choose::Hints;
use crate::cluster::{Cluster, InstanceKey, NodeIx};
use crate::rebalance::{Move, Reason};
use crate::score::Weights;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Its family may lose no more now.
    Budget,
    /// There is no other place for it.
    NoPlace,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drain {
    pub moves: Vec<Move>,
    pub held: Vec<(InstanceKey, Held)>,
}

impl Cluster {
    /// The next moves off a node, booked; the highest priority first. Each takes one of its family's allowance.
    pub fn drain(&mut self, node: NodeIx, weights: &Weights) -> Drain {
        let mut standing: Vec<(std::cmp::Reverse<i32>, InstanceKey)> =
            self.here[node.0 as usize].iter().map(|(key, group)| (std::cmp::Reverse(self.spec(*group).priority), *key)).collect();
        standing.sort_unstable();
        let hints = Hints { only: None, except: vec![node] };
        let mut out = Drain::default();
        for (_, key) in standing {
            let Some(group) = self.instances.get(&key).map(|p| p.group) else { continue };
            if self.allowance(group) == 0 {
                out.held.push((key, Held::Budget));
                continue;
            }
            self.remove(key);
            match self.choose(group, weights, &hints) {
                Some(choice) => {
                    self.use_allowance(group);
                    self.place(key, group, choice.node);
                    out.moves.push(Move { instance: key, from: node, to: choice.node, reason: Reason::Drained });
                }
                None => {
                    self.place(key, group, node);
                    out.held.push((key, Held::NoPlace));
                }
            }
        }
        out
    }
}
