//! Instants as people give them: `2026-11-22T10:00:00Z`, or `15m` ago.

use gantry_kernel::{OffsetDateTime, Problem, Result};
use time::Duration;
use time::format_description::well_known::Rfc3339;

/// An instant, or a length of time before `now`: a number with `s`, `m`, `h` or `d`.
///
/// # Errors
/// Neither of the two.
pub fn instant(field: &str, text: &str, now: OffsetDateTime) -> Result<OffsetDateTime> {
    let fault = || Problem::invalid(field, "must be a time such as 2026-11-22T10:00:00Z or a span such as 15m, 2h, 7d");
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(at);
    }
    now.checked_sub(length(text).ok_or_else(fault)?).ok_or_else(fault)
}

/// A positive length of time.
pub fn length(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let number = text.strip_suffix(unit)?.parse::<u32>().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    Some(Duration::seconds(i64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn an_instant_or_a_span_before_now() {
        let now = datetime!(2026-11-22 10:00 UTC);
        assert_eq!(instant("since", "15m", now).unwrap(), datetime!(2026-11-22 9:45 UTC));
        assert_eq!(instant("since", "2026-11-22T17:30:00+08:00", now).unwrap(), datetime!(2026-11-22 9:30 UTC));
        for bad in ["", "m", "-5m", "5w", "yesterday", "99999999999d", "é", "5é", "4294967295d"] {
            assert!(instant("since", bad, now).is_err(), "{bad}");
        }
    }
}
