//! Conditions of bindings: what of them holds for a request. Total: what cannot be known does not hold.

use std::net::IpAddr;

use gantry_contract::identity::Condition;
use gantry_kernel::OffsetDateTime;
use time::Duration;

/// What a request says about itself.
#[derive(Clone, Debug)]
pub struct Context {
    pub now: OffsetDateTime,
    pub from: Option<IpAddr>,
    /// Factors of the sign-in (RFC 8176).
    pub factors: Vec<String>,
}

/// More in one condition is a mistake.
const MOST: usize = 50;

/// Every fault of a condition, as field and text; empty if it can be kept.
pub fn faults(condition: &Condition) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    if let (Some(from), Some(to)) = (condition.not_before, condition.not_after)
        && from >= to
    {
        faults.push(("condition.not_after".to_owned(), "must be later than not_before".to_owned()));
    }
    if let Some(hours) = &condition.hours {
        for (field, text) in [("from", &hours.from), ("to", &hours.to)] {
            if minute(text).is_none() {
                faults.push((format!("condition.hours.{field}"), format!("`{text}`: must be a time such as 08:00")));
            }
        }
        if !(-840..=840).contains(&hours.utc_offset_minutes) {
            faults.push(("condition.hours.utc_offset_minutes".to_owned(), "must be -840 to 840".to_owned()));
        }
    }
    if condition.weekdays.iter().any(|d| !(1..=7).contains(d)) {
        faults.push(("condition.weekdays".to_owned(), "must be 1 (Monday) to 7 (Sunday)".to_owned()));
    }
    for text in &condition.networks {
        if network(text).is_none() {
            faults.push(("condition.networks".to_owned(), format!("`{text}`: must be a network such as 10.0.0.0/8 or 2001:db8::/32")));
        }
    }
    if condition.factors.iter().any(|f| f.is_empty() || f.len() > 20 || !f.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())) {
        faults.push(("condition.factors".to_owned(), "must be names of RFC 8176 such as pwd, otp, hwk, mfa".to_owned()));
    }
    if condition.networks.len() > MOST || condition.factors.len() > MOST || condition.weekdays.len() > MOST {
        faults.push(("condition".to_owned(), format!("at most {MOST} entries in each list")));
    }
    faults
}

/// `None`: it holds. Otherwise which part does not, for the answer to "why not".
pub fn why_not(condition: &Condition, context: &Context) -> Option<String> {
    if condition.not_before.is_some_and(|t| context.now < t) {
        return Some("it is too early for it".to_owned());
    }
    if condition.not_after.is_some_and(|t| context.now >= t) {
        return Some("it has ended".to_owned());
    }
    let offset = condition.hours.as_ref().map_or(0, |h| h.utc_offset_minutes);
    let local = context.now.to_offset(time::UtcOffset::UTC) + Duration::minutes(offset.into());
    if let Some(hours) = &condition.hours {
        let now = u16::from(local.hour()) * 60 + u16::from(local.minute());
        let inside = match (minute(&hours.from), minute(&hours.to)) {
            (Some(from), Some(to)) if from < to => (from..to).contains(&now),
            (Some(from), Some(to)) => now >= from || now < to,
            _ => false,
        };
        if !inside {
            return Some(format!("only from {} to {}", hours.from, hours.to));
        }
    }
    if !condition.weekdays.is_empty() && !condition.weekdays.contains(&local.weekday().number_from_monday()) {
        return Some("not on this day of the week".to_owned());
    }
    if !condition.networks.is_empty() {
        let inside = context.from.is_some_and(|from| condition.networks.iter().filter_map(|n| network(n)).any(|n| contains(n, from)));
        if !inside {
            return Some(format!("only from {}", condition.networks.join(", ")));
        }
    }
    let missing: Vec<_> = condition.factors.iter().filter(|f| !context.factors.contains(f)).map(String::as_str).collect();
    if missing.is_empty() { None } else { Some(format!("only after a sign-in with {}", missing.join(", "))) }
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two = |t: &str| if t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit()) { t.parse::<u16>().ok() } else { None };
    let (hour, minute) = (two(hour)?, two(minute)?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

/// `10.0.0.0/8`, or one address.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(most), |b| b.parse().ok())?;
    (bits <= most).then_some((address, bits))
}

fn contains((network, bits): (IpAddr, u8), address: IpAddr) -> bool {
    match (network, address.to_canonical()) {
        (IpAddr::V4(n), IpAddr::V4(a)) => same_prefix(n.to_bits().into(), a.to_bits().into(), bits, 32),
        (IpAddr::V6(n), IpAddr::V6(a)) => same_prefix(n.to_bits(), a.to_bits(), bits, 128),
        _ => false,
    }
}

fn same_prefix(one: u128, other: u128, bits: u8, width: u8) -> bool {
    let drop = u32::from(width - bits);
    one.checked_shr(drop).unwrap_or(0) == other.checked_shr(drop).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use gantry_contract::identity::Hours;
    use time::macros::datetime;

    use super::*;

    fn at(now: OffsetDateTime, from: &str, factors: &[&str]) -> Context {
        Context { now, from: from.parse().ok(), factors: factors.iter().map(|f| (*f).to_owned()).collect() }
    }

    fn hours(from: &str, to: &str, utc_offset_minutes: i16) -> Condition {
        Condition { hours: Some(Hours { from: from.into(), to: to.into(), utc_offset_minutes }), ..Condition::default() }
    }

    #[test]
    fn hours_count_in_their_own_time_zone_and_over_midnight() {
        let morning = at(datetime!(2026-11-23 01:30 UTC), "", &[]);
        assert_eq!(why_not(&hours("08:00", "18:00", 480), &morning), None, "09:30 in China");
        assert!(why_not(&hours("08:00", "18:00", 0), &morning).is_some());
        assert_eq!(why_not(&hours("22:00", "06:00", 0), &morning), None);
        assert!(why_not(&hours("18:00", "01:30", 0), &morning).is_some(), "the end is out");
        let monday = Condition { weekdays: vec![1], ..hours("00:00", "23:59", -120) };
        assert!(why_not(&monday, &morning).is_some(), "still Sunday there");
    }

    #[test]
    fn a_network_is_matched_by_its_prefix_and_an_unknown_address_is_in_none() {
        let inside = |networks: &[&str], from: &str| {
            let condition = Condition { networks: networks.iter().map(|n| (*n).to_owned()).collect(), ..Condition::default() };
            why_not(&condition, &at(datetime!(2026-11-23 01:30 UTC), from, &[])).is_none()
        };
        assert!(inside(&["10.0.0.0/8"], "10.200.3.4") && !inside(&["10.0.0.0/8"], "11.0.0.1"));
        assert!(inside(&["10.0.0.0/8"], "::ffff:10.1.1.1"), "an IPv4 address in IPv6 clothes");
        assert!(inside(&["2001:db8::/33"], "2001:db8:7fff::1") && !inside(&["2001:db8::/33"], "2001:db8:8000::1"));
        assert!(inside(&["0.0.0.0/0"], "1.2.3.4") && !inside(&["0.0.0.0/0"], "::1"));
        assert!(!inside(&["10.0.0.0/8"], "not an address"));
    }

    #[test]
    fn all_factors_must_have_been_used_and_a_period_must_run() {
        let now = datetime!(2026-11-23 01:30 UTC);
        let condition = Condition { factors: vec!["otp".into()], ..Condition::default() };
        assert!(why_not(&condition, &at(now, "", &["pwd"])).is_some());
        assert_eq!(why_not(&condition, &at(now, "", &["pwd", "otp"])), None);
        let condition = Condition { not_before: Some(now), not_after: Some(now + Duration::hours(1)), ..Condition::default() };
        assert_eq!(why_not(&condition, &at(now, "", &[])), None);
        assert!(why_not(&condition, &at(now - Duration::SECOND, "", &[])).is_some());
        assert!(why_not(&condition, &at(now + Duration::hours(1), "", &[])).is_some());
    }

    #[test]
    fn faults_name_their_fields() {
        let bad = Condition {
            weekdays: vec![0],
            networks: vec!["10.0.0.0/33".into(), "x".into()],
            factors: vec!["OTP".into()],
            not_before: Some(datetime!(2026-11-23 01:30 UTC)),
            not_after: Some(datetime!(2026-11-23 01:30 UTC)),
            ..hours("8:00", "24:00", 900)
        };
        assert_eq!(faults(&bad).len(), 8);
        assert!(faults(&Condition::default()).is_empty());
    }
}
