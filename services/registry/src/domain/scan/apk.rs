//! Order of Alpine versions: `digits{.digits}[letter]{_suffix[digits]}[~hash][-r<digits>]` (apk-tools, version.c).

use std::cmp::Ordering;

/// Compares two versions. Texts outside the grammar still get an order (the rest as text), so that no match is lost to a panic.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Version::read(a.trim()), Version::read(b.trim()));
    numbers(&a.numbers, &b.numbers)
        .then_with(|| a.letter.cmp(&b.letter))
        .then_with(|| suffixes(&a.suffixes, &b.suffixes))
        .then_with(|| a.rest.cmp(b.rest))
        .then_with(|| value(a.release, b.release))
}

struct Version<'a> {
    numbers: Vec<&'a str>,
    letter: Option<u8>,
    suffixes: Vec<(i8, &'a str)>,
    rest: &'a str,
    release: &'a str,
}

impl<'a> Version<'a> {
    fn read(text: &'a str) -> Self {
        let (text, release) = match text.rsplit_once("-r") {
            Some((front, release)) if !release.is_empty() && release.bytes().all(|b| b.is_ascii_digit()) => (front, release),
            _ => (text, "0"),
        };
        let text = text.split('~').next().unwrap_or(text);
        let mut rest = text;
        let mut found = Vec::new();
        loop {
            let digits = leading_digits(rest);
            if digits.is_empty() {
                break;
            }
            found.push(digits);
            rest = &rest[digits.len()..];
            match rest.strip_prefix('.') {
                Some(next) if next.starts_with(|c: char| c.is_ascii_digit()) => rest = next,
                _ => break,
            }
        }
        let letter = rest.bytes().next().filter(u8::is_ascii_lowercase);
        if letter.is_some() {
            rest = &rest[1..];
        }
        let mut suffixes = Vec::new();
        while let Some((rank, after)) = rest.strip_prefix('_').and_then(suffix) {
            let digits = leading_digits(after);
            suffixes.push((rank, digits));
            rest = &after[digits.len()..];
        }
        Self { numbers: found, letter, suffixes, rest, release }
    }
}

/// Before the release (negative) or after it.
const SUFFIXES: [(&str, i8); 9] = [("alpha", -4), ("beta", -3), ("pre", -2), ("rc", -1), ("cvs", 1), ("svn", 2), ("git", 3), ("hg", 4), ("p", 5)];

fn suffix(text: &str) -> Option<(i8, &str)> {
    SUFFIXES.iter().find_map(|(word, rank)| Some((*rank, text.strip_prefix(word)?)))
}

fn leading_digits(text: &str) -> &str {
    &text[..text.bytes().take_while(u8::is_ascii_digit).count()]
}

/// The first number by value; later ones with a leading zero as fractions, as apk does. More numbers are larger.
fn numbers(a: &[&str], b: &[&str]) -> Ordering {
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        let fraction = i > 0 && (x.starts_with('0') || y.starts_with('0'));
        let order = if fraction { x.cmp(y) } else { value(x, y) };
        if order.is_ne() {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

fn suffixes(a: &[(i8, &str)], b: &[(i8, &str)]) -> Ordering {
    for i in 0..a.len().max(b.len()) {
        // No suffix ranks 0: after `_rc`, before `_p`.
        let (x, y) = (a.get(i).copied().unwrap_or((0, "0")), b.get(i).copied().unwrap_or((0, "0")));
        let order = x.0.cmp(&y.0).then_with(|| value(x.1, y.1));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn value(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_order_as_apk_tools_does() {
        // From apk-tools' own test/version.data.
        for (smaller, larger) in [
            ("2.34", "2.34.1"),
            ("1.2.3", "1.2.4"),
            ("0.1.0_alpha", "0.1.0"),
            ("0.1.0_alpha1", "0.1.0_alpha2"),
            ("0.1.0_alpha", "0.1.0_beta"),
            ("1.0_rc2", "1.0"),
            ("1.0", "1.0_p1"),
            ("1.0_p9", "1.0_p10"),
            ("1.0", "1.0a"),
            ("1.0-r1", "1.0-r2"),
            ("1.0-r9", "1.0-r10"),
            ("1.0", "1.0-r1"),
            ("6.0_pre1", "6.0"),
            ("0.12", "0.12.1"),
            ("1.1.1n-r0", "1.1.1q-r0"),
            ("1.36.1-r2", "1.36.1-r15"),
        ] {
            assert_eq!(compare(smaller, larger), Ordering::Less, "{smaller} < {larger}");
            assert_eq!(compare(larger, smaller), Ordering::Greater, "{larger} > {smaller}");
        }
        assert_eq!(compare("1.0-r0", "1.0"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn an_order_reverses_and_nothing_panics(a in "\\PC{0,20}", b in "[0-9a-z._~r-]{0,20}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
        }
    }
}
