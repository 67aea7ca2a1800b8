//! The time in which this process could hear others: by it their silence is judged. It goes neither by the machine's clock, which may be set,
//! nor on while the process stands still (stopped, starved, a machine that slept): what was said meanwhile is heard only afterwards.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// As long as nobody looks, no more than this passes. The reconciler looks every three seconds at least.
const UNNOTICED: Duration = Duration::from_secs(4);

pub struct Awake(Mutex<Passed>);

struct Passed {
    looked: Instant,
    time: Duration,
}

impl Awake {
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Passed { looked: now, time: Duration::ZERO }))
    }

    /// How much of it has passed.
    pub fn at(&self, now: Instant) -> Duration {
        let mut passed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(passed.looked).min(UNNOTICED);
        passed.time += since;
        passed.looked = passed.looked.max(now);
        passed.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_nobody_could_look_does_not_count() {
        let start = Instant::now();
        let awake = Awake::new(start);
        let second = Duration::from_secs(1);
        assert_eq!(awake.at(start + 3 * second), 3 * second);
        assert_eq!(awake.at(start + 6 * second), 6 * second);
        // Stopped for an hour.
        let on = start + 3_606 * second;
        assert_eq!(awake.at(on), 10 * second);
        assert_eq!(awake.at(on + second), 11 * second);
        assert_eq!(awake.at(on), 11 * second, "who took the time before and comes after changes nothing");
        assert_eq!(awake.at(on + 2 * second), 12 * second);
    }
}
