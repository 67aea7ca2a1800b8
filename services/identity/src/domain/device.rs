//! The device flow (RFC 8628): codes a person can type, and what a polling device is told.

use gantry_kernel::OffsetDateTime;
use time::Duration;

/// Section 6.1: twenty consonants, so that no word comes out and no two letters look alike. 8 of them: 34.5 bits.
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const LENGTH: usize = 8;

/// A user code from random bytes, shown as `XXXX-XXXX`; `None` if the bytes ran out (they are rejected above 239, so
/// that every letter is equally likely): draw again.
pub fn user_code(random: &[u8]) -> Option<String> {
    let letters: Vec<u8> = random.iter().filter(|b| **b < 240).map(|b| ALPHABET[usize::from(b % 20)]).take(LENGTH).collect();
    (letters.len() == LENGTH).then(|| {
        let text: String = letters.iter().map(|b| char::from(*b)).collect();
        format!("{}-{}", &text[..4], &text[4..])
    })
}

/// What was typed, in the form it is kept: capitals, without anything that is no letter of the alphabet.
pub fn normalise(typed: &str) -> String {
    let typed: String = typed.chars().take(64).collect();
    typed.to_ascii_uppercase().bytes().filter(|b| ALPHABET.contains(b)).map(char::from).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Pending,
    Approved,
    Denied,
    Consumed,
}

#[derive(Clone, Copy, Debug)]
pub struct Polled {
    pub state: State,
    pub expires_at: OffsetDateTime,
    /// The time between two polls that the device was told.
    pub interval: Duration,
    pub last_poll: Option<OffsetDateTime>,
}

/// Section 3.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Grant,
    AuthorizationPending,
    /// Polled too fast: the interval grows by five seconds.
    SlowDown,
    AccessDenied,
    ExpiredToken,
    /// Used before.
    InvalidGrant,
}

pub fn answer(polled: &Polled, now: OffsetDateTime) -> Answer {
    if polled.state == State::Consumed {
        return Answer::InvalidGrant;
    }
    if now >= polled.expires_at {
        return Answer::ExpiredToken;
    }
    // A second of tolerance: timers and networks are not exact.
    let hasty = polled.last_poll.is_some_and(|last| now < last + polled.interval - Duration::seconds(1));
    match polled.state {
        State::Denied => Answer::AccessDenied,
        State::Approved => Answer::Grant,
        State::Pending if hasty => Answer::SlowDown,
        State::Pending | State::Consumed => Answer::AuthorizationPending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn pending() -> Polled {
        Polled { state: State::Pending, expires_at: T0 + Duration::minutes(10), interval: Duration::seconds(5), last_poll: None }
    }

    #[test]
    fn a_code_is_typed_back_in_any_style() {
        let code = user_code(&[0, 1, 2, 3, 255, 4, 5, 6, 7]).unwrap();
        assert_eq!(code, "BCDF-GHJK");
        for typed in ["BCDF-GHJK", "bcdfghjk", " b c d f g h j k "] {
            assert_eq!(normalise(typed), "BCDFGHJK");
        }
        assert_eq!(user_code(&[250; 20]), None);
        assert_eq!(normalise("ß-Ä-1"), "");
    }

    #[test]
    fn a_hasty_device_is_slowed_down() {
        assert_eq!(answer(&pending(), T0), Answer::AuthorizationPending);
        let again = Polled { last_poll: Some(T0), ..pending() };
        assert_eq!(answer(&again, T0 + Duration::seconds(1)), Answer::SlowDown);
        assert_eq!(answer(&again, T0 + Duration::seconds(5)), Answer::AuthorizationPending);
    }

    #[test]
    fn the_person_decides_once() {
        assert_eq!(answer(&Polled { state: State::Approved, ..pending() }, T0), Answer::Grant);
        assert_eq!(answer(&Polled { state: State::Denied, ..pending() }, T0), Answer::AccessDenied);
        assert_eq!(answer(&Polled { state: State::Consumed, ..pending() }, T0), Answer::InvalidGrant);
        assert_eq!(answer(&Polled { state: State::Approved, ..pending() }, T0 + Duration::minutes(10)), Answer::ExpiredToken);
    }
}
