//! Time and ids as arguments: the only place that asks the operating system for either.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use uuid::Uuid;

/// Where "now" comes from. Always UTC.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> OffsetDateTime;
}

/// Where new ids and random bytes come from.
pub trait IdSource: Send + Sync + 'static {
    /// A fresh UUID version 7 (time-ordered, so indexes stay dense).
    fn uuid(&self) -> Uuid;
    /// Fills `out` with cryptographically strong random bytes.
    fn fill(&self, out: &mut [u8]);
}

/// What a service is given instead of the ambient clock and randomness.
#[derive(Clone)]
pub struct Env {
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
}

impl Env {
    /// The real clock and the operating system's randomness.
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock), ids: Arc::new(SystemIds) }
    }

    pub fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    pub fn uuid(&self) -> Uuid {
        self.ids.uuid()
    }

    /// `N` random bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.ids.fill(&mut out);
        out
    }
}

pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that may ask for the time")]
    fn now(&self) -> OffsetDateTime {
        // Postgres keeps microseconds; anything finer would not survive a round trip and would break the hash chain.
        let now = OffsetDateTime::now_utc();
        now.replace_nanosecond(now.microsecond() * 1_000).unwrap_or(now)
    }
}

pub struct SystemIds;

impl IdSource for SystemIds {
    #[allow(clippy::disallowed_methods, reason = "the one place that may draw ids")]
    fn uuid(&self) -> Uuid {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        crate::ordered::draw(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), |out| self.fill(out))
    }

    fn fill(&self, out: &mut [u8]) {
        DRAWN.with_borrow_mut(|drawn| drawn.fill(out));
    }
}

thread_local! {
    static DRAWN: RefCell<Drawn> = const { RefCell::new(Drawn { bytes: [0; DRAWN_AT_ONCE], used: DRAWN_AT_ONCE }) };
}

/// Bytes asked of the operating system at once: most callers need a few, and each question is a call into the kernel.
const DRAWN_AT_ONCE: usize = 512;

/// Randomness drawn ahead; what was given out is wiped.
struct Drawn {
    bytes: [u8; DRAWN_AT_ONCE],
    used: usize,
}

impl Drawn {
    fn fill(&mut self, out: &mut [u8]) {
        if out.len() > DRAWN_AT_ONCE {
            return draw(out);
        }
        if self.used + out.len() > DRAWN_AT_ONCE {
            draw(&mut self.bytes);
            self.used = 0;
        }
        let given = &mut self.bytes[self.used..self.used + out.len()];
        out.copy_from_slice(given);
        given.fill(0);
        self.used += out.len();
    }
}

fn draw(out: &mut [u8]) {
    use rand::TryRngCore;
    rand::rngs::OsRng.try_fill_bytes(out).expect("the operating system's randomness does not fail on Linux");
}

/// A clock that stands still until told to move; for tests.
#[derive(Clone)]
pub struct FixedClock(Arc<Mutex<OffsetDateTime>>);

impl FixedClock {
    pub fn at(start: OffsetDateTime) -> Self {
        Self(Arc::new(Mutex::new(start)))
    }

    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now += by;
    }
}

impl Clock for FixedClock {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
