//! The generic cell rate algorithm: a bucket in one number, the theoretical arrival time of the next request.

use std::time::Duration;

/// A steady rate and how much may come at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Requests a second, above 0.
    pub rate: f64,
    /// Requests that may come at once, at least 1.
    pub burst: u32,
}

impl Limit {
    /// The limit of one replica while it cannot ask the others: a half.
    pub fn alone(self) -> Self {
        Self { rate: self.rate / 2.0, burst: (self.burst / 2).max(1) }
    }

    /// Between two requests at the steady rate, in microseconds.
    pub fn interval_us(self) -> u64 {
        (1_000_000.0 / self.rate).max(1.0) as u64
    }
}

/// Takes `cells` at `now_us`. `tat_us` is the state: 0 at first. Answers the new state, or how long to wait.
///
/// # Errors
/// The wait until the same request would be let in.
pub fn take(tat_us: u64, now_us: u64, cells: u32, limit: Limit) -> Result<u64, Duration> {
    let interval = limit.interval_us();
    let next = tat_us.max(now_us) + interval * u64::from(cells);
    let horizon = now_us + interval * u64::from(limit.burst.max(cells));
    if next > horizon { Err(Duration::from_micros(next - horizon)) } else { Ok(next) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { rate: 10.0, burst: 5 };

    #[test]
    fn a_burst_passes_and_the_next_one_waits_an_interval() {
        let mut tat = 0;
        for _ in 0..5 {
            tat = take(tat, 1_000_000, 1, LIMIT).expect("within the burst");
        }
        assert_eq!(take(tat, 1_000_000, 1, LIMIT), Err(Duration::from_millis(100)));
        assert!(take(tat, 1_100_000, 1, LIMIT).is_ok());
    }

    #[test]
    fn over_a_long_time_the_rate_holds_whatever_the_pattern() {
        let (mut tat, mut passed) = (0, 0);
        for step in 0..100_000_u64 {
            if let Ok(next) = take(tat, step * 1_000, 1, LIMIT) {
                tat = next;
                passed += 1;
            }
        }
        assert!((1_000..=1_005).contains(&passed), "{passed} in 100 s at 10 a second");
    }

    #[test]
    fn alone_a_replica_lets_half_in() {
        assert_eq!(LIMIT.alone(), Limit { rate: 5.0, burst: 2 });
    }
}
