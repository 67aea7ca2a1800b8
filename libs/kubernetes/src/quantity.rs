//! Amounts as Kubernetes writes them (kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity).

use serde_json::Value;

/// In thousandths; `None`: no quantity, or one that is out of range.
pub fn of(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => parse(&number.to_string()),
        Value::String(text) => parse(text),
        _ => None,
    }
}

pub fn parse(text: &str) -> Option<i128> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (numerator, denominator): (i128, i128) = match suffix {
        "" => (1000, 1),
        "m" => (1, 1),
        "u" => (1, 1000),
        "n" => (1, 1_000_000),
        "k" => (1_000_000, 1),
        "M" => (1_000_000_000, 1),
        "G" => (1_000_000_000_000, 1),
        "T" => (1_000_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000_000, 1),
        "Ki" => (1000 << 10, 1),
        "Mi" => (1000 << 20, 1),
        "Gi" => (1000 << 30, 1),
        "Ti" => (1000 << 40, 1),
        "Pi" => (1000 << 50, 1),
        "Ei" => (1000 << 60, 1),
        _ => {
            let exponent: u32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (10_i128.checked_pow(exponent.checked_add(3)?)?, 1)
        }
    };
    let (negative, digits) = number.strip_prefix('-').map_or((false, number.trim_start_matches('+')), |n| (true, n));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.len() > 18 {
        return None;
    }
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let all: i128 = format!("{whole}{fraction}").parse().ok()?;
    // Rounded up, as the API does with what is finer than it keeps.
    let product = all.checked_mul(numerator)?;
    let divisor = scale.checked_mul(denominator)?;
    let amount = product.checked_add(divisor - 1)? / divisor;
    Some(if negative { -amount } else { amount })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_amount_in_other_words_is_the_same() {
        assert_eq!(parse("500m"), parse("0.5"));
        assert_eq!(parse("1Gi"), parse("1024Mi"));
        assert_eq!(parse("2e3"), parse("2k"));
        assert_ne!(parse("1G"), parse("1Gi"));
        assert_eq!((parse("1E"), parse("2Ei")), (parse("1000P"), parse("2048Pi")));
        assert_eq!(parse("1E3"), parse("1k"), "an exponent");
        assert_eq!((parse("-1"), parse("1x"), parse(""), parse("."), parse("1e999")), (Some(-1000), None, None, None, None));
    }
}
