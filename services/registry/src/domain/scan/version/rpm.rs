//! Order of RPM versions `[epoch:]version[-release]` (rpm-version(7), rpmvercmp).

use std::cmp::Ordering;

use super::by_value;

pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (split(a), split(b));
    by_value(a.0, b.0).then_with(|| part(a.1, b.1)).then_with(|| match (a.2, b.2) {
        // A bound without release is about every release of the version.
        (Some(x), Some(y)) => part(x, y),
        _ => Ordering::Equal,
    })
}

fn split(text: &str) -> (&str, &str, Option<&str>) {
    let text = text.trim();
    let (epoch, rest) = text.split_once(':').filter(|(e, _)| e.bytes().all(|b| b.is_ascii_digit())).unwrap_or(("0", text));
    match rest.rsplit_once('-') {
        Some((version, release)) => (epoch, version, Some(release)),
        None => (epoch, rest, None),
    }
}

/// Segment by segment; `~` before everything, `^` after the end but before anything else.
fn part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    let noise = |c: char| !c.is_ascii_alphanumeric() && c != '~' && c != '^';
    loop {
        a = a.trim_start_matches(noise);
        b = b.trim_start_matches(noise);
        match (a.strip_prefix('~'), b.strip_prefix('~')) {
            (Some(x), Some(y)) => {
                (a, b) = (x, y);
                continue;
            }
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            (None, None) => {}
        }
        match (a.strip_prefix('^'), b.strip_prefix('^')) {
            (Some(x), Some(y)) => {
                (a, b) = (x, y);
                continue;
            }
            (Some(_), None) => return if b.is_empty() { Ordering::Greater } else { Ordering::Less },
            (None, Some(_)) => return if a.is_empty() { Ordering::Less } else { Ordering::Greater },
            (None, None) => {}
        }
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        let digits = a.starts_with(|c: char| c.is_ascii_digit());
        let (x, rest_a) = segment(a, digits);
        let (y, rest_b) = segment(b, digits);
        if y.is_empty() {
            // A number is newer than a word.
            return if digits { Ordering::Greater } else { Ordering::Less };
        }
        let order = if digits { by_value(x, y) } else { x.cmp(y) };
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

fn segment(text: &str, digits: bool) -> (&str, &str) {
    let fits = |c: char| if digits { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
    text.split_at(text.find(|c| !fits(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::check::equal;
    use super::*;

    /// rpm's own tests/rpmvercmp.at.
    #[test]
    fn versions_order_as_rpm_does() {
        for (a, b, order) in [
            ("1.0", "1.0", 0),
            ("1.0", "2.0", -1),
            ("2.0.1", "2.0.1", 0),
            ("2.0", "2.0.1", -1),
            ("2.0.1a", "2.0.1", 1),
            ("5.5p1", "5.5p2", -1),
            ("5.5p10", "5.5p1", 1),
            ("10xyz", "10.1xyz", -1),
            ("xyz10", "xyz10.1", -1),
            ("xyz.4", "8", -1),
            ("xyz.4", "2", -1),
            ("5.5p2", "5.6p1", -1),
            ("5.6p1", "6.5p1", -1),
            ("6.0.rc1", "6.0", 1),
            ("10b2", "10a1", 1),
            ("7.2a", "7.2", 1),
            ("1.0aa", "1.0a", 1),
            ("10.0001", "10.1", 0),
            ("10.0001", "10.0039", -1),
            ("4.999.9", "5.0", -1),
            ("20101121", "20101122", -1),
            ("2_0", "2.0", 0),
            ("a", "a+", 0),
            ("+a", "_a", 0),
            ("1.0~rc1", "1.0", -1),
            ("1.0~rc1", "1.0~rc2", -1),
            ("1.0~rc1~git123", "1.0~rc1", -1),
            ("1.0^", "1.0", 1),
            ("1.0^git1", "1.0", 1),
            ("1.0^git1", "1.0^git2", -1),
            ("1.0^git1", "1.01", -1),
            ("1.0^20160101", "1.0.1", -1),
            ("1.0^20160101^git1", "1.0^20160102", -1),
            ("1.0~rc1^git1", "1.0~rc1", 1),
            ("1.0^git1~pre", "1.0^git1", -1),
        ] {
            assert_eq!(compare(a, b), order.cmp(&0), "{a} {b}");
            assert_eq!(compare(b, a), 0.cmp(&order), "{b} {a}");
        }
        assert_eq!(compare("1:1.0-1", "2.0-1"), Ordering::Greater);
        assert_eq!(compare("1.1.1k-9.el8_7", "1.1.1k-12.el8_9"), Ordering::Less);
        equal(compare, &[("0:1.0-1", "1.0-1"), ("1.0", "1.0-5")]);
    }

    proptest! {
        #[test]
        fn an_order_reverses_and_nothing_panics(a in "\\PC{0,20}", b in "[0-9a-z.~^:-]{0,16}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&b, &b), Ordering::Equal);
        }
    }
}
