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

/// Takes up to `cells` at `now_us`. `tat_us` is the state: 0 at first. Answers the new state and how many were taken.
/// [`SCRIPT`] is the same in Lua.
///
/// # Errors
/// When not even one may be taken: how long to wait.
pub fn take(tat_us: u64, now_us: u64, cells: u32, limit: Limit) -> Result<(u64, u32), Duration> {
    let interval = limit.interval_us();
    let start = tat_us.max(now_us);
    let horizon = now_us + interval * u64::from(limit.burst);
    let room = horizon.saturating_sub(start) / interval;
    if room == 0 {
        return Err(Duration::from_micros(start + interval - horizon));
    }
    let taken = u32::try_from(room).unwrap_or(u32::MAX).min(cells);
    Ok((start + interval * u64::from(taken), taken))
}

/// [`take`] inside Redis, on its clock. KEYS: the bucket. ARGV: interval in microseconds, burst, cells wanted.
/// Answers `{taken, wait in microseconds}`.
pub const SCRIPT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst, cells = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local start = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local horizon = now + interval * burst
local room = math.floor(math.max(horizon - start, 0) / interval)
if room == 0 then return {0, start + interval - horizon} end
local taken = math.min(room, cells)
local tat = start + interval * taken
redis.call('SET', KEYS[1], string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000) + 1)
return {taken, 0}
";

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { rate: 10.0, burst: 5 };

    #[test]
    fn a_burst_passes_and_the_next_one_waits_an_interval() {
        let mut tat = 0;
        for _ in 0..5 {
            (tat, _) = take(tat, 1_000_000, 1, LIMIT).expect("within the burst");
        }
        assert_eq!(take(tat, 1_000_000, 1, LIMIT), Err(Duration::from_millis(100)));
        assert!(take(tat, 1_100_000, 1, LIMIT).is_ok());
    }

    #[test]
    fn over_a_long_time_the_rate_holds_whatever_the_pattern() {
        let (mut tat, mut passed) = (0, 0);
        for step in 0..100_000_u64 {
            if let Ok((next, _)) = take(tat, step * 1_000, 1, LIMIT) {
                tat = next;
                passed += 1;
            }
        }
        assert!((1_000..=1_005).contains(&passed), "{passed} in 100 s at 10 a second");
    }

    #[test]
    fn a_lease_takes_what_is_left_and_no_more() {
        let (tat, taken) = take(0, 1_000_000, 3, LIMIT).expect("room");
        assert_eq!(taken, 3);
        assert_eq!(take(tat, 1_000_000, 3, LIMIT).map(|(_, taken)| taken), Ok(2));
    }

    #[test]
    fn alone_a_replica_lets_half_in() {
        assert_eq!(LIMIT.alone(), Limit { rate: 5.0, burst: 2 });
    }
}
