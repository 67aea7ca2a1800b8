//! How long the scheduler takes this node for alive: so long after the sending of the last message that it has confirmed. Instances
//! that must not run twice are stopped before that is over, since they may run elsewhere afterwards. It outlives the agent: one
//! that starts anew has what its predecessor had left, and none if that is too long ago or the machine has started since.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::adapters::disk::Disk;
use crate::adapters::machine::{self, Boot, Sleep};

/// What stopping may take.
const STOPPING: Duration = Duration::from_secs(3);
/// Until the scheduler has said its own.
const FIRST: Duration = Duration::from_secs(10);
const REMEMBERED: usize = 64;
const FILE: &str = "lease.json";
/// A lease is kept on disk at most this often. What is lost by it makes that of the next agent shorter, never longer.
const KEPT_EACH: Duration = Duration::from_secs(1);
/// A machine that sleeps tells nobody: whoever waits for the end of a lease looks at the clock so often.
const LOOK: Duration = Duration::from_secs(1);

/// When the lease is over. On a node that never had one, it is as long as any node has to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    sent: Instant,
    timeout: Duration,
    /// How long the machine had slept by then, since this agent began.
    slept: Duration,
}

impl Lease {
    pub fn first() -> Self {
        Self { sent: Instant::now(), timeout: FIRST, slept: Duration::ZERO }
    }

    pub fn new(sent: Instant, timeout: Duration) -> Self {
        Self { sent, timeout, slept: Duration::ZERO }
    }

    pub fn over() -> Self {
        Self { sent: Instant::now(), timeout: Duration::ZERO, slept: Duration::ZERO }
    }

    /// Of a message that was sent when the machine had slept so long.
    #[must_use]
    pub fn sent_after(self, slept: Duration) -> Self {
        Self { slept, ..self }
    }

    /// The same, `slept` being how long the machine has slept by now: what it slept since then has passed for the scheduler.
    #[must_use]
    pub fn awake(self, slept: Duration) -> Self {
        let since = slept.saturating_sub(self.slept);
        match self.sent.checked_sub(since) {
            Some(sent) => Self { sent, slept: slept.max(self.slept), ..self },
            None => Self::over(),
        }
    }

    /// What an agent begins with: what the last one had left.
    pub async fn resume(disk: &Disk) -> Self {
        match (disk.load::<Option<Confirmed>>(FILE).await, machine::boot().await) {
            (Some(confirmed), Some(boot)) => confirmed.left(&boot),
            // Damaged by a power failure: the machine has started since.
            _ if disk.holds(FILE).await => Self::over(),
            _ => Self::first(),
        }
    }

    /// When what must not run twice has to be stopped.
    pub fn stop_at(&self) -> Instant {
        self.sent + self.timeout.saturating_sub(STOPPING).max(self.timeout / 2)
    }

    /// Whether what must not run twice has to be stopped by now. `slept`: as in [`Lease::awake`].
    pub fn is_over(&self, slept: Duration) -> bool {
        Instant::now() >= self.awake(slept).stop_at()
    }

    /// What is left for a stop that begins now.
    pub fn grace(&self) -> Duration {
        (self.sent + self.timeout).saturating_duration_since(Instant::now()).saturating_sub(Duration::from_secs(1))
    }
}

/// Until what must not run twice has to be stopped.
pub async fn over(lease: &watch::Sender<Lease>, sleep: &Sleep) {
    let mut told = lease.subscribe();
    loop {
        let at = told.borrow_and_update().awake(sleep.total()).stop_at();
        if Instant::now() >= at {
            return;
        }
        tokio::select! {
            // The sender is there as long as it is borrowed.
            _ = told.changed() => {}
            () = tokio::time::sleep_until(at.min(Instant::now() + LOOK)) => {}
        }
    }
}

/// The last word on the lease as it is on disk, by the clock that goes on while no agent runs.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Confirmed {
    boot_id: String,
    /// Since the machine's start.
    sent_ms: u64,
    timeout_ms: u64,
}

impl Confirmed {
    fn of(lease: Lease, boot: Boot) -> Self {
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        Self { boot_id: boot.id, sent_ms: millis(boot.age.saturating_sub(lease.sent.elapsed())), timeout_ms: millis(lease.timeout) }
    }

    fn left(&self, boot: &Boot) -> Lease {
        let (sent, timeout) = (Duration::from_millis(self.sent_ms), Duration::from_millis(self.timeout_ms));
        // Later than now: another clock than this one wrote it.
        let age = boot.age.checked_sub(sent).filter(|age| self.boot_id == boot.id && *age < timeout);
        match age.and_then(|age| Instant::now().checked_sub(age)) {
            Some(sent) => Lease::new(sent, timeout),
            None => Lease::over(),
        }
    }
}

/// Writes leases down for the next agent.
pub struct Kept {
    disk: Disk,
    last: Option<Lease>,
    failing: bool,
}

impl Kept {
    pub fn new(disk: Disk) -> Self {
        Self { disk, last: None, failing: false }
    }

    /// A disk that refuses leaves an older one, which is over sooner.
    pub async fn keep(&mut self, lease: Lease) {
        if self.last.is_some_and(|last| last.timeout == lease.timeout && lease.sent < last.sent + KEPT_EACH) {
            return;
        }
        let Some(boot) = machine::boot().await else { return };
        match self.disk.note(FILE, &Confirmed::of(lease, boot)).await {
            Ok(()) => {
                self.last = Some(lease);
                self.failing = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "the lease cannot be saved: the next agent stops what must not run twice until the scheduler hears it");
                }
            }
        }
    }
}

/// When messages were sent, by their numbers.
#[derive(Debug, Default)]
pub struct Beats {
    next: u64,
    sent: VecDeque<(u64, Instant, Duration)>,
}

impl Beats {
    /// The number of a message that is about to be sent; the machine has slept so long by now.
    pub fn next(&mut self, slept: Duration) -> u64 {
        self.next += 1;
        self.sent.push_back((self.next, Instant::now(), slept));
        if self.sent.len() > REMEMBERED {
            self.sent.pop_front();
        }
        self.next
    }

    /// When the one that was confirmed was sent, and how long the machine had slept by then.
    pub fn confirmed(&mut self, beat: u64) -> Option<(Instant, Duration)> {
        let found = self.sent.iter().find(|(n, _, _)| *n == beat).map(|(_, at, slept)| (*at, *slept));
        self.sent.retain(|(n, _, _)| *n > beat);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_lease_counts_from_when_the_confirmed_message_was_sent() {
        let mut beats = Beats::default();
        let (none, some) = (Duration::ZERO, Duration::from_secs(7));
        let first = beats.next(none);
        let at = Instant::now();
        tokio::time::advance(Duration::from_secs(2)).await;
        let second = beats.next(some);
        assert_eq!(beats.confirmed(first), Some((at, none)));
        assert_eq!((beats.confirmed(first), beats.confirmed(second)), (None, Some((at + Duration::from_secs(2), some))));
        let lease = Lease::new(at, Duration::from_secs(10));
        assert_eq!((lease.stop_at() - at, lease.grace()), (Duration::from_secs(7), Duration::from_secs(7)));
        assert_eq!(Lease::new(at, Duration::from_secs(2)).stop_at() - at, Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_slept_has_that_much_less_of_its_lease() {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        tokio::time::advance(hour).await;
        let lease = Lease::new(Instant::now(), 10 * second).sent_after(5 * second);
        assert_eq!(lease.awake(5 * second).stop_at(), lease.stop_at());
        let woken = lease.awake(9 * second);
        assert_eq!((lease.stop_at() - woken.stop_at(), woken.grace()), (4 * second, 5 * second));
        // Told again with the same sleep it is no older.
        assert_eq!(woken.awake(9 * second), woken);
        assert!(lease.awake(20 * second).stop_at() <= Instant::now() && lease.awake(100 * hour).grace().is_zero());
        assert!(crate::adapters::machine::Sleep::new().total().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_agent_has_what_the_last_one_had_left_and_none_after_that() {
        let boot = |id: &str, seconds: u64| Boot { id: id.into(), age: Duration::from_secs(seconds) };
        let (sent, ten) = (Instant::now(), Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(2)).await;
        let confirmed = Confirmed::of(Lease::new(sent, ten), boot("a", 1000));
        assert_eq!(confirmed, Confirmed { boot_id: "a".into(), sent_ms: 998_000, timeout_ms: 10_000 });
        assert_eq!(confirmed.left(&boot("a", 1000)), Lease::new(sent, ten));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(confirmed.left(&boot("a", 1003)), Lease::new(sent, ten));
        let over = |lease: Lease| lease.stop_at() <= Instant::now() && lease.grace().is_zero();
        for later in [boot("a", 1008), boot("a", 90_000), boot("b", 1003), boot("b", 3), boot("a", 3)] {
            assert!(over(confirmed.left(&later)), "{later:?}");
        }
    }

    #[tokio::test]
    async fn a_lease_on_disk_is_taken_up_and_a_damaged_one_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path().join("state")).await.unwrap();
        let left = |lease: Lease| lease.stop_at().saturating_duration_since(Instant::now());
        assert!(left(Lease::resume(&disk).await) > Duration::from_secs(5), "a node that never had one");
        let hour = Duration::from_secs(3600);
        Kept::new(disk.clone()).keep(Lease::new(Instant::now(), hour)).await;
        assert!(left(Lease::resume(&disk).await) > hour / 2);
        std::fs::write(folder.path().join("state/lease.json"), "").unwrap();
        assert!(left(Lease::resume(&disk).await).is_zero());
    }
}
