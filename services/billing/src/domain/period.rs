//! Billing periods: calendar months in UTC, written `2026-11`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use time::{Date, Month, OffsetDateTime};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    year: i32,
    month: Month,
}

#[derive(Debug, Error, PartialEq, Eq)]
#[error("must be a month such as 2026-11")]
pub struct PeriodError;

impl Period {
    pub fn of(at: OffsetDateTime) -> Self {
        let at = at.to_offset(time::UtcOffset::UTC);
        Self { year: at.year(), month: at.month() }
    }

    pub fn start(self) -> OffsetDateTime {
        Date::from_calendar_date(self.year, self.month, 1).map_or(OffsetDateTime::UNIX_EPOCH, |d| d.midnight().assume_utc())
    }

    /// The first instant after it.
    pub fn end(self) -> OffsetDateTime {
        self.next().start()
    }

    #[must_use]
    pub fn next(self) -> Self {
        match self.month {
            Month::December => Self { year: self.year + 1, month: Month::January },
            month => Self { year: self.year, month: month.next() },
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, u8::from(self.month))
    }
}

impl FromStr for Period {
    type Err = PeriodError;
    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let (year, month) = text.split_once('-').ok_or(PeriodError)?;
        if year.len() != 4 || month.len() != 2 || !text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
            return Err(PeriodError);
        }
        let year = year.parse().map_err(|_| PeriodError)?;
        let month = month.parse::<u8>().ok().and_then(|m| Month::try_from(m).ok()).ok_or(PeriodError)?;
        Ok(Self { year, month })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_month_begins_at_midnight_utc_and_ends_where_the_next_begins() {
        let period = Period::of(datetime!(2026-12-31 23:59:59.999 UTC));
        assert_eq!(period.to_string(), "2026-12");
        assert_eq!(period.start(), datetime!(2026-12-01 0:00 UTC));
        assert_eq!(period.end(), datetime!(2027-01-01 0:00 UTC));
        assert_eq!(Period::of(datetime!(2026-12-01 01:00 +8)).to_string(), "2026-11");
    }

    #[test]
    fn only_a_month_parses() {
        assert_eq!("2026-02".parse::<Period>().unwrap().to_string(), "2026-02");
        for bad in ["", "2026", "2026-13", "2026-00", "26-01", "2026-1", "2026-011", "20é6-01"] {
            assert!(bad.parse::<Period>().is_err(), "{bad}");
        }
    }
}
