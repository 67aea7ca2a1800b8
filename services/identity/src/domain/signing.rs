//! When signing keys come and go: a new key is published before it signs, so that everybody who caches the key set has
//! it by then, and an old one stays published until nothing it signed is valid any more.

use gantry_kernel::OffsetDateTime;
use time::Duration;

/// What can sign. Every one is always published; which one signs an ID token is the client's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    Es256,
    EdDsa,
    Rs256,
}

impl Algorithm {
    pub const ALL: [Self; 3] = [Self::Es256, Self::EdDsa, Self::Rs256];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str() == text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub kid: String,
    /// From when it signs.
    pub active_at: OffsetDateTime,
}

#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How long a key signs.
    pub lifetime: Duration,
    /// How long before that it is published.
    pub ahead: Duration,
    /// How long after that what it signed may live.
    pub overlap: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// A new key is due, active from then.
    pub make: Option<OffsetDateTime>,
    /// The one to sign with now.
    pub current: Option<String>,
    /// Those that no one needs any more.
    pub drop: Vec<String>,
}

pub fn plan(keys: &[Key], policy: Policy, now: OffsetDateTime) -> Plan {
    let mut keys: Vec<&Key> = keys.iter().collect();
    keys.sort_by_key(|k| k.active_at);
    let active = keys.iter().rposition(|k| k.active_at <= now);
    // Each key signs until the next one does; dead when that was more than `overlap` ago.
    let drop = keys.windows(2).filter(|pair| pair[1].active_at + policy.overlap <= now).map(|pair| pair[0].kid.clone()).collect();
    let make = match keys.last() {
        None => Some(now),
        Some(last) => {
            let due = last.active_at + policy.lifetime;
            // After a long standstill the next one still gets its time of publication.
            (now >= due - policy.ahead).then(|| due.max(now + policy.ahead))
        }
    };
    Plan { make, current: active.map(|i| keys[i].kid.clone()), drop }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const POLICY: Policy = Policy { lifetime: Duration::days(30), ahead: Duration::days(1), overlap: Duration::hours(1) };

    fn key(kid: &str, active_at: OffsetDateTime) -> Key {
        Key { kid: kid.into(), active_at }
    }

    #[test]
    fn the_first_key_signs_at_once() {
        assert_eq!(plan(&[], POLICY, T0), Plan { make: Some(T0), current: None, drop: vec![] });
        assert_eq!(plan(&[key("a", T0)], POLICY, T0), Plan { make: None, current: Some("a".into()), drop: vec![] });
    }

    #[test]
    fn the_next_key_is_published_before_it_signs() {
        let due = T0 + Duration::days(30);
        let now = due - Duration::days(1);
        assert_eq!(plan(&[key("a", T0)], POLICY, now).make, Some(due));
        let two = [key("a", T0), key("b", due)];
        assert_eq!(plan(&two, POLICY, now), Plan { make: None, current: Some("a".into()), drop: vec![] });
        assert_eq!(plan(&two, POLICY, due).current.as_deref(), Some("b"));
    }

    #[test]
    fn an_old_key_stays_until_nothing_it_signed_is_valid() {
        let due = T0 + Duration::days(30);
        let two = [key("a", T0), key("b", due)];
        assert_eq!(plan(&two, POLICY, due + Duration::minutes(59)).drop, Vec::<String>::new());
        assert_eq!(plan(&two, POLICY, due + Duration::hours(1)).drop, ["a"]);
    }

    #[test]
    fn after_a_long_standstill_the_next_key_is_still_published_first() {
        let now = T0 + Duration::days(300);
        let planned = plan(&[key("a", T0)], POLICY, now);
        assert_eq!((planned.make, planned.current.as_deref()), (Some(now + Duration::days(1)), Some("a")));
    }
}
