//! The order of versions, by each ecosystem's own rules. All are total: any two texts have an order, nothing panics.

pub mod maven;
pub mod pep440;
pub mod rpm;
pub mod semver;

use std::cmp::Ordering;

use super::{apk, deb};

/// How packages of a kind (a package URL's type) compare.
pub fn order(kind: &str) -> fn(&str, &str) -> Ordering {
    match kind {
        "apk" => apk::compare,
        "rpm" => rpm::compare,
        "pypi" => pep440::compare,
        "maven" => maven::compare,
        "npm" | "cargo" | "golang" => semver::compare,
        _ => deb::compare,
    }
}

/// Runs of digits by value without a limit on length: leading zeros away, then longer is larger.
pub(super) fn by_value(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
pub(super) mod check {
    use std::cmp::Ordering;

    /// Each version is less than the next.
    pub fn ascending(compare: fn(&str, &str) -> Ordering, versions: &[&str]) {
        for (i, a) in versions.iter().enumerate() {
            for b in &versions[i + 1..] {
                assert_eq!(compare(a, b), Ordering::Less, "{a} < {b}");
                assert_eq!(compare(b, a), Ordering::Greater, "{b} > {a}");
            }
        }
    }

    pub fn equal(compare: fn(&str, &str) -> Ordering, pairs: &[(&str, &str)]) {
        for (a, b) in pairs {
            assert_eq!((compare(a, b), compare(b, a)), (Ordering::Equal, Ordering::Equal), "{a} = {b}");
        }
    }
}
