//! Which set of pods a service has on a cluster while there are several, and how many pods stand for a share of the requests where
//! no route parts them. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// One service, and what is behind it.
#[derive(Clone, Copy, Debug)]
pub struct Facing<'a> {
    /// The revision that it shall have alone.
    pub target: u64,
    /// So many pods of that take all of its requests.
    pub needed: u32,
    /// What it has alone now, if it has one alone.
    pub before: Option<u64>,
    /// Pods that are ready, by revision; those without any are left out.
    pub ready: &'a BTreeMap<u64, u32>,
    /// Revisions that were tried and given up.
    pub given_up: &'a BTreeSet<u64>,
}

/// The revision that the service has alone; none: all, until those of the target can take what there is.
pub fn chosen(at: &Facing<'_>) -> Option<u64> {
    let mut others = at.ready.keys().filter(|revision| **revision != at.target).peekable();
    if others.peek().is_none() {
        return Some(at.target);
    }
    let ready = at.ready.get(&at.target).copied().unwrap_or(0);
    // One that is not ready for a moment does not bring the others back.
    let stays = at.before == Some(at.target) && ready > 0;
    // Away from what was given up it goes as soon as it can be borne.
    let enough = if others.all(|revision| at.given_up.contains(revision)) { ready > 0 && ready.saturating_mul(2) >= at.needed } else { ready >= at.needed };
    (stays || enough).then_some(at.target)
}

/// How many of `all` old pods stand beside `new` ones, so that as near as may be `share` percent of the pods are new.
pub fn old_beside(new: u32, share: u32, all: u32) -> u32 {
    if !(1..100).contains(&share) {
        return all;
    }
    let wanted = (u64::from(new) * u64::from(100 - share) + u64::from(share) / 2) / u64::from(share);
    u32::try_from(wanted).unwrap_or(u32::MAX).clamp(all.min(1), all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(target: u64, needed: u32, before: Option<u64>, ready: &[(u64, u32)], given_up: &[u64]) -> Option<u64> {
        let (ready, given_up) = (ready.iter().copied().collect(), given_up.iter().copied().collect());
        chosen(&Facing { target, needed, before, ready: &ready, given_up: &given_up })
    }

    #[test]
    fn a_service_goes_over_when_the_others_can_be_spared() {
        assert_eq!(of(1, 3, None, &[], &[]), Some(1), "there is nobody else");
        assert_eq!(of(2, 3, Some(1), &[(1, 3), (2, 2)], &[]), None, "two cannot take what three took");
        assert_eq!(of(2, 3, Some(1), &[(1, 3), (2, 3)], &[]), Some(2));
        assert_eq!(of(2, 3, Some(2), &[(1, 3), (2, 1)], &[]), Some(2), "it has gone over");
        assert_eq!(of(2, 3, Some(2), &[(1, 3)], &[]), None, "nobody would answer");
    }

    #[test]
    fn what_was_given_up_is_left_at_once() {
        assert_eq!(of(1, 4, None, &[(1, 2), (2, 2)], &[2]), Some(1));
        assert_eq!(of(1, 4, Some(2), &[(1, 1), (2, 4)], &[2]), None, "one cannot bear what four did");
        assert_eq!(of(1, 0, Some(2), &[(2, 4)], &[2]), None);
    }

    #[test]
    fn pods_stand_for_the_share() {
        assert_eq!([(1, 25, 4), (1, 10, 10), (5, 50, 10), (1, 1, 2), (10, 99, 10)].map(|(new, share, all)| old_beside(new, share, all)), [3, 9, 5, 2, 1]);
        assert_eq!((old_beside(3, 0, 4), old_beside(3, 100, 4), old_beside(3, 50, 0)), (4, 4, 0));
    }

    proptest! {
        #[test]
        fn there_are_never_more_or_fewer_than_there_can_be(new in 0u32..2000, share in 0u32..=100, all in 0u32..2000) {
            let old = old_beside(new, share, all);
            prop_assert!(old <= all && (all == 0 || old > 0));
        }

        #[test]
        fn a_service_never_goes_where_nobody_answers(ready in proptest::collection::btree_map(1u64..5, 1u32..5, 1..4), target in 1u64..5, needed in 0u32..5, before in proptest::option::of(1u64..5)) {
            let given_up = BTreeSet::from([3]);
            let chosen = chosen(&Facing { target, needed, before, ready: &ready, given_up: &given_up });
            prop_assert!(chosen.is_none_or(|r| ready.contains_key(&r)) || needed == 0);
        }
    }
}
