//! When something is to happen again and again: five fields as cron(8) has them (`minute hour day month weekday`), in UTC.
//! `*`, numbers, ranges `1-5`, lists `1,3`, steps `*/15` and `10-30/5`. Sunday is 0 or 7. When both day and weekday are given,
//! either counts, as cron has it.

use std::time::Duration;

use gantry_kernel::OffsetDateTime;

/// A parsed schedule: one bit per minute, hour, day, month and weekday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

const MINUTE: Duration = Duration::from_secs(60);
/// Every fourth year has a 29 February, but 2100 does not.
const SEARCHED_DAYS: u32 = 9 * 366;

impl Cron {
    /// # Errors
    /// What is wrong with it, for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err("must have five fields: minute hour day month weekday".into());
        };
        let mut weekdays = field("weekday", weekday, 0, 7)?;
        if weekdays & (1 << 7) != 0 {
            weekdays |= 1;
        }
        let cron = Self {
            minutes: field("minute", minute, 0, 59)?,
            hours: field("hour", hour, 0, 23)?,
            days: field("day", day, 1, 31)?,
            months: field("month", month, 1, 12)?,
            weekdays,
            any_day: *day == "*",
            any_weekday: *weekday == "*",
        };
        match cron.next(OffsetDateTime::UNIX_EPOCH) {
            Some(_) => Ok(cron),
            None => Err("names a day that no month has".into()),
        }
    }

    /// The first whole minute after `after` that it names.
    pub fn next(&self, after: OffsetDateTime) -> Option<OffsetDateTime> {
        let start = after.replace_second(0).ok()?.replace_nanosecond(0).ok()?.checked_add(time::Duration::MINUTE)?;
        let mut at = start;
        for _ in 0..SEARCHED_DAYS {
            if self.names_day(at) {
                let midnight = at.date().next_day()?;
                while at.date() < midnight {
                    if self.hours & (1 << at.hour()) != 0 && self.minutes & (1 << at.minute()) != 0 {
                        return Some(at);
                    }
                    at += MINUTE;
                }
            } else {
                at = at.date().next_day()?.midnight().assume_utc();
            }
        }
        None
    }

    fn names_day(&self, at: OffsetDateTime) -> bool {
        let day = self.days & (1 << at.day()) != 0;
        let weekday = self.weekdays & (1 << at.weekday().number_days_from_sunday()) != 0;
        let either = match (self.any_day, self.any_weekday) {
            (false, false) => day || weekday,
            _ => day && weekday,
        };
        either && self.months & (1 << u8::from(at.month())) != 0
    }
}

fn field(name: &str, text: &str, least: u8, most: u8) -> Result<u64, String> {
    let bad = || format!("{name} `{text}`: must be *, numbers from {least} to {most}, ranges, lists or steps such as */5");
    let number = |t: &str| t.parse::<u8>().ok().filter(|n| (least..=most).contains(n)).ok_or_else(bad);
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u8>().ok().filter(|s| *s > 0).ok_or_else(bad)?),
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None if range == "*" => (least, most),
            None => {
                let one = number(range)?;
                // `5/10` is from 5 on, as most crons have it.
                (one, if part.contains('/') { most } else { one })
            }
        };
        if first > last {
            return Err(bad());
        }
        bits |= (first..=last).step_by(usize::from(step)).fold(0, |bits, n| bits | (1u64 << n));
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_next_time_is_the_one_that_is_named() {
        let from = datetime!(2026-11-29 12:34:56 UTC); // a Sunday
        for (text, next) in [
            ("* * * * *", datetime!(2026-11-29 12:35 UTC)),
            ("*/15 * * * *", datetime!(2026-11-29 12:45 UTC)),
            ("0 3 * * *", datetime!(2026-11-30 03:00 UTC)),
            ("34 12 * * *", datetime!(2026-11-30 12:34 UTC)),
            ("0 0 1 1 *", datetime!(2027-01-01 0:00 UTC)),
            ("30 2 * * 1-5", datetime!(2026-11-30 02:30 UTC)),
            ("0 0 * * 7", datetime!(2026-12-06 0:00 UTC)),
            ("0 0 15 * 3", datetime!(2026-12-02 0:00 UTC)),
            ("0 0 29 2 *", datetime!(2028-02-29 0:00 UTC)),
            ("5,50 12 * * *", datetime!(2026-11-29 12:50 UTC)),
        ] {
            assert_eq!(Cron::parse(text).unwrap().next(from), Some(next), "{text}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for bad in ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "5-1 * * * *", "*/0 * * * *", "a * * * *", "0 0 31 2 *", "1- * * * *"]
        {
            assert!(Cron::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9*/,\\- a]{0,24}") {
            let _ = Cron::parse(&text);
        }

        /// It moves forward, to a whole minute, and there is nothing in between.
        #[test]
        fn the_next_time_is_later_and_the_first(seconds in 0i64..4_000_000_000, minute in 0u8..60, step in 1u8..30) {
            let cron = Cron::parse(&format!("{minute}/{step} * * * *")).unwrap();
            let from = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
            let next = cron.next(from).unwrap();
            prop_assert!(next > from && next.second() == 0 && next.minute() >= minute);
            prop_assert_eq!((next.minute() - minute) % step, 0);
            prop_assert_eq!(cron.next(next - Duration::from_secs(1)), Some(next));
        }
    }
}
