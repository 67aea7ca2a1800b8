//! Kubernetes quantities: `100m`, `1.5Gi`, `2e3`, `128M`. Exact, in thousandths.

/// Thousandths of the quantity, rounded up; `None` if it is none or does not fit.
pub fn thousandths(text: &str) -> Option<u128> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && part.is_empty()) || whole.len() > 20 || part.len() > 12 || part.contains('.') {
        return None;
    }
    let digits: u128 = format!("{whole}{part}").parse().ok()?;
    let scale = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let (up, down): (u128, u128) = match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_u128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    };
    let above = digits.checked_mul(up)?.checked_mul(1000)?;
    Some(above.div_ceil(scale.checked_mul(down)?))
}

/// Whole units, as for bytes.
pub fn whole(text: &str) -> Option<u64> {
    let units = u64::try_from(thousandths(text)?.div_ceil(1000)).ok()?;
    (units < 1 << 62).then_some(units)
}

/// Thousandths, as of a core.
pub fn millis(text: &str) -> Option<u32> {
    u32::try_from(thousandths(text)?).ok().filter(|m| *m <= 4_000_000_000)
}

/// A size as a quantity.
pub fn of_bytes(bytes: u64) -> String {
    for (unit, size) in [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)] {
        if bytes > 0 && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    bytes.to_string()
}

pub fn of_millis(millis: u32) -> String {
    if millis.is_multiple_of(1000) { (millis / 1000).to_string() } else { format!("{millis}m") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantities_are_read_exactly() {
        for (text, bytes) in [
            ("1Gi", 1 << 30),
            ("1G", 1_000_000_000),
            ("1.5Mi", 3 << 19),
            ("128974848", 128_974_848),
            ("129e6", 129_000_000),
            ("1E3", 1000),
            ("100m", 1),
            ("0", 0),
        ] {
            assert_eq!(whole(text), Some(bytes), "{text}");
        }
        for (text, cpu) in [("100m", 100), ("0.5", 500), ("2", 2000), ("1.0001", 1001), (".5", 500), ("1k", 1_000_000)] {
            assert_eq!(millis(text), Some(cpu), "{text}");
        }
        for bad in ["", "m", "1gi", "1 Gi", "-1", "1e", "1e99", "0x10", "1.2.3", "99999999999999999999999", "9999999Ei", "NaN"] {
            assert_eq!(whole(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn sizes_survive_writing(bytes in 0_u64..1 << 50, cpu in 0_u32..1_000_000) {
            prop_assert_eq!(whole(&of_bytes(bytes)), Some(bytes));
            prop_assert_eq!(millis(&of_millis(cpu)), Some(cpu));
        }

        #[test]
        fn no_text_panics(text in "[0-9.eEkKmMiGn+-]{0,30}") {
            let _ = (whole(&text), millis(&text));
        }
    }
}
