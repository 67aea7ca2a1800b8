//! What a client says that it has already (RFC 9110, sections 13.1.2 and 13.1.5). Content never changes under its digest, so that is its tag.

use axum::response::Response;
use http::{HeaderMap, StatusCode, header};

use super::empty;

/// The entity tag of content.
pub fn tag(digest: &str) -> String {
    format!("\"{digest}\"")
}

/// Whether `If-None-Match` names it: nothing need be sent.
pub fn has_it(headers: &HeaderMap, digest: &str) -> bool {
    let tag = tag(digest);
    let named = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    named.map(str::trim).any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// Whether `Range` counts: a part is no use to who has the beginning of something else.
pub fn goes_on(headers: &HeaderMap, digest: &str) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|known| known.as_bytes() == tag(digest).as_bytes())
}

pub fn not_modified(digest: &str) -> Response {
    empty(StatusCode::NOT_MODIFIED, &[("etag", tag(digest)), ("docker-content-digest", digest.to_owned())])
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_a_client_has_is_not_sent_again() {
        let with = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_NONE_MATCH, HeaderValue::from_static(value));
            }
            has_it(&headers, "sha256:aa")
        };
        for known in [&["\"sha256:aa\""][..], &["*"], &["W/\"sha256:aa\""], &["\"sha256:bb\", \"sha256:aa\""], &["\"x\"", "\"sha256:aa\""]] {
            assert!(with(known), "{known:?}");
        }
        assert!(!with(&[]));
        for other in ["\"sha256:bb\"", "sha256:aa", "\"sha256:a\""] {
            assert!(!with(&[other]), "{other}");
        }
    }

    #[test]
    fn a_part_is_for_who_has_the_beginning_of_the_same() {
        let with = |value: &'static str| goes_on(&[(header::IF_RANGE, HeaderValue::from_static(value))].into_iter().collect(), "sha256:aa");
        assert!(goes_on(&HeaderMap::new(), "sha256:aa") && with("\"sha256:aa\""));
        // Weak tags and times do not do for parts.
        assert!(!with("\"sha256:bb\"") && !with("W/\"sha256:aa\"") && !with("Tue, 01 Dec 2026 06:00:00 GMT"));
    }
}
