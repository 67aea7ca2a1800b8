//! Which uploads under way end before their time. Pure. Their bytes are not held against a project's quota, so that a push that fails costs nothing;
//! what is begun and left must not fill the disk for all that.

use std::time::Duration;

use gantry_kernel::Uuid;

/// How long nobody has sent anything, at least, of an upload that ends: clients that are cut off come back within minutes.
pub const LEFT: Duration = Duration::from_secs(3600);

/// An upload under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    pub id: Uuid,
    pub bytes: u64,
    /// How long nobody has sent anything.
    pub idle: Duration,
}

/// Those of one project's uploads that end, so that no more than `most` bytes of them lie there: of those that were left, the oldest first.
pub fn to_end(mut open: Vec<Open>, most: u64) -> Vec<Uuid> {
    let mut bytes = open.iter().fold(0_u64, |all, one| all.saturating_add(one.bytes));
    open.retain(|one| one.idle >= LEFT && one.bytes > 0);
    open.sort_by_key(|one| (std::cmp::Reverse(one.idle), one.id));
    let mut ended = Vec::new();
    for one in open {
        if bytes <= most {
            break;
        }
        bytes = bytes.saturating_sub(one.bytes);
        ended.push(one.id);
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_that_were_left_end_the_oldest_first_until_the_rest_is_little_enough() {
        let open = |id: u128, bytes: u64, minutes: u64| Open { id: Uuid::from_u128(id), bytes, idle: Duration::from_secs(minutes * 60) };
        let all = vec![open(1, 50, 61), open(2, 50, 300), open(3, 50, 5), open(4, 0, 900), open(5, 50, 100)];
        let ended = |most: u64| to_end(all.clone(), most).iter().map(Uuid::as_u128).collect::<Vec<_>>();
        assert_eq!((ended(200), ended(199), ended(100)), (vec![], vec![2], vec![2, 5]));
        // What somebody is at goes on, however much it is.
        assert_eq!(ended(0), [2, 5, 1]);
        assert!(to_end(vec![open(1, u64::MAX, 61), open(2, 1, 62)], u64::MAX).is_empty(), "sums do not overflow");
    }
}
