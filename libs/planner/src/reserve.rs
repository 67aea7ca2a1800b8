//! Room that is kept on a node for those who name its key. It counts as used for all others, and is consumed before anything
//! else by those.

use crate::amounts::{Amounts, KINDS};
use crate::cluster::{Cluster, GroupIx, InstanceKey, NodeIx};

pub(crate) struct Reservation {
    pub key: String,
    pub node: NodeIx,
    /// Not taken yet.
    pub open: [i64; KINDS],
}

impl Cluster {
    /// Keeps `amounts` of the node for groups whose `reservation` is `key`, whether they are free now or not.
    pub fn reserve(&mut self, key: &str, node: NodeIx, amounts: &Amounts) {
        let open = amounts.units();
        self.change_used(node, &open, 1);
        self.reservations.push(Reservation { key: key.to_owned(), node, open });
    }

    /// Ends all reservations of a key; what was taken of them stays with who took it.
    pub fn unreserve(&mut self, key: &str) {
        for at in 0..self.reservations.len() {
            if self.reservations[at].key == key {
                let (node, open) = (self.reservations[at].node, std::mem::take(&mut self.reservations[at].open));
                self.change_used(node, &open, -1);
                self.reservations[at].key.clear();
            }
        }
    }

    fn change_used(&mut self, node: NodeIx, amounts: &[i64; KINDS], sign: i64) {
        for (kind, amount) in amounts.iter().enumerate() {
            self.used[kind][node.0 as usize] += sign * amount;
            self.refresh(kind, node.0 as usize);
        }
    }

    fn reservation(&self, group: GroupIx, node: NodeIx) -> Option<usize> {
        let key = &self.groups[group.0 as usize].spec.reservation;
        (!key.is_empty()).then(|| self.reservations.iter().position(|r| r.node == node && r.key == *key))?
    }

    /// The nodes where something is reserved for the group.
    pub(crate) fn promised(&self, group: GroupIx) -> Vec<usize> {
        let key = &self.groups[group.0 as usize].spec.reservation;
        if key.is_empty() {
            return Vec::new();
        }
        self.reservations.iter().filter(|r| r.key == *key).map(|r| r.node.0 as usize).collect()
    }

    /// What is free on a node for this group.
    pub(crate) fn free_for(&self, group: GroupIx, at: usize) -> [i64; KINDS] {
        let open = self.reservation(group, NodeIx(at as u32)).map(|r| self.reservations[r].open);
        std::array::from_fn(|kind| i64::from(self.limit[kind][at]) - self.used[kind][at] + open.map_or(0, |o| o[kind]))
    }

    pub(crate) fn has_room_reserved(&self, group: GroupIx, at: usize) -> bool {
        let open = self.reservation(group, NodeIx(at as u32)).is_some_and(|r| self.reservations[r].open.iter().any(|o| *o > 0));
        let asked = &self.groups[group.0 as usize].asked;
        open && self.free_for(group, at).iter().zip(asked).all(|(free, asked)| *asked == 0 || free >= asked)
    }

    pub(crate) fn take_reserved(&mut self, group: GroupIx, node: NodeIx) -> Option<(usize, [i64; KINDS])> {
        let at = self.reservation(group, node)?;
        let asked = self.groups[group.0 as usize].asked;
        let open = &mut self.reservations[at].open;
        let taken: [i64; KINDS] = std::array::from_fn(|kind| asked[kind].min(open[kind]));
        open.iter_mut().zip(taken).for_each(|(open, taken)| *open -= taken);
        Some((at, taken))
    }

    /// What an instance took of a reservation that is not `group`'s: when it goes, that is reserved again, not free.
    pub(crate) fn goes_back(&self, key: InstanceKey, group: GroupIx) -> [i64; KINDS] {
        let taken = self.instances.get(&key).and_then(|placed| placed.reserved);
        let own = &self.groups[group.0 as usize].spec.reservation;
        match taken {
            Some((at, taken)) if !self.reservations[at].key.is_empty() && self.reservations[at].key != *own => taken,
            _ => [0; KINDS],
        }
    }

    pub(crate) fn give_back_reserved(&mut self, reserved: Option<(usize, [i64; KINDS])>) {
        let Some((at, taken)) = reserved else { return };
        if self.reservations[at].key.is_empty() {
            // The reservation has ended meanwhile: what was taken of it is free now.
            self.change_used(self.reservations[at].node, &taken, -1);
        } else {
            self.reservations[at].open.iter_mut().zip(taken).for_each(|(open, taken)| *open += taken);
        }
    }
}
