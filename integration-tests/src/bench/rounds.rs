//! Ours and the anchor in turns, so that whatever else the machine does meets both alike.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

/// One measurement of each, close in time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Round {
    pub ours: f64,
    pub anchor: f64,
}

/// Measures both `rounds` times. Who comes first changes from round to round.
///
/// # Errors
/// The first error of either.
pub fn interleaved(rounds: usize, mut ours: impl FnMut() -> Result<f64>, mut anchor: impl FnMut() -> Result<f64>) -> Result<Vec<Round>> {
    let mut measured = Vec::with_capacity(rounds);
    for n in 0..rounds {
        let round = if n % 2 == 0 {
            let anchor = anchor()?;
            Round { ours: ours()?, anchor }
        } else {
            Round { ours: ours()?, anchor: anchor()? }
        };
        measured.push(round);
    }
    Ok(measured)
}

/// Of an even number, halfway between the two in the middle: the upper one alone would flatter rates.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (upper, lower) = (values.len() / 2, values.len().saturating_sub(1) / 2);
    match (values.get(lower), values.get(upper)) {
        (Some(lower), Some(upper)) => f64::midpoint(*lower, *upper),
        _ => f64::NAN,
    }
}

/// The `q` quantile (0.99: the time that one of a hundred exceeds), in milliseconds.
pub fn quantile_ms(mut times: Vec<Duration>, q: f64) -> f64 {
    times.sort_unstable();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index of a list that fits memory")]
    let index = ((times.len() as f64 * q).ceil() as usize).saturating_sub(1);
    times.get(index).map_or(f64::NAN, |t| t.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn a_quantile_is_a_measured_value() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(quantile_ms(times.clone(), 0.99), 198.0);
        assert_eq!(quantile_ms(times, 0.5), 100.0);
    }
}
