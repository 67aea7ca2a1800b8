//! Order of semantic versions (semver.org 2.0.0, section 11), as npm, Cargo and Go use them; Go's `v` in front and its
//! pseudo-versions (go.dev/ref/mod#pseudo-versions) are in the same order.

use std::cmp::Ordering;

use super::by_value;

pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (read(a), read(b));
    for i in 0..a.0.len().max(b.0.len()) {
        let order = number(a.0.get(i).copied().unwrap_or("0"), b.0.get(i).copied().unwrap_or("0"));
        if order.is_ne() {
            return order;
        }
    }
    match (a.1, b.1) {
        (None, None) => Ordering::Equal,
        // A pre-release comes before its release.
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (Some(x), Some(y)) => identifiers(x, y),
    }
}

/// Numbers and pre-release; build metadata says nothing about the order.
fn read(text: &str) -> (Vec<&str>, Option<&str>) {
    let text = text.trim();
    let text = text.strip_prefix("go").or_else(|| text.strip_prefix('v')).unwrap_or(text);
    let text = text.split('+').next().unwrap_or(text);
    let (core, pre) = match text.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (text, None),
    };
    (core.split('.').collect(), pre)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn number(a: &str, b: &str) -> Ordering {
    match (is_number(a), is_number(b)) {
        (true, true) => by_value(a, b),
        // Go's toolchain writes 1.22rc1: the words sort before the plain number's end.
        (true, false) => by_value(a, digits(b)).then(Ordering::Greater),
        (false, true) => by_value(digits(a), b).then(Ordering::Less),
        (false, false) => by_value(digits(a), digits(b)).then_with(|| words(&a[digits(a).len()..], &b[digits(b).len()..])),
    }
}

/// `rc2` before `rc10`.
fn words(a: &str, b: &str) -> Ordering {
    let at = |text: &str| text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let ((word_a, rest_a), (word_b, rest_b)) = (a.split_at(at(a)), b.split_at(at(b)));
    word_a.cmp(word_b).then_with(|| by_value(digits(rest_a), digits(rest_b))).then_with(|| rest_a.cmp(rest_b))
}

fn digits(text: &str) -> &str {
    &text[..text.bytes().take_while(u8::is_ascii_digit).count()]
}

fn identifiers(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(x), Some(y)) => match (is_number(x), is_number(y)) {
                (true, true) => by_value(x, y),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => x.cmp(y),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::check::{ascending, equal};
    use super::*;

    #[test]
    fn versions_order_as_the_specification_says() {
        // semver.org 2.0.0, section 11.
        ascending(compare, &["1.0.0", "2.0.0", "2.1.0", "2.1.1"]);
        ascending(compare, &["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0"]);
        equal(compare, &[("1.0.0+build.1", "1.0.0+build.2"), ("v1.2.3", "1.2.3"), ("1.2", "1.2.0")]);
        assert_eq!(compare("1.0.0-99999999999999999999999", "1.0.0-100000000000000000000000"), Ordering::Less);
    }

    #[test]
    fn pseudo_versions_of_go_lie_between_the_releases() {
        ascending(
            compare,
            &[
                "v0.0.0-20191109021931-daa7c04131f5",
                "v0.0.0-20200101000000-000000000000",
                "v1.2.2",
                "v1.2.3-0.20191109021931-daa7c04131f5",
                "v1.2.3-pre",
                "v1.2.3-pre.0.20191109021931-daa7c04131f5",
                "v1.2.3",
            ],
        );
        ascending(compare, &["go1.21.9", "go1.22beta1", "go1.22rc1", "go1.22rc2", "go1.22rc10", "go1.22", "go1.22.1"]);
        equal(compare, &[("v2.0.0+incompatible", "v2.0.0")]);
    }

    proptest! {
        #[test]
        fn an_order_reverses_and_nothing_panics(a in "\\PC{0,20}", b in "[0-9a-z.+-]{0,16}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&b, &b), Ordering::Equal);
        }
    }
}
