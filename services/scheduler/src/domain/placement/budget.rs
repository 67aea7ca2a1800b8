//! How few instances of a workload may be ready while its nodes are emptied or others displace it.

use crate::domain::model::{Budget, Workload};

/// So many must stay ready; `None`: the workload says nothing. A share is rounded so that more stay (Kubernetes: policy/v1,
/// PodDisruptionBudget).
pub fn floor(workload: &Workload, count: u32) -> Option<u32> {
    let Budget { min_available, max_unavailable, .. } = workload.budget.as_ref()?;
    match (min_available, max_unavailable) {
        (Some(least), _) => amount(least, count),
        (None, Some(most)) => Some(count.saturating_sub(amount(most, count)?)),
        (None, None) => None,
    }
}

/// A number, or a share of `count`.
pub fn amount(text: &str, count: u32) -> Option<u32> {
    match text.trim().strip_suffix('%') {
        Some(percent) => {
            let percent: u64 = percent.trim().parse().ok()?;
            u32::try_from(u64::from(count).saturating_mul(percent).div_ceil(100)).ok()
        }
        None => text.trim().parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_shares_are_understood_and_nonsense_is_no_budget() {
        let of = |least: Option<&str>, most: Option<&str>| {
            let budget = Budget { min_available: least.map(str::to_owned), max_unavailable: most.map(str::to_owned), ..Budget::default() };
            floor(&Workload { budget: Some(budget), ..Workload::default() }, 5)
        };
        assert_eq!((of(Some("2"), None), of(Some("50%"), None), of(None, Some("1")), of(None, Some("50%"))), (Some(2), Some(3), Some(4), Some(2)));
        assert_eq!((of(Some("many"), None), of(None, None), floor(&Workload::default(), 5)), (None, None, None));
    }
}
