//! Times of a schedule where its clocks are: summer time and all. The zone's rules come with the program.

use gantry_kernel::OffsetDateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use time::UtcOffset;

use super::cron::Cron;

/// A crontab in a time zone.
#[derive(Clone, Debug)]
pub struct Clock {
    cron: Cron,
    zone: TimeZone,
}

impl Clock {
    /// UTC if `zone` is empty.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(cron: &str, zone: &str) -> Result<Self, String> {
        let zone = if zone.is_empty() {
            TimeZone::UTC
        } else {
            TimeZone::get(zone).map_err(|_| format!("there is no time zone `{zone}`; names are such as Europe/Berlin"))?
        };
        Ok(Self { cron: Cron::parse(cron)?, zone })
    }

    /// The last time at or before `now`.
    pub fn last(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        if self.cron.is_hourly() {
            return self.hourly(now, Cron::last, -time::Duration::minutes(1));
        }
        // An hour that is skipped or comes twice may put the instant of a local time past `now`; then it was the one before.
        let mut local = self.local(now)?;
        for _ in 0..3 {
            let found = self.cron.last(local)?;
            match self.instant(found) {
                Some(at) if at <= now => return Some(at),
                _ => local = found - time::Duration::minutes(1),
            }
        }
        None
    }

    /// The first time after `now`.
    pub fn next(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        if self.cron.is_hourly() {
            return self.hourly(now, Cron::next, time::Duration::ZERO);
        }
        let mut local = self.local(now)?;
        for _ in 0..64 {
            let found = self.cron.next(local)?;
            match self.instant(found) {
                Some(at) if at > now => return Some(at),
                _ => local = found,
            }
        }
        None
    }

    /// Of what happens in every hour also that which comes twice: what is every twenty minutes stays so, whatever the clocks do.
    /// Found with the offset that holds `now`; where another one holds then, with that. `further`: from there on.
    fn hourly(&self, now: OffsetDateTime, find: fn(&Cron, OffsetDateTime) -> Option<OffsetDateTime>, further: time::Duration) -> Option<OffsetDateTime> {
        let mut offset = self.offset(now)?;
        let mut from = now.to_offset(UtcOffset::UTC);
        // Clocks are changed by two hours at most, and a minute is the finest step.
        for _ in 0..130 {
            let at = find(&self.cron, from + offset)? - offset;
            let there = self.offset(at)?;
            if there == offset {
                return Some(at);
            }
            if offset == self.offset(now)? {
                // From `now` on, as the clocks show it there.
                offset = there;
            } else {
                from = at + further;
            }
        }
        None
    }

    fn offset(&self, at: OffsetDateTime) -> Option<time::Duration> {
        let offset = self.zone.to_offset(Timestamp::from_second(at.unix_timestamp()).ok()?);
        Some(time::Duration::seconds(offset.seconds().into()))
    }

    /// What the clock shows, as if it was UTC: a crontab knows no zones.
    fn local(&self, at: OffsetDateTime) -> Option<OffsetDateTime> {
        Some(at.to_offset(UtcOffset::UTC) + self.offset(at)?)
    }

    /// A time that is skipped is meant as much later as the clock is put forward; of two, the first.
    fn instant(&self, local: OffsetDateTime) -> Option<OffsetDateTime> {
        let small = |n: u8| i8::try_from(n).ok();
        let civil = civil::DateTime::new(
            i16::try_from(local.year()).ok()?,
            small(local.month().into())?,
            small(local.day())?,
            small(local.hour())?,
            small(local.minute())?,
            0,
            0,
        );
        let at = self.zone.to_timestamp(civil.ok()?).ok()?;
        OffsetDateTime::from_unix_timestamp(at.as_second()).ok()
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_morning_in_berlin_moves_with_summer_time() {
        let clock = Clock::parse("30 8 * * *", "Europe/Berlin").unwrap();
        assert_eq!(clock.next(datetime!(2026-01-10 00:00 UTC)), Some(datetime!(2026-01-10 07:30 UTC)));
        assert_eq!(clock.next(datetime!(2026-07-10 00:00 UTC)), Some(datetime!(2026-07-10 06:30 UTC)));
        assert_eq!(clock.last(datetime!(2026-07-10 06:30 UTC)), Some(datetime!(2026-07-10 06:30 UTC)));
        assert_eq!(clock.last(datetime!(2026-07-10 06:29 UTC)), Some(datetime!(2026-07-09 06:30 UTC)));
    }

    #[test]
    fn what_is_skipped_comes_later_and_what_comes_twice_comes_once() {
        let clock = Clock::parse("30 2 * * *", "Europe/Berlin").unwrap();
        // 29 March 2026: 2:00 becomes 3:00.
        assert_eq!(clock.next(datetime!(2026-03-28 12:00 UTC)), Some(datetime!(2026-03-29 01:30 UTC)));
        // 25 October 2026: 3:00 becomes 2:00.
        assert_eq!(clock.next(datetime!(2026-10-24 12:00 UTC)), Some(datetime!(2026-10-25 00:30 UTC)));
        assert_eq!(clock.next(datetime!(2026-10-25 00:30 UTC)), Some(datetime!(2026-10-26 01:30 UTC)));
        assert_eq!(clock.last(datetime!(2026-10-25 02:00 UTC)), Some(datetime!(2026-10-25 00:30 UTC)));
    }

    #[test]
    fn what_happens_in_every_hour_happens_also_in_the_one_that_comes_twice() {
        let often = Clock::parse("*/20 * * * *", "Europe/Berlin").unwrap();
        // 2:00 to 3:00 twice, from 0:00 to 2:00 UTC; and then from 2:00 to 3:00 at once.
        for start in [datetime!(2026-10-24 23:00 UTC), datetime!(2026-03-29 00:00 UTC)] {
            let mut now = start;
            for n in 1..12 {
                now = often.next(now).unwrap();
                assert_eq!(now, start + time::Duration::minutes(20 * n));
                assert_eq!(often.last(now + time::Duration::minutes(19)), Some(now), "{now}");
            }
        }
        let mondays = Clock::parse("30 * * * mon", "Europe/Berlin").unwrap();
        assert_eq!(mondays.next(datetime!(2026-10-24 12:00 UTC)), Some(datetime!(2026-10-25 23:30 UTC)), "it is winter by then");
        assert_eq!(mondays.last(datetime!(2026-10-26 23:00 UTC)), Some(datetime!(2026-10-26 22:30 UTC)));
        assert_eq!(mondays.last(datetime!(2026-10-25 23:00 UTC)), Some(datetime!(2026-10-19 21:30 UTC)), "it was summer then");
        let half = Clock::parse("45 * * * *", "Australia/Lord_Howe").unwrap();
        // 5 April 2026, 2:00 becomes 1:30: 1:45 comes twice, at 14:45 and 15:15 UTC the day before.
        assert_eq!(half.next(datetime!(2026-04-04 14:45 UTC)), Some(datetime!(2026-04-04 15:15 UTC)));
        assert_eq!(half.last(datetime!(2026-04-04 15:14 UTC)), Some(datetime!(2026-04-04 14:45 UTC)));
    }

    #[test]
    fn utc_is_meant_where_nothing_is_said_and_no_zone_is_invented() {
        assert_eq!(Clock::parse("0 12 * * *", "").unwrap().next(datetime!(2026-07-10 00:00 UTC)), Some(datetime!(2026-07-10 12:00 UTC)));
        assert!(Clock::parse("0 12 * * *", "Europe/Atlantis").unwrap_err().contains("Atlantis"));
        assert!(Clock::parse("nonsense", "").is_err());
    }
}
