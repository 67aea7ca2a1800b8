//! How long the scheduler takes this node for alive: so long after the sending of the last message that it has confirmed. Instances
//! that must not run twice are stopped before that is over, since they may run elsewhere afterwards.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// What stopping may take.
const STOPPING: Duration = Duration::from_secs(3);
/// Until the scheduler has said its own.
const FIRST: Duration = Duration::from_secs(10);
const REMEMBERED: usize = 64;

/// When the lease is over. A new agent has one as long as any node has to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    sent: Instant,
    timeout: Duration,
}

impl Lease {
    pub fn first() -> Self {
        Self { sent: Instant::now(), timeout: FIRST }
    }

    pub fn new(sent: Instant, timeout: Duration) -> Self {
        Self { sent, timeout }
    }

    /// When what must not run twice has to be stopped.
    pub fn stop_at(&self) -> Instant {
        self.sent + self.timeout.saturating_sub(STOPPING).max(self.timeout / 2)
    }

    /// What is left for a stop that begins now.
    pub fn grace(&self) -> Duration {
        (self.sent + self.timeout).saturating_duration_since(Instant::now()).saturating_sub(Duration::from_secs(1))
    }
}

/// When messages were sent, by their numbers.
#[derive(Debug, Default)]
pub struct Beats {
    next: u64,
    sent: VecDeque<(u64, Instant)>,
}

impl Beats {
    /// The number of a message that is about to be sent.
    pub fn next(&mut self) -> u64 {
        self.next += 1;
        self.sent.push_back((self.next, Instant::now()));
        if self.sent.len() > REMEMBERED {
            self.sent.pop_front();
        }
        self.next
    }

    /// When the one that was confirmed was sent.
    pub fn confirmed(&mut self, beat: u64) -> Option<Instant> {
        let found = self.sent.iter().find(|(n, _)| *n == beat).map(|(_, at)| *at);
        self.sent.retain(|(n, _)| *n > beat);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_lease_counts_from_when_the_confirmed_message_was_sent() {
        let mut beats = Beats::default();
        let first = beats.next();
        let at = Instant::now();
        tokio::time::advance(Duration::from_secs(2)).await;
        let second = beats.next();
        assert_eq!(beats.confirmed(first), Some(at));
        assert_eq!((beats.confirmed(first), beats.confirmed(second)), (None, Some(at + Duration::from_secs(2))));
        let lease = Lease::new(at, Duration::from_secs(10));
        assert_eq!((lease.stop_at() - at, lease.grace()), (Duration::from_secs(7), Duration::from_secs(7)));
        assert_eq!(Lease::new(at, Duration::from_secs(2)).stop_at() - at, Duration::from_secs(1));
    }
}
