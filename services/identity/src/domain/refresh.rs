//! What becomes of a refresh token that is shown to us (RFC 9700 section 4.14.2): each is used once and replaced by a
//! successor. An answer may get lost and two tabs may race, so for a short time the *same* successor is given again;
//! anything else that shows a used token is a thief or its victim, and the whole family ends.

use gantry_kernel::OffsetDateTime;
use time::Duration;

/// What the tables know about the token shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    pub expires_at: OffsetDateTime,
    /// When it was first exchanged.
    pub used_at: Option<OffsetDateTime>,
    /// Whether its successor has been exchanged already.
    pub successor_used: bool,
    pub family_ended: bool,
    pub family_expires_at: OffsetDateTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// First use: issue its successor.
    Rotate,
    /// A repetition within the grace: give the successor that exists.
    SameSuccessor,
    /// A replay: end the family.
    Replay,
    /// Too old, or its family has ended.
    Dead,
}

pub fn judge(shown: &Shown, now: OffsetDateTime, grace: Duration) -> Verdict {
    if shown.family_ended || now >= shown.family_expires_at {
        return Verdict::Dead;
    }
    match shown.used_at {
        None if now >= shown.expires_at => Verdict::Dead,
        None => Verdict::Rotate,
        Some(used) if now < used + grace && !shown.successor_used => Verdict::SameSuccessor,
        Some(_) => Verdict::Replay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const GRACE: Duration = Duration::seconds(30);

    fn fresh() -> Shown {
        let later = T0 + Duration::days(30);
        Shown { expires_at: T0 + Duration::days(7), used_at: None, successor_used: false, family_ended: false, family_expires_at: later }
    }

    #[test]
    fn the_first_use_rotates() {
        assert_eq!(judge(&fresh(), T0, GRACE), Verdict::Rotate);
    }

    #[test]
    fn a_repetition_gets_the_same_successor_within_the_grace_only() {
        let used = Shown { used_at: Some(T0), ..fresh() };
        assert_eq!(judge(&used, T0 + Duration::seconds(29), GRACE), Verdict::SameSuccessor);
        assert_eq!(judge(&used, T0 + Duration::seconds(30), GRACE), Verdict::Replay);
    }

    #[test]
    fn a_used_token_whose_successor_was_used_too_is_a_replay() {
        let used = Shown { used_at: Some(T0), successor_used: true, ..fresh() };
        assert_eq!(judge(&used, T0 + Duration::seconds(1), GRACE), Verdict::Replay);
    }

    #[test]
    fn an_old_token_and_an_ended_family_are_dead() {
        assert_eq!(judge(&fresh(), T0 + Duration::days(7), GRACE), Verdict::Dead);
        assert_eq!(judge(&fresh(), T0 + Duration::days(31), GRACE), Verdict::Dead);
        assert_eq!(judge(&Shown { family_ended: true, ..fresh() }, T0, GRACE), Verdict::Dead);
        assert_eq!(judge(&Shown { used_at: Some(T0), family_ended: true, ..fresh() }, T0, GRACE), Verdict::Dead, "no second alarm");
    }
}
