//! Exact decimal money with one explicit rounding rule.

use rust_decimal::{Decimal, RoundingStrategy};
use thiserror::Error;

/// How many decimals a price may have: sub-cent prices of small units are common.
pub const PRICE_SCALE: u32 = 9;
/// How many decimals a metered quantity keeps.
pub const QUANTITY_SCALE: u32 = 9;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum MoneyError {
    #[error("must be a decimal number such as 0.05")]
    Malformed,
    #[error("must be 0 to 1000000000")]
    Range,
    #[error("may have at most {PRICE_SCALE} decimals")]
    TooPrecise,
    #[error("must be three capital letters (ISO 4217), such as CNY")]
    Currency,
    #[error("the amount is too large to add up")]
    Overflow,
}

/// A price of one unit, from text (never from a binary fraction).
///
/// # Errors
/// Not a plain decimal, negative, too large or too precise.
pub fn parse_price(text: &str) -> Result<Decimal, MoneyError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(MoneyError::Malformed);
    }
    let price = Decimal::from_str_exact(text).map_err(|_| MoneyError::Malformed)?;
    if price.scale() > PRICE_SCALE {
        return Err(MoneyError::TooPrecise);
    }
    if price > Decimal::from(1_000_000_000) {
        return Err(MoneyError::Range);
    }
    Ok(price)
}

/// # Errors
/// Not of the form `AAA`.
pub fn check_currency(text: &str) -> Result<(), MoneyError> {
    if text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase()) { Ok(()) } else { Err(MoneyError::Currency) }
}

/// Decimals of a currency's smallest unit (ISO 4217): 0 for yen and won, 3 for dinars, else 2.
pub fn minor_digits(currency: &str) -> u32 {
    match currency {
        "JPY" | "KRW" | "VND" | "CLP" | "ISK" => 0,
        "BHD" | "KWD" | "OMR" | "JOD" | "TND" => 3,
        _ => 2,
    }
}

/// Banker's rounding (half to even) to the currency's smallest unit: over many lines it favours neither side.
pub fn round(amount: Decimal, currency: &str) -> Decimal {
    let mut rounded = amount.round_dp_with_strategy(minor_digits(currency), RoundingStrategy::MidpointNearestEven);
    rounded.rescale(minor_digits(currency));
    rounded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn halves_go_to_the_even_neighbour() {
        for (exact, rounded) in [("0.125", "0.12"), ("0.135", "0.14"), ("2.5", "2.50"), ("0.005", "0.00"), ("0.015", "0.02"), ("0.0051", "0.01")] {
            assert_eq!(round(d(exact), "CNY").to_string(), rounded, "{exact}");
        }
        assert_eq!(round(d("2.5"), "JPY").to_string(), "2");
    }

    #[test]
    fn a_price_is_a_plain_decimal() {
        assert_eq!(parse_price("0.000000001").unwrap(), d("0.000000001"));
        for (text, error) in [
            ("", MoneyError::Malformed),
            ("-1", MoneyError::Malformed),
            ("1e3", MoneyError::Malformed),
            ("NaN", MoneyError::Malformed),
            ("1.2.3", MoneyError::Malformed),
            ("0.0000000001", MoneyError::TooPrecise),
            ("1000000001", MoneyError::Range),
            ("99999999999999999999999999999999", MoneyError::Malformed),
        ] {
            assert_eq!(parse_price(text).unwrap_err(), error, "{text}");
        }
    }

    proptest! {
        #[test]
        fn rounding_moves_an_amount_by_at_most_half_a_cent(units in 0i64..1_000_000_000, scale in 0u32..9) {
            let exact = Decimal::new(units, scale);
            prop_assert!((round(exact, "CNY") - exact).abs() <= d("0.005"));
        }

        #[test]
        fn parsing_never_panics(text in ".{0,40}") {
            let _ = parse_price(&text);
        }
    }
}
