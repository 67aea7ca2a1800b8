//! Usage times price: the lines and total of a bill. The total is the sum of its lines by construction.

use std::collections::BTreeMap;

use gantry_kernel::ProjectId;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::money::{self, MoneyError, QUANTITY_SCALE};

/// Prices of one unit per billed meter.
pub type Prices = BTreeMap<String, Decimal>;

/// How much of a meter one holder used, in billed units.
#[derive(Clone, Debug, PartialEq)]
pub struct Used {
    pub project: ProjectId,
    /// "app:<uuid>", "run:<uuid>", "repository:<name>".
    pub holder: String,
    pub holder_name: String,
    pub meter: String,
    pub quantity: Decimal,
}

/// One line. Quantities, prices and amounts are decimal texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Line {
    pub project: ProjectId,
    /// Empty in stored bills of deleted projects' unknown names.
    #[serde(default)]
    pub project_name: String,
    pub holder: String,
    pub holder_name: String,
    pub meter: String,
    #[schema(value_type = String)]
    pub quantity: Decimal,
    #[schema(value_type = String)]
    pub unit_price: Decimal,
    #[schema(value_type = String)]
    pub amount: Decimal,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Bill {
    pub currency: String,
    pub lines: Vec<Line>,
    #[schema(value_type = String)]
    pub total: Decimal,
}

/// Every line is rounded on its own (half to even), and the total is their exact sum, so a reader can add it up.
/// Meters without a price are not billed and not listed.
///
/// # Errors
/// An amount beyond 28 digits.
pub fn bill(currency: &str, prices: &Prices, usage: impl IntoIterator<Item = Used>) -> Result<Bill, MoneyError> {
    let mut lines = Vec::new();
    for used in usage {
        let Some(price) = prices.get(&used.meter) else { continue };
        let exact = used.quantity.checked_mul(*price).ok_or(MoneyError::Overflow)?;
        lines.push(Line {
            project: used.project,
            project_name: String::new(),
            holder: used.holder,
            holder_name: used.holder_name,
            meter: used.meter,
            quantity: used.quantity.round_dp(QUANTITY_SCALE).normalize(),
            unit_price: price.normalize(),
            amount: money::round(exact, currency),
        });
    }
    lines.sort_by(|a, b| (&a.project, &a.holder_name, &a.holder, &a.meter).cmp(&(&b.project, &b.holder_name, &b.holder, &b.meter)));
    let total = sum(&lines).ok_or(MoneyError::Overflow)?;
    Ok(Bill { currency: currency.to_owned(), total: money::round(total, currency), lines })
}

/// `None` on overflow.
pub fn sum(lines: &[Line]) -> Option<Decimal> {
    lines.iter().try_fold(Decimal::ZERO, |total, line| total.checked_add(line.amount))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_kernel::Uuid;
    use proptest::prelude::*;

    fn used(meter: &str, quantity: Decimal) -> Used {
        Used { project: ProjectId(Uuid::nil()), holder: "app:1".into(), holder_name: "web".into(), meter: meter.into(), quantity }
    }

    #[test]
    fn usage_times_price_is_rounded_per_line_and_added_up() {
        let prices = Prices::from([("cpu_core_hours".into(), "0.25".parse().unwrap())]);
        let bill = bill("CNY", &prices, [used("cpu_core_hours", "0.5".parse().unwrap()), used("cpu_core_hours", "0.3".parse().unwrap())]).unwrap();
        let amounts: Vec<_> = bill.lines.iter().map(|l| l.amount.to_string()).collect();
        assert_eq!(amounts, ["0.12", "0.08"]);
        assert_eq!(bill.total.to_string(), "0.20");
    }

    #[test]
    fn what_has_no_price_costs_nothing_and_has_no_line() {
        let bill = bill("CNY", &Prices::new(), [used("requests", Decimal::TEN)]).unwrap();
        assert_eq!((bill.lines.len(), bill.total.to_string().as_str()), (0, "0.00"));
    }

    #[test]
    fn an_overflow_is_an_error_not_a_panic() {
        let prices = Prices::from([("requests".into(), Decimal::MAX)]);
        assert_eq!(bill("CNY", &prices, [used("requests", Decimal::TEN)]), Err(MoneyError::Overflow));
    }

    proptest! {
        #[test]
        fn the_total_is_the_sum_of_the_lines(rows in proptest::collection::vec((0i64..10_000_000_000, 0u32..9), 0..50), price in 0i64..1_000_000) {
            let prices = Prices::from([("m".into(), Decimal::new(price, 6))]);
            let bill = bill("CNY", &prices, rows.iter().map(|(q, s)| used("m", Decimal::new(*q, *s)))).unwrap();
            prop_assert_eq!(sum(&bill.lines).unwrap(), bill.total);
            prop_assert!(bill.lines.iter().all(|l| l.amount.scale() == 2));
            let exact: Decimal = rows.iter().map(|(q, s)| Decimal::new(*q, *s) * Decimal::new(price, 6)).sum();
            let cents = Decimal::new(5, 3) * Decimal::from(rows.len());
            prop_assert!((exact - bill.total).abs() <= cents);
        }
    }
}
