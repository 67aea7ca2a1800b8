//! Whether many are pushing at this moment: what need not be done now then waits a little, for it would take the processors from them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Pushes that follow one another closer than this are one rush.
const GAP: Duration = Duration::from_millis(300);
/// Fewer pushes than this are no rush: who pushes one image, or an image of some platforms, wants its findings at once.
const FEW: u32 = 4;
/// A rush that goes on for longer than this is the ordinary state of a busy registry, and nothing waits for its end.
const LONGEST: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Rush(Arc<Mutex<Option<Pushes>>>);

struct Pushes {
    first: Instant,
    last: Instant,
    count: u32,
}

impl Rush {
    /// Somebody pushes.
    pub fn pushed(&self, now: Instant) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *seen {
            Some(pushes) if now - pushes.last < GAP => {
                pushes.last = now;
                pushes.count = pushes.count.saturating_add(1);
            }
            other => *other = Some(Pushes { first: now, last: now, count: 1 }),
        }
    }

    fn is_on(&self, now: Instant) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref().is_some_and(|pushes| pushes.count > FEW && now - pushes.last < GAP && now - pushes.first < LONGEST)
    }

    /// Returns when nobody has pushed for a moment, or when it has gone on for long.
    pub async fn over(&self) {
        while self.is_on(Instant::now()) {
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_pushes_are_no_rush() {
        let (rush, begun) = (Rush::default(), Instant::now());
        for _ in 0..FEW {
            rush.pushed(begun);
            assert!(!rush.is_on(begun), "what was just pushed is scanned at once");
        }
        rush.pushed(begun);
        assert!(rush.is_on(begun));
        // The next one comes late: it is the first of others.
        rush.pushed(begun + GAP);
        assert!(!rush.is_on(begun + GAP));
    }

    /// As many at once as make a rush.
    fn many(rush: &Rush, now: Instant) {
        (0..=FEW).for_each(|_| rush.pushed(now));
    }

    #[test]
    fn a_rush_is_over_after_a_moment_without_a_push_and_counts_for_a_while_only() {
        let (rush, begun) = (Rush::default(), Instant::now());
        assert!(!rush.is_on(begun), "nobody pushes");
        many(&rush, begun);
        assert!(rush.is_on(begun + GAP / 2));
        assert!(!rush.is_on(begun + GAP));

        // Everybody pushes all the time.
        let mut now = begun + GAP;
        many(&rush, now);
        while now < begun + LONGEST {
            rush.pushed(now);
            assert!(rush.is_on(now));
            now += GAP / 3;
        }
        for _ in 0..20 {
            now += GAP / 3;
            rush.pushed(now);
        }
        assert!(!rush.is_on(now), "nothing waits for ever");
        // After a pause it is another one.
        now += GAP;
        many(&rush, now);
        assert!(rush.is_on(now));
    }
}
