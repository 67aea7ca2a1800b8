//! Reserved amounts and the one check that decides whether a reservation fits its limits (clause 6.5.4.1).

use gantry_contract::billing::Limits;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What an application reserves, or what a holder of a quota has in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Amounts {
    pub cpu_millis: u64,
    pub memory_bytes: u64,
    pub storage_bytes: u64,
    pub containers: u64,
}

/// One application's claim: everything together, and its largest single container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    pub total: Amounts,
    pub largest: Amounts,
}

/// The largest figure a table column (bigint) and the arithmetic here can hold.
pub const MAX: u64 = i64::MAX as u64;

/// A limit that stands in the way.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the quota of {holder} allows {limit} = {allowed}; in use {used}, asked for {asked}")]
pub struct Exceeded {
    /// Whose quota, for people: "organisation", "project", "user".
    pub holder: &'static str,
    /// Field of [`Limits`].
    pub limit: &'static str,
    pub allowed: u64,
    /// Without the claim's own earlier reservation. 0 for the limits of one container.
    pub used: u64,
    pub asked: u64,
}

impl Amounts {
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// `None` when a figure would not fit.
    pub fn plus(&self, other: &Self) -> Option<Self> {
        let add = |a: u64, b: u64| a.checked_add(b).filter(|sum| *sum <= MAX);
        Some(Self {
            cpu_millis: add(self.cpu_millis, other.cpu_millis)?,
            memory_bytes: add(self.memory_bytes, other.memory_bytes)?,
            storage_bytes: add(self.storage_bytes, other.storage_bytes)?,
            containers: add(self.containers, other.containers)?,
        })
    }

    /// Never below zero: a row that was already released cannot make others negative.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_sub(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
            storage_bytes: self.storage_bytes.saturating_sub(other.storage_bytes),
            containers: self.containers.saturating_sub(other.containers),
        }
    }
}

/// Whether `asked` may replace `before`. `used` is what the holder's other claims take, without `before`.
///
/// A claim that does not grow in a dimension is never refused for it: lowering a limit stops growth, it does not
/// stop an application from being scaled down or restarted.
///
/// # Errors
/// The first limit in the way.
pub fn fits(holder: &'static str, limits: &Limits, used: &Amounts, before: &Claim, asked: &Claim) -> Result<(), Exceeded> {
    let totals = [
        ("cpu_millis", limits.cpu_millis, used.cpu_millis, before.total.cpu_millis, asked.total.cpu_millis),
        ("memory_bytes", limits.memory_bytes, used.memory_bytes, before.total.memory_bytes, asked.total.memory_bytes),
        ("storage_bytes", limits.storage_bytes, used.storage_bytes, before.total.storage_bytes, asked.total.storage_bytes),
        ("containers", limits.containers, used.containers, before.total.containers, asked.total.containers),
        ("cpu_millis_per_container", limits.cpu_millis_per_container, 0, before.largest.cpu_millis, asked.largest.cpu_millis),
        ("memory_bytes_per_container", limits.memory_bytes_per_container, 0, before.largest.memory_bytes, asked.largest.memory_bytes),
        ("storage_bytes_per_container", limits.storage_bytes_per_container, 0, before.largest.storage_bytes, asked.largest.storage_bytes),
    ];
    for (limit, allowed, used, before, asked) in totals {
        let allowed = allowed.unwrap_or(MAX).min(MAX);
        // u128: the sum of two u64 always fits.
        if asked > before && u128::from(used) + u128::from(asked) > u128::from(allowed) {
            return Err(Exceeded { holder, limit, allowed, used, asked });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cpu(total: u64, largest: u64) -> Claim {
        Claim { total: Amounts { cpu_millis: total, ..Amounts::default() }, largest: Amounts { cpu_millis: largest, ..Amounts::default() } }
    }

    #[test]
    fn a_claim_over_a_limit_names_limit_used_and_asked() {
        let limits = Limits { cpu_millis: Some(2_000), ..Limits::default() };
        let used = Amounts { cpu_millis: 1_500, ..Amounts::default() };
        let refused = fits("project", &limits, &used, &Claim::default(), &cpu(600, 600)).unwrap_err();
        assert_eq!((refused.limit, refused.allowed, refused.used, refused.asked), ("cpu_millis", 2_000, 1_500, 600));
        assert!(fits("project", &limits, &used, &Claim::default(), &cpu(500, 500)).is_ok());
    }

    #[test]
    fn every_one_of_the_limits_refuses_by_its_own_name() {
        let one = |limits: Limits, claim: Claim| fits("user", &limits, &Amounts::default(), &Claim::default(), &claim).unwrap_err().limit;
        let all = Amounts { cpu_millis: 2, memory_bytes: 2, storage_bytes: 2, containers: 2 };
        let claim = Claim { total: all, largest: all };
        let none = Limits::default;
        assert_eq!(one(Limits { cpu_millis: Some(1), ..none() }, claim), "cpu_millis");
        assert_eq!(one(Limits { memory_bytes: Some(1), ..none() }, claim), "memory_bytes");
        assert_eq!(one(Limits { storage_bytes: Some(1), ..none() }, claim), "storage_bytes");
        assert_eq!(one(Limits { containers: Some(1), ..none() }, claim), "containers");
        assert_eq!(one(Limits { cpu_millis_per_container: Some(1), ..none() }, claim), "cpu_millis_per_container");
        assert_eq!(one(Limits { memory_bytes_per_container: Some(1), ..none() }, claim), "memory_bytes_per_container");
        assert_eq!(one(Limits { storage_bytes_per_container: Some(1), ..none() }, claim), "storage_bytes_per_container");
    }

    #[test]
    fn scaling_down_is_allowed_after_the_limit_was_lowered() {
        let limits = Limits { cpu_millis: Some(100), cpu_millis_per_container: Some(10), ..Limits::default() };
        let used = Amounts { cpu_millis: 900, ..Amounts::default() };
        assert!(fits("organisation", &limits, &used, &cpu(500, 50), &cpu(400, 50)).is_ok());
        assert!(fits("organisation", &limits, &used, &cpu(500, 50), &cpu(501, 50)).is_err());
    }

    #[test]
    fn huge_figures_are_refused_and_do_not_overflow() {
        let used = Amounts { cpu_millis: MAX, ..Amounts::default() };
        assert!(fits("user", &Limits::default(), &used, &Claim::default(), &cpu(u64::MAX, 0)).is_err());
        assert_eq!(used.plus(&Amounts { cpu_millis: 1, ..Amounts::default() }), None);
    }

    proptest! {
        #[test]
        fn granted_claims_never_sum_to_more_than_the_limit(limit in 0u64..10_000, asks in proptest::collection::vec(0u64..4_000, 1..40)) {
            let limits = Limits { cpu_millis: Some(limit), ..Limits::default() };
            let mut used = Amounts::default();
            for ask in asks {
                let claim = cpu(ask, ask);
                if fits("user", &limits, &used, &Claim::default(), &claim).is_ok() {
                    used = used.plus(&claim.total).expect("small figures");
                }
                prop_assert!(used.cpu_millis <= limit);
            }
        }

        #[test]
        fn releasing_gives_back_exactly_what_was_taken(a in 0u64..MAX/2, b in 0u64..MAX/2) {
            let x = Amounts { cpu_millis: a, memory_bytes: b, storage_bytes: a, containers: b };
            let y = Amounts { cpu_millis: b, memory_bytes: a, storage_bytes: b, containers: a };
            prop_assert_eq!(x.plus(&y).expect("fits").minus(&y), x);
        }
    }
}
