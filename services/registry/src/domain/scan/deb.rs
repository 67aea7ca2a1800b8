//! Order of Debian versions (Debian Policy 5.6.12, deb-version(7)).

use std::cmp::Ordering;

/// Compares `[epoch:]upstream[-revision]`. Total: any two texts have an order.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (split(a), split(b));
    compare_number(a.0, b.0).then_with(|| compare_part(a.1, b.1)).then_with(|| compare_part(a.2, b.2))
}

/// Epoch, upstream version, revision; an absent epoch or revision counts as 0.
fn split(version: &str) -> (&str, &str, &str) {
    let version = version.trim();
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
    (epoch, upstream, revision)
}

/// Alternating runs of non-digits (by the modified alphabet) and digits (by value).
fn compare_part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = run(a, false);
        let (text_b, rest_b) = run(b, false);
        let order = compare_text(text_a, text_b);
        if order != Ordering::Equal {
            return order;
        }
        let (digits_a, rest_a) = run(rest_a, true);
        let (digits_b, rest_b) = run(rest_b, true);
        let order = compare_digits(digits_a, digits_b);
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

fn run(text: &[u8], digits: bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|b| b.is_ascii_digit() != digits).unwrap_or(text.len()))
}

fn compare_text(a: &[u8], b: &[u8]) -> Ordering {
    (0..a.len().max(b.len())).map(|i| weight(a.get(i)).cmp(&weight(b.get(i)))).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
}

/// `~` before the end of the part, the end before letters, letters before everything else.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(b) if b.is_ascii_alphabetic() => i32::from(*b),
        Some(b) => i32::from(*b) + 256,
    }
}

fn compare_number(a: &str, b: &str) -> Ordering {
    compare_digits(a.as_bytes(), b.as_bytes())
}

/// By value without a limit on length: leading zeros away, then longer is larger.
fn compare_digits(a: &[u8], b: &[u8]) -> Ordering {
    let strip = |d: &[u8]| -> usize { d.iter().take_while(|b| **b == b'0').count() };
    let (a, b) = (&a[strip(a)..], &b[strip(b)..]);
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_order_as_policy_says() {
        // The example of Debian Policy 5.6.12: sorted from earliest to latest.
        for pair in ["~~", "~~a", "~", "", "a"].windows(2) {
            assert_eq!(compare(&format!("1{}", pair[0]), &format!("1{}", pair[1])), Ordering::Less, "{pair:?}");
        }
        for (smaller, larger) in [
            ("1.0~rc1-1", "1.0-1"),
            ("1.0", "1.0-1"),
            ("1.0-1", "1.0-1.1"),
            ("1.0-1", "1.0-2"),
            ("1.9", "1.10"),
            ("9.9", "1:0.1"),
            ("1.2.3", "1.2.3a"),
            ("1.2.3a", "1.2.3+b"),
            ("1.2.3-1~deb12u1", "1.2.3-1"),
            ("1.2.3-1", "1.2.3-1+b1"),
            ("2.36-9+deb12u4", "2.36-9+deb12u10"),
            ("1.1.1n-0+deb11u3", "1.1.1w-0+deb11u1"),
            ("7.88.1-10", "7.88.1-10+deb12u5"),
            ("0.99999999999999999999999", "0.100000000000000000000000"),
            ("6.0-4.el6.5", "6.0-5.el6.1"),
            ("1.0-a-b", "1.0-a-c"),
        ] {
            assert_eq!(compare(smaller, larger), Ordering::Less, "{smaller} < {larger}");
            assert_eq!(compare(larger, smaller), Ordering::Greater, "{larger} > {smaller}");
        }
        for (a, b) in [("1.0", "1.00"), ("0:1.0", "1.0"), ("1.0-0", "1.0"), ("1.01", "1.1")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} = {b}");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in "[0-9a-z.+~:-]{0,12}", b in "[0-9a-z.+~:-]{0,12}", c in "[0-9a-z.+~:-]{0,12}") {
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le());
            }
        }

        #[test]
        fn no_text_makes_it_panic(a in "\\PC{0,30}", b in "\\PC{0,30}") {
            let _ = compare(&a, &b);
        }
    }
}
