//! Times of a schedule: the five fields of crontab(5), in UTC. Minutes are the finest step, so a day is looked at at a time.

use time::{Date, Duration, OffsetDateTime, Time};

/// Bit n: the value n is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// 0 is Sunday.
    weekdays: u64,
    /// Either day field will do if both are restricted (crontab(5)).
    either_day: bool,
}

/// A date that no year has is looked for so long: leap years are at most eight years apart.
const DAYS: i64 = 366 * 9;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Cron {
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(format!(
                "`{text}`: five fields are needed (minute, hour, day, month, day of the week), or @hourly, @daily, @weekly, @monthly, @yearly"
            ));
        };
        let mut week = field(weekdays, 0, 7, &WEEKDAYS)?;
        // 7 is Sunday, too.
        week |= week >> 7 & 1;
        Ok(Self {
            minutes: field(minutes, 0, 59, &[])?,
            hours: field(hours, 0, 23, &[])?,
            days: field(days, 1, 31, &[])?,
            months: field(months, 1, 12, &MONTHS)?,
            weekdays: week & 0x7f,
            either_day: !days.starts_with(['*', '?']) && !weekdays.starts_with(['*', '?']),
        })
    }

    /// The last time at or before `now`; `None` if there is none within the last years (30 February).
    pub fn last(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let now = now.to_offset(time::UtcOffset::UTC);
        let mut latest = (now.hour(), now.minute());
        for back in 0..DAYS {
            let date = now.date().checked_sub(Duration::days(back))?;
            if self.on(date)
                && let Some(hour) = (0..=latest.0).rev().find(|h| self.hours >> h & 1 == 1 && (*h < latest.0 || self.minutes & ((2 << latest.1) - 1) != 0))
            {
                let most = if hour == latest.0 { latest.1 } else { 59 };
                let minute = (0..=most).rev().find(|m| self.minutes >> m & 1 == 1)?;
                return at(date, hour, minute);
            }
            latest = (23, 59);
        }
        None
    }

    /// The first time after `now`.
    pub fn next(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let from = now.to_offset(time::UtcOffset::UTC) + Duration::minutes(1);
        let mut earliest = (from.hour(), from.minute());
        for ahead in 0..DAYS {
            let date = from.date().checked_add(Duration::days(ahead))?;
            if self.on(date)
                && let Some(hour) = (earliest.0..24).find(|h| self.hours >> h & 1 == 1 && (*h > earliest.0 || self.minutes >> earliest.1 != 0))
            {
                let least = if hour == earliest.0 { earliest.1 } else { 0 };
                let minute = (least..60).find(|m| self.minutes >> m & 1 == 1)?;
                return at(date, hour, minute);
            }
            earliest = (0, 0);
        }
        None
    }

    /// Is every hour meant, so that it goes by how much time has passed and not by what a clock shows?
    pub fn is_hourly(&self) -> bool {
        self.hours == (1 << 24) - 1
    }

    fn on(&self, date: Date) -> bool {
        let day = self.days >> date.day() & 1 == 1;
        let week = self.weekdays >> date.weekday().number_days_from_sunday() & 1 == 1;
        let of_month = if self.either_day { day || week } else { day && week };
        of_month && self.months >> u8::from(date.month()) & 1 == 1
    }
}

fn at(date: Date, hour: u8, minute: u8) -> Option<OffsetDateTime> {
    Some(date.with_time(Time::from_hms(hour, minute, 0).ok()?).assume_utc())
}

/// `*`, `5`, `1-5`, `*/15`, `10-40/10`, `mon`, and lists of them.
fn field(text: &str, least: u32, most: u32, names: &[&str]) -> Result<u64, String> {
    let mut bits = 0;
    for part in text.split(',') {
        let wrong = || format!("`{part}` in `{text}`: must be {least} to {most}, a range, a step such as */5, or a list of them");
        let number = |text: &str| {
            let named = names.iter().position(|n| n.eq_ignore_ascii_case(text)).and_then(|n| u32::try_from(n).ok()).map(|n| n + least);
            named.or_else(|| text.parse().ok()).filter(|n| (least..=most).contains(n)).ok_or_else(wrong)
        };
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<usize>().ok().filter(|s| *s > 0).ok_or_else(wrong)?),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            // Quartz and Kubernetes write `?` for a day that does not matter.
            _ if range == "*" || range == "?" => (least, most),
            Some((from, to)) => (number(from)?, number(to)?),
            // `5/10` means from 5 on.
            None if part.contains('/') => (number(range)?, most),
            None => (number(range)?, number(range)?),
        };
        if from > to {
            return Err(wrong());
        }
        for value in (from..=to).step_by(step) {
            bits |= 1_u64 << value;
        }
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    fn around(text: &str, now: OffsetDateTime) -> (Option<OffsetDateTime>, Option<OffsetDateTime>) {
        let cron = Cron::parse(text).unwrap();
        (cron.last(now), cron.next(now))
    }

    #[test]
    fn the_times_before_and_after_are_found() {
        let now = datetime!(2026-11-29 12:34:56 UTC);
        for (text, last, next) in [
            ("* * * * *", datetime!(2026-11-29 12:34 UTC), datetime!(2026-11-29 12:35 UTC)),
            ("*/15 * * * *", datetime!(2026-11-29 12:30 UTC), datetime!(2026-11-29 12:45 UTC)),
            ("40 12 * * *", datetime!(2026-11-28 12:40 UTC), datetime!(2026-11-29 12:40 UTC)),
            ("0 0 ? * *", datetime!(2026-11-29 00:00 UTC), datetime!(2026-11-30 00:00 UTC)),
            ("@daily", datetime!(2026-11-29 00:00 UTC), datetime!(2026-11-30 00:00 UTC)),
            ("30 2 * * mon-fri", datetime!(2026-11-27 02:30 UTC), datetime!(2026-11-30 02:30 UTC)),
            ("0 0 29 feb *", datetime!(2024-02-29 00:00 UTC), datetime!(2028-02-29 00:00 UTC)),
            // Either the 13th or a Friday.
            ("0 0 13 * 5", datetime!(2026-11-27 00:00 UTC), datetime!(2026-12-04 00:00 UTC)),
            ("0 0 * * 7", datetime!(2026-11-29 00:00 UTC), datetime!(2026-12-06 00:00 UTC)),
            ("5/20 8-9 * * *", datetime!(2026-11-29 09:45 UTC), datetime!(2026-11-30 08:05 UTC)),
        ] {
            assert_eq!(around(text, now), (Some(last), Some(next)), "{text}");
        }
        assert_eq!(around("0 0 30 2 *", now), (None, None));
    }

    #[test]
    fn nonsense_is_refused_with_words() {
        for text in ["", "* * * *", "60 * * * *", "a * * * *", "5-1 * * * *", "*/0 * * * *", "@reboot"] {
            assert!(Cron::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_last_of_the_next_is_the_next(minute in 0u8..60, hour in 0u8..24, weekday in 0u8..7, seconds in 0i64..400_000_000) {
            let now = datetime!(2020-01-01 00:00 UTC) + Duration::seconds(seconds);
            for text in [format!("{minute} {hour} * * *"), format!("{minute} * * * {weekday}"), format!("*/7 {hour} 1-15 * *")] {
                let cron = Cron::parse(&text).unwrap();
                let next = cron.next(now).unwrap();
                prop_assert!(next > now && cron.last(next) == Some(next));
                prop_assert!(cron.last(now).unwrap() <= now);
                prop_assert_eq!(cron.last(next - Duration::minutes(1)), cron.last(now));
            }
        }
    }
}
