//! UUIDs of version 7 (RFC 9562 section 5.7) in the order they are drawn in this process: milliseconds, a counter, randomness. As
//! `Uuid::now_v7` makes them, which asks the operating system for sixteen random bytes for every one.

use std::sync::{Mutex, PoisonError};

use uuid::{Builder, Uuid};

/// Bits of the counter: the 12 of `rand_a` and the next 30, as a fixed-length dedicated counter (section 6.2, method 1).
const COUNTER_BITS: u32 = 42;
const MOST: u64 = (1 << COUNTER_BITS) - 1;
/// A counter begins in the lower half: room to count before it runs over (section 6.2).
const SEED: u64 = MOST >> 1;

static LAST: Mutex<Last> = Mutex::new(Last { millis: 0, counter: 0 });

/// What the last one was made of.
struct Last {
    millis: u64,
    counter: u64,
}

impl Last {
    /// The next pair, greater than every one before, whatever the clock says.
    fn next(&mut self, now: u64, random: impl Fn() -> u64) -> (u64, u64) {
        if now > self.millis {
            *self = Self { millis: now, counter: random() & SEED };
        } else if self.counter < MOST {
            self.counter += 1;
        } else {
            *self = Self { millis: self.millis + 1, counter: random() & SEED };
        }
        (self.millis, self.counter)
    }
}

/// One for this millisecond since the Unix epoch; `fill` gives strong random bytes.
pub(crate) fn draw(now: u64, fill: impl Fn(&mut [u8])) -> Uuid {
    let random = || {
        let mut bytes = [0; 8];
        fill(&mut bytes);
        u64::from_be_bytes(bytes)
    };
    let (millis, counter) = LAST.lock().unwrap_or_else(PoisonError::into_inner).next(now, random);
    let mut tail = [0; 4];
    fill(&mut tail);
    of(millis, counter, tail)
}

fn of(millis: u64, counter: u64, tail: [u8; 4]) -> Uuid {
    // Version and variant are written over the bits left free above each part.
    let high = u16::try_from(counter >> 30).unwrap_or_default();
    let low = ((counter & ((1 << 30) - 1)) << 32) | u64::from(u32::from_be_bytes(tail));
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&high.to_be_bytes());
    bytes[2..].copy_from_slice(&low.to_be_bytes());
    Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use uuid::{Variant, Version};

    use super::*;

    #[test]
    fn each_is_greater_than_the_one_before_whatever_the_clock_does() {
        let mut last = Last { millis: 0, counter: 0 };
        let mut before = Uuid::nil();
        for now in [1_000, 1_000, 1_001, 999, 1_001, 5_000, 4_000, 5_001] {
            let (millis, counter) = last.next(now, || u64::MAX);
            let id = of(millis, counter, [0xff; 4]);
            assert!(id > before, "{id} after {before}");
            before = id;
        }
        last.counter = MOST;
        let (millis, counter) = last.next(5_001, || 7);
        assert_eq!((millis, counter), (5_002, 7), "a full counter borrows from the future");
        assert!(of(millis, counter, [0; 4]) > before);
    }

    #[test]
    fn the_parts_stand_where_the_rfc_has_them() {
        let id = of(0x017f_22e2_79b0, MOST, [0xff; 4]);
        assert_eq!((id.get_version(), id.get_variant()), (Some(Version::SortRand), Variant::RFC4122));
        assert_eq!(id.to_string(), "017f22e2-79b0-7fff-bfff-ffffffffffff");
        assert_eq!(of(0x017f_22e2_79b0, 0, [0; 4]).to_string(), "017f22e2-79b0-7000-8000-000000000000");
    }
}
