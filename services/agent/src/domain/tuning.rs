//! Seldom used settings of the kernel's resource control.

use gantry_contract::proto::scheduler as wire;

/// Who is ended first when the node runs out of memory: 1000 is the first.
pub fn oom_score_adj(instance: &wire::WantedInstance) -> i64 {
    let asked = instance.tuning.as_ref().map_or(0, |t| t.oom_score_adj);
    let limited = instance.limits.is_some_and(|l| l.memory_bytes > 0);
    match asked {
        // Killed before the platform, and greedy ones before those that keep a limit.
        0 if limited => 500,
        0 => 900,
        score => score.into(),
    }
}

/// Shares of processor time (cgroup v1, where who says nothing has 1024) as a weight of cgroup v2, where such a one has 100.
pub fn weight(shares: u64) -> u64 {
    (shares.saturating_mul(100) / 1024).clamp(1, 10_000)
}

/// Whether the engine did as it was asked; `found` is the process's `oom_score_adj`.
///
/// # Errors
/// A sentence for a person.
pub fn is_kept(asked: i32, found: &str) -> Result<(), String> {
    match found.trim().parse::<i32>() {
        Ok(found) if found == asked => Ok(()),
        Ok(found) => Err(format!(
            "its OOM score was to be {asked}, and the container runtime made it {found}: below its own it may set none without CAP_SYS_RESOURCE, or with `restrict_oom_score_adj`"
        )),
        // It has ended.
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_nothing_ends_before_the_platform() {
        let of = |score: i32, memory_bytes: u64| {
            let limits = Some(wire::Resources { memory_bytes, ..Default::default() });
            oom_score_adj(&wire::WantedInstance { tuning: Some(wire::Tuning { oom_score_adj: score, ..Default::default() }), limits, ..Default::default() })
        };
        assert_eq!((of(0, 1 << 20), of(0, 0), of(-500, 0), of(1000, 1)), (500, 900, -500, 1000));
        assert_eq!(oom_score_adj(&wire::WantedInstance::default()), 900);
    }

    #[test]
    fn shares_become_weights() {
        assert_eq!((weight(2), weight(512), weight(1024), weight(262_144), weight(u64::MAX)), (1, 50, 100, 10_000, 10_000));
    }

    #[test]
    fn a_score_that_was_not_set_is_told() {
        assert!(is_kept(-500, "-500\n").is_ok() && is_kept(-500, "").is_ok());
        assert!(is_kept(-500, "0\n").unwrap_err().contains("CAP_SYS_RESOURCE"));
    }
}
