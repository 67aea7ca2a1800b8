//! A usage sample checked at the door and split into the hours it covers.

use gantry_contract::usage::UsageSample;
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use super::meter;
use super::money::QUANTITY_SCALE;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum SampleFault {
    #[error("the amount is not a number from 0 to 1e12")]
    Amount,
    #[error("`from` is after `to`, or the sample covers more than a day")]
    Interval,
    #[error("it ends in the future")]
    Future,
    #[error("the meter's name may hold only a-z, 0-9 and '_', at most 64")]
    Meter,
    #[error("the holder has no name, or one over 200 characters")]
    Holder,
}

/// The exact amount of a sample that may be counted.
///
/// # Errors
/// Why it may not.
pub fn check(sample: &UsageSample, now: OffsetDateTime) -> Result<Decimal, SampleFault> {
    if !(0.0..=1e12).contains(&sample.amount) {
        return Err(SampleFault::Amount);
    }
    let span = sample.to - sample.from;
    if span.is_negative() || span > Duration::DAY {
        return Err(SampleFault::Interval);
    }
    // Clocks of nodes differ a little.
    if sample.to > now + Duration::minutes(10) {
        return Err(SampleFault::Future);
    }
    if !meter::is_name(&sample.meter) {
        return Err(SampleFault::Meter);
    }
    let named = |text: &str| (1..=200).contains(&text.len()) && !text.contains('\0');
    if !named(&sample.holder) || !named(&sample.holder_name) {
        return Err(SampleFault::Holder);
    }
    let amount = Decimal::from_f64(sample.amount).ok_or(SampleFault::Amount)?;
    Ok(amount.round_dp(QUANTITY_SCALE))
}

/// The amount per hour, in proportion to the time in each; the parts add up to `amount` exactly.
pub fn by_hour(from: OffsetDateTime, to: OffsetDateTime, amount: Decimal) -> Vec<(OffsetDateTime, Decimal)> {
    let first = hour_of(from);
    let total = decimal_seconds(to - from);
    if total <= Decimal::ZERO {
        return vec![(first, amount)];
    }
    let (mut parts, mut left, mut hour) = (Vec::new(), amount, first);
    loop {
        let next = hour + Duration::HOUR;
        if next >= to {
            // The rest, not a share: no rounding error can appear or vanish.
            parts.push((hour, left));
            return parts;
        }
        let share = (amount * decimal_seconds(next - from.max(hour)) / total).round_dp(QUANTITY_SCALE).min(left);
        left -= share;
        parts.push((hour, share));
        hour = next;
    }
}

/// The beginning of the hour in UTC.
pub fn hour_of(at: OffsetDateTime) -> OffsetDateTime {
    let seconds = at.unix_timestamp();
    OffsetDateTime::from_unix_timestamp(seconds - seconds.rem_euclid(3_600)).unwrap_or(at)
}

fn decimal_seconds(span: Duration) -> Decimal {
    Decimal::from_i128_with_scale(span.whole_nanoseconds(), 9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_kernel::{OrgId, ProjectId, Uuid};
    use proptest::prelude::*;
    use time::macros::datetime;

    fn sample(amount: f64) -> UsageSample {
        UsageSample {
            id: Uuid::nil(),
            org: OrgId(Uuid::nil()),
            project: ProjectId(Uuid::nil()),
            holder: "app:x".into(),
            holder_name: "web".into(),
            meter: "cpu_core_seconds".into(),
            amount,
            from: datetime!(2026-11-22 10:00 UTC),
            to: datetime!(2026-11-22 10:01 UTC),
        }
    }

    #[test]
    fn a_sample_must_be_a_number_a_short_interval_and_in_the_past() {
        let now = datetime!(2026-11-22 10:05 UTC);
        assert_eq!(check(&sample(0.1), now).unwrap().to_string(), "0.1");
        for amount in [f64::NAN, f64::INFINITY, -1.0, 2e12] {
            assert_eq!(check(&sample(amount), now), Err(SampleFault::Amount));
        }
        assert_eq!(check(&UsageSample { to: datetime!(2026-11-22 09:59 UTC), ..sample(1.0) }, now), Err(SampleFault::Interval));
        assert_eq!(check(&UsageSample { from: datetime!(2026-11-20 10:00 UTC), ..sample(1.0) }, now), Err(SampleFault::Interval));
        assert_eq!(check(&sample(1.0), datetime!(2026-11-22 09:00 UTC)), Err(SampleFault::Future));
        assert_eq!(check(&UsageSample { meter: "x'; drop".into(), ..sample(1.0) }, now), Err(SampleFault::Meter));
        assert_eq!(check(&UsageSample { holder: String::new(), ..sample(1.0) }, now), Err(SampleFault::Holder));
    }

    #[test]
    fn a_sample_over_the_hour_is_split_where_the_hour_ends() {
        let parts = by_hour(datetime!(2026-11-30 23:45 UTC), datetime!(2026-12-01 00:15 UTC), Decimal::from(30));
        assert_eq!(parts, [(datetime!(2026-11-30 23:00 UTC), Decimal::from(15)), (datetime!(2026-12-01 00:00 UTC), Decimal::from(15))]);
    }

    proptest! {
        #[test]
        fn the_hours_of_a_sample_add_up_to_it(start in 1_700_000_000i64..1_900_000_000, seconds in 0i64..86_400, units in 0i64..1_000_000_000_000) {
            let from = OffsetDateTime::from_unix_timestamp(start).unwrap();
            let amount = Decimal::new(units, 9);
            let parts = by_hour(from, from + Duration::seconds(seconds), amount);
            prop_assert_eq!(parts.iter().map(|(_, a)| a).sum::<Decimal>(), amount);
            prop_assert!(parts.iter().all(|(h, a)| *a >= Decimal::ZERO && h.unix_timestamp() % 3_600 == 0));
            prop_assert!(parts.windows(2).all(|w| w[1].0 - w[0].0 == Duration::HOUR));
        }
    }
}
