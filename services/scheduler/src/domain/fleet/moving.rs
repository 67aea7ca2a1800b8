//! From what is on the clusters to what shall be, in steps: what has to go elsewhere is made there first, never more than the
//! surge beside, and goes from where it was as the new ones are ready.

/// Of all clusters together.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub total: u32,
    /// So many may be there beside them meanwhile.
    pub surge: u32,
    /// So many have to be ready meanwhile.
    pub floor: u32,
}

/// One cluster that is not lost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stand {
    pub target: u32,
    /// Asked of it until now.
    pub assigned: u32,
    /// There, ready or not, whatever was asked.
    pub there: u32,
    pub ready: u32,
    /// It tells what it has. What nobody sees is left as it is.
    pub seen: bool,
}

/// What is asked of each from now on, in their order.
pub fn step(pace: &Pace, stands: &[Stand]) -> Vec<u32> {
    // Nothing has to leave any of them.
    if stands.iter().all(|s| s.assigned <= s.target && s.there <= s.target) {
        return stands.iter().map(|s| s.target).collect();
    }
    let mut next: Vec<u32> = stands.iter().map(|s| s.assigned).collect();
    // More than all that are wanted: those that are not ready first.
    let mut surplus = sum(next.iter().copied()).saturating_sub(pace.total);
    for (n, s) in next.iter_mut().zip(stands).filter(|(_, s)| s.seen) {
        let unready = n.saturating_sub(s.ready.max(s.target)).min(surplus);
        *n -= unready;
        surplus -= unready;
    }
    let mut spare = sum(next.iter().zip(stands).filter(|(_, s)| s.seen).map(|(n, s)| s.ready.min(*n))).saturating_sub(pace.floor);
    for (n, s) in next.iter_mut().zip(stands).filter(|(_, s)| s.seen) {
        let goes = n.saturating_sub(s.target).min(spare);
        *n -= goes;
        spare -= goes;
    }
    // What has been told to go takes its room until it has gone.
    let taken = sum(next.iter().zip(stands).map(|(n, s)| s.there.max(*n)));
    let mut room = pace.total.saturating_add(pace.surge).saturating_sub(taken);
    for (n, s) in next.iter_mut().zip(stands).filter(|(_, s)| s.seen) {
        let comes = s.target.saturating_sub(*n).min(room);
        *n += comes;
        room -= comes;
    }
    next
}

fn sum(numbers: impl Iterator<Item = u32>) -> u32 {
    numbers.fold(0, u32::saturating_add)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stand(target: u32, assigned: u32, ready: u32) -> Stand {
        Stand { target, assigned, there: assigned.max(ready), ready, seen: true }
    }

    const PACE: Pace = Pace { total: 4, surge: 1, floor: 4 };

    #[test]
    fn what_nothing_has_to_leave_for_is_there_at_once() {
        assert_eq!(step(&PACE, &[stand(3, 0, 0), stand(1, 0, 0)]), [3, 1]);
        assert_eq!(step(&PACE, &[stand(4, 2, 2)]), [4], "the other one is lost: its share comes at once");
    }

    #[test]
    fn what_comes_back_comes_one_by_one_and_goes_when_the_new_one_is_ready() {
        assert_eq!(step(&PACE, &[stand(2, 0, 0), stand(2, 4, 4)]), [1, 4]);
        assert_eq!(step(&PACE, &[stand(2, 1, 0), stand(2, 4, 4)]), [1, 4], "not ready yet");
        assert_eq!(step(&PACE, &[stand(2, 1, 1), stand(2, 4, 4)]), [1, 3], "and the next when it has gone");
        assert_eq!(step(&PACE, &[stand(2, 1, 1), stand(2, 3, 3)]), [2, 3]);
        assert_eq!(step(&PACE, &[stand(2, 2, 2), stand(2, 3, 3)]), [2, 2]);
    }

    #[test]
    fn what_is_left_on_a_cluster_that_returns_is_pruned_before_anything_comes() {
        let returned = Stand { target: 2, assigned: 0, there: 2, ready: 2, seen: true };
        assert_eq!(step(&PACE, &[returned, stand(2, 4, 4)])[0], 0);
    }

    #[test]
    fn what_nobody_sees_is_left_as_it_is() {
        let unseen = Stand { target: 2, assigned: 0, seen: false, ..Stand::default() };
        assert_eq!(step(&PACE, &[unseen, stand(2, 4, 4)]), [0, 4]);
    }

    #[test]
    fn fewer_are_fewer_at_once() {
        assert_eq!(step(&Pace { total: 2, surge: 1, floor: 2 }, &[stand(1, 3, 3), stand(1, 3, 3)]), [1, 1]);
        assert_eq!(
            step(&Pace { total: 2, surge: 1, floor: 2 }, &[stand(1, 3, 0), stand(1, 3, 3)]),
            [1, 2],
            "those that are not ready first, and no ready one too many"
        );
    }

    proptest! {
        #[test]
        fn it_arrives_without_too_many_or_too_few(
            pairs in proptest::collection::vec((0_u32..8, 0_u32..8), 1..6),
            surge in 1_u32..4,
        ) {
            let total: u32 = pairs.iter().map(|(target, _)| target).sum();
            let before: u32 = pairs.iter().map(|(_, assigned)| assigned).sum();
            let pace = Pace { total, surge, floor: total };
            let mut stands: Vec<Stand> = pairs.iter().map(|(target, assigned)| stand(*target, *assigned, *assigned)).collect();
            for _ in 0..200 {
                let next = step(&pace, &stands);
                let there: u32 = next.iter().zip(&stands).map(|(n, s)| s.there.max(*n)).sum();
                prop_assert!(there <= before.max(total + surge), "{stands:?} {next:?}");
                let ready: u32 = next.iter().zip(&stands).map(|(n, s)| s.ready.min(*n)).sum();
                let was: u32 = stands.iter().map(|s| s.ready).sum();
                prop_assert!(ready >= total.min(was), "{stands:?} {next:?}");
                for (s, n) in stands.iter_mut().zip(next) {
                    (s.assigned, s.there, s.ready) = (n, n, n);
                }
            }
            prop_assert!(stands.iter().all(|s| s.assigned == s.target), "{stands:?}");
        }
    }
}
