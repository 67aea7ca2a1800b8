//! Order of Python versions (PEP 440, "Summary of permitted suffixes and relative ordering").

use std::cmp::Ordering;

use super::by_value;

pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Version::read(a), Version::read(b));
    by_value(&a.epoch, &b.epoch)
        .then_with(|| release(&a.release, &b.release))
        .then_with(|| a.phase().cmp_with(&b.phase()))
        .then_with(|| option(a.post.as_deref(), b.post.as_deref()))
        // Without a development number comes after all with one.
        .then_with(|| match (&a.dev, &b.dev) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(x), Some(y)) => by_value(x, y),
        })
        .then_with(|| local(&a.local, &b.local))
        .then_with(|| a.rest.cmp(&b.rest))
}

#[derive(Default)]
struct Version {
    epoch: String,
    release: Vec<String>,
    /// `a`, `b` or `rc`, and its number.
    pre: Option<(u8, String)>,
    post: Option<String>,
    dev: Option<String>,
    local: Vec<String>,
    /// What is outside the grammar still gets an order.
    rest: String,
}

/// Before, in, or after the pre-releases.
struct Phase<'a>(i8, u8, &'a str);

impl Phase<'_> {
    fn cmp_with(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0).then(self.1.cmp(&other.1)).then_with(|| by_value(self.2, other.2))
    }
}

impl Version {
    fn phase(&self) -> Phase<'_> {
        match (&self.pre, &self.post, &self.dev) {
            (Some((kind, number)), ..) => Phase(0, *kind, number),
            // 1.0.dev1 comes before 1.0a1.
            (None, None, Some(_)) => Phase(-1, 0, ""),
            _ => Phase(1, 0, ""),
        }
    }

    fn read(text: &str) -> Self {
        let text = text.trim().to_ascii_lowercase();
        let text = text.strip_prefix('v').unwrap_or(&text);
        let (public, local) = text.split_once('+').unwrap_or((text, ""));
        let mut version = Self { local: local.split(['.', '-', '_']).filter(|p| !p.is_empty()).map(str::to_owned).collect(), ..Self::default() };
        let mut rest = match public.split_once('!') {
            Some((epoch, rest)) => {
                version.epoch = epoch.to_owned();
                rest
            }
            None => public,
        };
        loop {
            let digits = take_digits(&mut rest);
            if digits.is_empty() {
                break;
            }
            version.release.push(digits);
            match rest.strip_prefix('.') {
                Some(next) if next.starts_with(|c: char| c.is_ascii_digit()) => rest = next,
                _ => break,
            }
        }
        loop {
            let trimmed = rest.trim_start_matches(['.', '-', '_']);
            if trimmed.is_empty() {
                break;
            }
            // `1.0-1` is a post-release, written short.
            if rest.starts_with('-') && trimmed.starts_with(|c: char| c.is_ascii_digit()) && version.post.is_none() {
                rest = trimmed;
                version.post = Some(take_digits(&mut rest));
                continue;
            }
            const WORDS: [(&str, u8); 11] =
                [("alpha", 0), ("beta", 1), ("preview", 2), ("pre", 2), ("rc", 2), ("post", 10), ("rev", 10), ("dev", 11), ("a", 0), ("b", 1), ("c", 2)];
            let word = WORDS.iter().find_map(|(word, kind)| Some((*kind, trimmed.strip_prefix(word)?))).or_else(|| Some((10, trimmed.strip_prefix('r')?)));
            let Some((kind, after)) = word else {
                version.rest = trimmed.to_owned();
                break;
            };
            rest = after;
            if let Some(next) = rest.strip_prefix(['.', '-', '_']).filter(|n| n.starts_with(|c: char| c.is_ascii_digit())) {
                rest = next;
            }
            let number = take_digits(&mut rest);
            match kind {
                10 => version.post = Some(number),
                11 => version.dev = Some(number),
                kind => version.pre = Some((kind, number)),
            }
        }
        version
    }
}

fn take_digits(text: &mut &str) -> String {
    let n = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(n);
    *text = rest;
    digits.to_owned()
}

/// Missing numbers count as zero.
fn release(a: &[String], b: &[String]) -> Ordering {
    let at = |v: &[String], i: usize| v.get(i).cloned().unwrap_or_default();
    (0..a.len().max(b.len())).map(|i| by_value(&at(a, i), &at(b, i))).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
}

fn option(a: Option<&str>, b: Option<&str>) -> Ordering {
    match (a, b) {
        (Some(x), Some(y)) => by_value(x, y),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// Numbers after words; longer after shorter.
fn local(a: &[String], b: &[String]) -> Ordering {
    let number = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    for (x, y) in a.iter().zip(b) {
        let order = match (number(x), number(y)) {
            (true, true) => by_value(x, y),
            (false, false) => x.cmp(y),
            (x, y) => x.cmp(&y),
        };
        if order.is_ne() {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::check::{ascending, equal};
    use super::*;

    #[test]
    fn versions_order_as_pep_440_and_packaging_do() {
        // pypa/packaging, tests/test_version.py, in this order.
        ascending(
            compare,
            &[
                "1.0.dev456",
                "1.0a1",
                "1.0a2.dev456",
                "1.0a12.dev456",
                "1.0a12",
                "1.0b1.dev456",
                "1.0b2",
                "1.0b2.post345.dev456",
                "1.0b2.post345",
                "1.0rc1.dev456",
                "1.0rc1",
                "1.0",
                "1.0+abc.5",
                "1.0+abc.7",
                "1.0+5",
                "1.0.post456.dev34",
                "1.0.post456",
                "1.1.dev1",
                "1.2+123abc",
                "1.2+123abc456",
                "1.2+abc",
                "1.2+abc123",
                "1.2+abc123def",
                "1.2+1234.abc",
                "1.2+123456",
                "1.2.r32+123456",
                "1.2.rev33+123456",
                "1!1.0.dev456",
                "1!1.0a1",
                "1!1.0",
            ],
        );
        equal(compare, &[("1.0", "1.0.0"), ("1.0-alpha1", "1.0a1"), ("1.0c1", "1.0rc1"), ("v1.0", "1.0"), ("1.0-1", "1.0.post1"), ("1.0.RC1", "1.0rc1")]);
    }

    proptest! {
        #[test]
        fn an_order_reverses_and_nothing_panics(a in "\\PC{0,20}", b in "[0-9a-z.+!_-]{0,16}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&b, &b), Ordering::Equal);
        }
    }
}
