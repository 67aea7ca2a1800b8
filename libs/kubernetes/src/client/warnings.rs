//! What an API server says beside its answer: `Warning: 299 - "<text>"` (kubernetes.io/docs/reference/using-api/deprecation-policy,
//! RFC 7234, 5.5). Of fields and versions that go, of pods that a level of Pod Security would refuse, of whatever a webhook or a
//! policy has to say.

use reqwest::header::{HeaderMap, WARNING};

/// Of one answer. The server itself keeps to 4 KiB in all.
const MOST: usize = 20;
const LONGEST: usize = 500;

pub fn warnings(headers: &HeaderMap) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for value in headers.get_all(WARNING).iter().take(MOST) {
        let text = text(&String::from_utf8_lossy(value.as_bytes())).map(|text| text.chars().take(LONGEST).collect::<String>());
        out.extend(text.filter(|text| !text.is_empty() && !out.contains(text)));
    }
    out
}

fn text(value: &str) -> Option<String> {
    let mut rest = value.trim().strip_prefix("299 ")?.split_once('"')?.1.chars();
    let mut out = String::new();
    loop {
        match rest.next()? {
            '"' => return Some(out),
            '\\' => out.push(rest.next()?),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_unquoted_and_told_once() {
        let mut headers = HeaderMap::new();
        for value in [
            r#"299 - "policy/v1beta1 goes""#,
            r#"299 - "policy/v1beta1 goes""#,
            r#"299 - "would violate \"restricted:latest\"" "Tue, 01 Dec 2026 07:00:00 GMT""#,
            "199 - \"stale\"",
            "299 - \"open",
        ] {
            headers.append(WARNING, value.parse().unwrap());
        }
        assert_eq!(warnings(&headers), ["policy/v1beta1 goes", "would violate \"restricted:latest\""]);
    }
}
