//! All or none: a set of instances that is of use only together.

use crate::choose::Hints;
use crate::cluster::{Cluster, GroupIx, InstanceKey, NodeIx};
use crate::score::Weights;

/// Not all found a place, so none has got one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// How many would have found one.
    pub placed: usize,
    pub wanted: usize,
    /// Of the first that did not.
    pub group: GroupIx,
}

impl Cluster {
    /// Books all members, large ones first, or none. The nodes are in the order of the members.
    ///
    /// # Errors
    /// [`Incomplete`]; nothing is booked then.
    pub fn gang(&mut self, members: &[(InstanceKey, GroupIx)], weights: &Weights, hints: &Hints) -> Result<Vec<NodeIx>, Incomplete> {
        let mut order: Vec<usize> = (0..members.len()).collect();
        let size = |n: usize| self.groups[members[n].1.0 as usize].asked;
        order.sort_by(|a, b| size(*b).cmp(&size(*a)).then(a.cmp(b)));
        let mut nodes = vec![NodeIx(0); members.len()];
        for (done, at) in order.iter().enumerate() {
            let (key, group) = members[*at];
            let Some(choice) = self.choose(group, weights, hints) else {
                for before in &order[..done] {
                    self.remove(members[*before].0);
                }
                return Err(Incomplete { placed: done, wanted: members.len(), group });
            };
            self.place(key, group, choice.node);
            nodes[*at] = choice.node;
        }
        Ok(nodes)
    }
}
