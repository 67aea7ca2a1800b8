//! Bounded waiting on a real probe, and the pause between two attempts.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// A probe's way to say that waiting on is useless.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Hopeless(pub String);

/// Calls `probe` until it succeeds, says [`Hopeless`], or `limit` has passed.
///
/// # Errors
/// The probe's last error.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(error) if error.is::<Hopeless>() => bail!("{what}: {error}"),
            Err(error) if start.elapsed() >= limit => bail!("{what} was not ready after {} s: {error:#}", limit.as_secs()),
            Err(_) => {}
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

/// How long to leave something alone that keeps failing: 0.5 s, doubling to a minute; forgets after a quiet minute.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
    last: Option<Instant>,
}

impl Backoff {
    /// Notes a failure at `now` and says how long to wait before the next attempt.
    pub fn failed(&mut self, now: Instant) -> Duration {
        if self.last.is_some_and(|last| now.duration_since(last) > Duration::from_secs(120)) {
            self.failures = 0;
        }
        self.last = Some(now);
        let pause = Duration::from_millis(500) * 2u32.saturating_pow(self.failures.min(7));
        self.failures += 1;
        pause.min(Duration::from_secs(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_a_minute_and_starts_over_after_quiet() {
        let (mut backoff, start) = (Backoff::default(), Instant::now());
        assert_eq!(backoff.failed(start), Duration::from_millis(500));
        assert_eq!(backoff.failed(start), Duration::from_secs(1));
        for _ in 0..20 {
            assert!(backoff.failed(start) <= Duration::from_secs(60));
        }
        assert_eq!(backoff.failed(start + Duration::from_secs(200)), Duration::from_millis(500));
    }

    #[test]
    fn a_hopeless_wait_ends_at_once() {
        let start = Instant::now();
        let error = until::<()>("it", Duration::from_secs(60), || Err(Hopeless("gone".into()).into())).expect_err("hopeless");
        assert!(start.elapsed() < Duration::from_secs(5) && error.to_string().contains("gone"), "{error}");
    }

    #[test]
    fn a_wait_that_ends_says_why() {
        let error = until::<()>("the thing", Duration::from_millis(30), || bail!("still asleep")).expect_err("never ready");
        assert!(error.to_string().contains("the thing") && error.to_string().contains("still asleep"), "{error}");
    }
}
