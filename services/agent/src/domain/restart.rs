//! When a container that ended is started again.

use gantry_contract::proto::scheduler::WantedInstance;

/// A container that ran this long was well; the count of its crashes starts again.
const WELL_AFTER_MS: i64 = 60_000;
const FIRST_DELAY_MS: i64 = 1_000;
pub const LAST_DELAY_MS: i64 = 60_000;
/// The exit code of what was ended by force.
pub const KILLED: i32 = 137;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Always,
    OnFailure,
    Never,
}

impl Policy {
    /// Unknown words mean `always`: an instance that runs is safer than one that does not.
    pub fn parse(text: &str) -> Self {
        match text {
            "never" | "no" => Self::Never,
            "on-failure" => Self::OnFailure,
            _ => Self::Always,
        }
    }

    /// Whether an end with this code is to be followed by a new start.
    pub fn restarts(self, exit_code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => exit_code != 0,
            Self::Never => false,
        }
    }
}

/// Whether it is not started again: after so many failures in a row, if their number is limited.
pub fn given_up(instance: &WantedInstance, exit_code: i32, crashes: u32) -> bool {
    exit_code != 0 && instance.restarts_and_one > 0 && crashes >= instance.restarts_and_one
}

/// Crashes in a row after one more end, given how many there were before and how long it ran.
pub fn crashes_after(before: u32, ran_ms: i64) -> u32 {
    if ran_ms >= WELL_AFTER_MS { 1 } else { before.saturating_add(1) }
}

/// The first restart comes at once, the next after 1 s, 2 s, 4 s, ... up to a minute.
pub fn delay_ms(crashes: u32) -> i64 {
    match crashes {
        0 | 1 => 0,
        n => FIRST_DELAY_MS.saturating_mul(1 << (n - 2).min(16)).min(LAST_DELAY_MS),
    }
}

/// When a container that ended then is started again. An end far ahead of now is of a clock that was set back since: nobody waits for it.
pub fn due_ms(ended_ms: i64, crashes: u32, now_ms: i64) -> i64 {
    if ended_ms > now_ms.saturating_add(LAST_DELAY_MS) { now_ms } else { ended_ms.saturating_add(delay_ms(crashes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_keeps_nothing_from_starting() {
        assert_eq!(due_ms(10_000, 2, 10_500), 11_000);
        assert_eq!(due_ms(10_500, 2, 10_000), 11_500, "the clocks of two programs are not read at once");
        assert_eq!(due_ms(3_600_000, 2, 10_000), 10_000);
    }

    #[test]
    fn the_first_restart_comes_at_once_and_the_delay_has_an_end() {
        let delays: Vec<_> = (0..12).map(delay_ms).collect();
        assert_eq!(&delays[..6], [0, 0, 1_000, 2_000, 4_000, 8_000]);
        assert_eq!(delays[11], 60_000);
        assert_eq!(delay_ms(u32::MAX), 60_000);
    }

    #[test]
    fn a_long_good_run_forgets_the_crashes() {
        assert_eq!(crashes_after(9, 60_000), 1);
        assert_eq!(crashes_after(9, 59_000), 10);
    }

    #[test]
    fn a_job_that_succeeded_is_not_run_again() {
        assert!(!Policy::OnFailure.restarts(0) && Policy::OnFailure.restarts(1));
        assert!(!Policy::Never.restarts(1) && Policy::Always.restarts(0));
    }
}
