//! Times and sizes as people write them in a pipeline file.

/// `90s`, `30m`, `2h` → seconds.
pub fn seconds(text: &str) -> Option<u64> {
    let (number, factor) = match text.as_bytes().last()? {
        b's' => (&text[..text.len() - 1], 1),
        b'm' => (&text[..text.len() - 1], 60),
        b'h' => (&text[..text.len() - 1], 3600),
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// `512Mi`, `2Gi` → bytes.
pub fn bytes(text: &str) -> Option<u64> {
    let (number, shift) = if let Some(n) = text.strip_suffix("Mi") {
        (n, 20)
    } else if let Some(n) = text.strip_suffix("Gi") {
        (n, 30)
    } else {
        return None;
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// `500m` or whole cores `2` → thousandths of a core.
pub fn cpu_millis(text: &str) -> Option<u32> {
    match text.strip_suffix('m') {
        Some(n) => n.parse().ok(),
        None => text.parse::<u32>().ok()?.checked_mul(1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_nonsense_is_not() {
        assert_eq!((seconds("90s"), seconds("30m"), seconds("2h")), (Some(90), Some(1800), Some(7200)));
        assert_eq!((bytes("512Mi"), bytes("2Gi")), (Some(512 << 20), Some(2 << 30)));
        assert_eq!((cpu_millis("500m"), cpu_millis("2")), (Some(500), Some(2000)));
        for bad in ["", "s", "30", "-1s", "1d", "99999999999999999999h", "µ"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
        assert_eq!((bytes("5"), bytes("18446744073709551615Gi"), cpu_millis("4294967295")), (None, None, None));
    }
}
