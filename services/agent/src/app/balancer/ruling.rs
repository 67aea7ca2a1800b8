//! The scheduler's rules for routes, read once: what goes into HAProxy's configuration is nothing but what it should be there. A rule that is
//! more is left out, and the others are served.

use std::collections::BTreeMap;

use gantry_contract::proto::scheduler as wire;
use gantry_kernel::pattern;

use crate::domain::matching::{Match, PathKind, Rule, Valued};

/// HAProxy refuses a line of some thousand characters.
const LONGEST: usize = 1024;
/// A line has at most 64 words.
const MOST_VALUES: usize = 32;
const MOST_HEADERS: usize = 64;

pub(super) fn rule(said: &wire::RouteRule) -> Option<Rule> {
    let read = read(said);
    if read.is_none() {
        // Asked in each round; whoever deploys it is told by the scheduler.
        tracing::debug!(host = said.host, path = said.path, "a route is left out: it is nothing that the balancer could match");
    }
    read
}

fn read(said: &wire::RouteRule) -> Option<Rule> {
    let kind = match said.path_kind.as_str() {
        "" | "prefix" => PathKind::Prefix,
        "exact" => PathKind::Exact,
        "pattern" => PathKind::Pattern,
        _ => return None,
    };
    let path = match kind {
        PathKind::Pattern => said.path.clone(),
        PathKind::Exact => rooted(&said.path),
        PathKind::Prefix => rooted(&said.path).trim_end_matches('/').to_owned(),
    };
    let good = match kind {
        PathKind::Pattern => pattern::fault(&path).is_none(),
        PathKind::Exact | PathKind::Prefix => path.len() <= LONGEST && path.bytes().all(|b| b.is_ascii_graphic()),
    };
    // With a dash before it, it would be an option.
    let method = said.method.len() <= 32 && said.method.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-') && !said.method.starts_with('-');
    let few = said.headers.len() + said.queries.len() <= MOST_VALUES && said.set_headers.len() <= MOST_HEADERS;
    if !good || !method || !few || !is_host(&said.host) || !text(&said.rewrite) {
        return None;
    }
    let asked = Match {
        host: said.host.to_ascii_lowercase(),
        kind,
        path,
        method: said.method.clone(),
        headers: values(&said.headers)?,
        queries: values(&said.queries)?,
    };
    let rewrite = if kind == PathKind::Pattern { with_groups(&said.rewrite) } else { said.rewrite.clone() };
    let set = said.set_headers.iter().map(|h| (token(&h.name) && text(&h.value)).then(|| (h.name.clone(), h.value.clone())));
    let set_headers: BTreeMap<String, String> = set.collect::<Option<_>>()?;
    // Longer than any stream is kept.
    Some(Rule { asked, weight: said.weight.map(|w| w.min(1_000_000)), rewrite, set_headers, timeout_ms: said.timeout_ms.min(86_400_000) })
}

fn rooted(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

fn is_host(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    host.len() <= 253 && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

fn token(name: &str) -> bool {
    (1..=256).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn text(text: &str) -> bool {
    text.len() <= LONGEST && !text.bytes().any(|b| b.is_ascii_control())
}

fn values(said: &[wire::RouteValue]) -> Option<Vec<Valued>> {
    let value = |v: &wire::RouteValue| {
        let good = if v.pattern { pattern::fault(&v.value).is_none() } else { text(&v.value) };
        (good && token(&v.name)).then(|| Valued { name: v.name.clone(), value: v.value.clone(), pattern: v.pattern })
    };
    said.iter().map(value).collect()
}

/// `$1` as HAProxy writes it. Nothing else of it means anything.
fn with_groups(rewrite: &str) -> String {
    let (mut out, mut chars) = (String::new(), rewrite.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '$' if chars.peek().is_some_and(char::is_ascii_digit) => out.push('\\'),
            '\\' => out.push_str("\\\\"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path_kind: &str, path: &str) -> wire::RouteRule {
        wire::RouteRule { host: "Shop.Test".into(), path_kind: path_kind.into(), path: path.into(), ..Default::default() }
    }

    #[test]
    fn a_rule_is_taken_as_it_is_meant() {
        let of = |kind: &str, path: &str| rule(&said(kind, path)).map(|r| (r.asked.host, r.asked.kind, r.asked.path));
        let shop = || "shop.test".to_owned();
        assert_eq!(of("prefix", "/"), Some((shop(), PathKind::Prefix, String::new())));
        assert_eq!(of("prefix", "/api/"), Some((shop(), PathKind::Prefix, "/api".into())));
        assert_eq!(of("exact", "/api/"), Some((shop(), PathKind::Exact, "/api/".into())));
        assert_eq!(of("pattern", "/v[0-9]+/(.*)"), Some((shop(), PathKind::Pattern, "/v[0-9]+/(.*)".into())));
        let moved = wire::RouteRule { rewrite: r"/new/$1\2$".into(), ..said("pattern", "/old/(.*)") };
        assert_eq!(rule(&moved).unwrap().rewrite, r"/new/\1\\2$");
    }

    #[test]
    fn what_would_be_more_than_a_rule_is_left_out() {
        let header = |name: &str, value: &str| wire::RouteValue { name: name.into(), value: value.into(), pattern: false };
        let set = |name: &str, value: &str| wire::KeyValue { name: name.into(), value: value.into() };
        let plain = || said("prefix", "/");
        for bad in [
            said("pattern", "(a+)+"),
            said("other", "/"),
            said("exact", "/a b"),
            wire::RouteRule { host: "a }".into(), ..plain() },
            wire::RouteRule { method: "GET }".into(), ..plain() },
            wire::RouteRule { method: "-f".into(), ..plain() },
            wire::RouteRule { rewrite: "/\n".into(), ..plain() },
            wire::RouteRule { headers: vec![header("X A", "")], ..plain() },
            wire::RouteRule { headers: vec![header("X-A", "a\nb")], ..plain() },
            wire::RouteRule { queries: vec![header("a)", "1")], ..plain() },
            wire::RouteRule { queries: (0..33).map(|_| header("a", "1")).collect(), ..plain() },
            wire::RouteRule { set_headers: vec![set("X-A", "a\r\nX-B: c")], ..plain() },
        ] {
            assert_eq!(rule(&bad), None, "{bad:?}");
        }
    }
}
