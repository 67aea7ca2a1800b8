//! Order of Maven versions (maven.apache.org/pom.html, "Version Order Specification").

use std::cmp::Ordering;

use super::by_value;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Number(String),
    Word(String),
}

/// A token and whether a hyphen stood before it.
type Item = (bool, Token);

pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (read(a), read(b));
    for i in 0..a.len().max(b.len()) {
        // The shorter one is padded with tokens of no meaning, with the other's separator.
        let order = match (a.get(i), b.get(i)) {
            (Some(x), Some(y)) => items(x, y),
            (Some(x), None) => items(x, &padding(x)),
            (None, Some(y)) => items(&padding(y), y),
            (None, None) => Ordering::Equal,
        };
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn padding((hyphen, token): &Item) -> Item {
    let empty = match token {
        Token::Number(_) => Token::Number(String::new()),
        Token::Word(_) => Token::Word(String::new()),
    };
    (*hyphen, empty)
}

/// Same separator: numbers after words. Otherwise: `.word` = `-word` < `-number` < `.number`.
fn items((hyphen_a, a): &Item, (hyphen_b, b): &Item) -> Ordering {
    let rank = |hyphen: bool, token: &Token| match token {
        Token::Word(_) => 0,
        Token::Number(_) if hyphen => 1,
        Token::Number(_) => 2,
    };
    rank(*hyphen_a, a).cmp(&rank(*hyphen_b, b)).then_with(|| match (a, b) {
        (Token::Number(x), Token::Number(y)) => by_value(x, y),
        (Token::Word(x), Token::Word(y)) => qualifier(x).cmp(&qualifier(y)),
        _ => Ordering::Equal,
    })
}

fn qualifier(word: &str) -> (u8, &str) {
    let known = ["alpha", "beta", "milestone", "rc", "snapshot", "", "sp"];
    match known.iter().position(|k| *k == word) {
        Some(at) => (u8::try_from(at).unwrap_or(0), ""),
        None => (7, word),
    }
}

fn read(text: &str) -> Vec<Item> {
    let text = text.trim().to_ascii_lowercase();
    let mut items: Vec<Item> = Vec::new();
    let mut hyphen = false;
    let mut token = String::new();
    let mut after_token = false;
    for c in text.chars() {
        if matches!(c, '.' | '-' | '_') {
            push(&mut items, hyphen, &mut token, after_token, false);
            (hyphen, after_token) = (c != '.', true);
            continue;
        }
        let changes = token.chars().last().is_some_and(|l| l.is_ascii_digit() != c.is_ascii_digit());
        if changes {
            // A change between letters and digits counts as a hyphen.
            push(&mut items, hyphen, &mut token, true, c.is_ascii_digit());
            hyphen = true;
        }
        token.push(c);
        after_token = true;
    }
    let counts = !items.is_empty() || after_token;
    push(&mut items, hyphen, &mut token, counts, false);
    trim(items)
}

fn push(items: &mut Vec<Item>, hyphen: bool, token: &mut String, counts: bool, digit_follows: bool) {
    if token.is_empty() {
        if counts {
            items.push((hyphen, Token::Number("0".into())));
        }
        return;
    }
    let text = std::mem::take(token);
    let token = if text.starts_with(|c: char| c.is_ascii_digit()) {
        Token::Number(text)
    } else {
        Token::Word(match text.as_str() {
            "a" if digit_follows => "alpha".into(),
            "b" if digit_follows => "beta".into(),
            "m" if digit_follows => "milestone".into(),
            "cr" => "rc".into(),
            "ga" | "final" | "release" => String::new(),
            _ => text,
        })
    };
    items.push((hyphen, token));
}

/// Takes away what means nothing at the end, before each hyphen and before each word, which is as good as behind one: 0, "", final, ga.
fn trim(items: Vec<Item>) -> Vec<Item> {
    let empty = |token: &Token| match token {
        Token::Number(n) => n.bytes().all(|b| b == b'0'),
        Token::Word(w) => w.is_empty(),
    };
    let mut kept: Vec<Item> = Vec::new();
    for item in items {
        if item.0 || matches!(item.1, Token::Word(_)) {
            while kept.last().is_some_and(|(_, t)| empty(t)) {
                kept.pop();
            }
        }
        kept.push(item);
    }
    while kept.last().is_some_and(|(_, t)| empty(t)) {
        kept.pop();
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::check::{ascending, equal};
    use super::*;

    #[test]
    fn versions_order_as_maven_does() {
        // apache/maven, ComparableVersionTest.
        ascending(
            compare,
            &[
                "1-alpha2snapshot",
                "1-alpha2",
                "1-alpha-123",
                "1-beta-2",
                "1-beta123",
                "1-m2",
                "1-m11",
                "1-rc",
                "1-rc2",
                "1-rc123",
                "1-SNAPSHOT",
                "1",
                "1-sp",
                "1-sp2",
                "1-sp123",
                "1-abc",
                "1-def",
                "1-pom-1",
                "1-1-snapshot",
                "1-1",
                "1-2",
                "1-123",
            ],
        );
        ascending(
            compare,
            &[
                "2.0", "2.0.a", "2-1", "2.0.2", "2.0.123", "2.1.0", "2.1-a", "2.1b", "2.1-c", "2.1-1", "2.1.0.1", "2.2", "2.123", "11.a2", "11.a11", "11.b2",
                "11.b11", "11.m2", "11.m11", "11", "11.a", "11b", "11c", "11m",
            ],
        );
        ascending(compare, &["6.1.0rc3", "6.1.0", "6.1H.5-beta"]);
        ascending(compare, &["1-0.alpha", "1-0.beta", "1"]);
        // A word behind dots is as good as one behind a hyphen.
        for word in ["abc", "alpha", "a", "beta", "b", "def", "milestone", "m", "RC"] {
            assert_eq!(compare(&format!("1.0.0.{word}1"), &format!("1.0.0-{word}2")), Ordering::Less, "{word}");
            for more in ["2.0.", "2.0.0."] {
                assert_eq!(compare(&format!("2-{word}"), &format!("{more}{word}")), Ordering::Equal, "{more}{word}");
            }
        }
        for (a, b) in [
            ("1", "2"),
            ("1.5", "2"),
            ("1", "2.5"),
            ("1.0", "1.1"),
            ("1.1", "1.2"),
            ("1.0.0", "1.1"),
            ("1.0.1", "1.1"),
            ("1.1", "1.2.0"),
            ("1.0-alpha-1", "1.0"),
            ("1.0-alpha-1", "1.0-alpha-2"),
            ("1.0-alpha-1", "1.0-beta-1"),
            ("1.0-beta-1", "1.0-SNAPSHOT"),
            ("1.0-SNAPSHOT", "1.0"),
            ("1.0-alpha-1-SNAPSHOT", "1.0-alpha-1"),
            ("1.0", "1.0-1"),
            ("1.0-1", "1.0-2"),
            ("1.0.0", "1.0-1"),
            ("2.0-1", "2.0.1"),
            ("2.0.1-klm", "2.0.1-lmn"),
            ("2.0.1", "2.0.1-xyz"),
            ("2.0.1-xyz-1", "2.0.1-1-xyz"),
            ("2.14.0", "2.15.0"),
            ("2.9.10.7", "2.9.10.8"),
        ] {
            assert_eq!(compare(a, b), Ordering::Less, "{a} < {b}");
        }
        equal(
            compare,
            &[
                ("1", "1.0"),
                ("1", "1.0.0"),
                ("1.0", "1.0.0"),
                ("1", "1-0"),
                ("1", "1.0-0"),
                ("1ga", "1"),
                ("1release", "1"),
                ("1final", "1"),
                ("1cr", "1rc"),
                ("1a1", "1-alpha-1"),
                ("1b2", "1-beta-2"),
                ("1m3", "1-milestone-3"),
                ("1X", "1x"),
                ("1GA", "1"),
            ],
        );
    }

    proptest! {
        #[test]
        fn an_order_reverses_and_nothing_panics(a in "\\PC{0,20}", b in "[0-9a-z.+_-]{0,16}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&b, &b), Ordering::Equal);
        }
    }
}
