//! One spelling per path, so that what the door routes is what the service sees (RFC 3986 section 6.2.2).

use thiserror::Error;

/// Why a path is not accepted.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PathFault {
    #[error("the path leaves its root by `..`")]
    AboveRoot,
    #[error("the path has a `%` without two hexadecimal digits after it")]
    BadEscape,
    #[error("the path holds a control character or a backslash")]
    Character,
}

/// Decodes escaped unreserved characters, writes the other escapes in upper case, removes `.`, `..` and empty segments
/// (a final `/` stays). An escaped `/` stays escaped: it is a part of its segment here and in the services.
///
/// # Errors
/// When the path has no one meaning.
pub fn normalise(path: &str) -> Result<String, PathFault> {
    let decoded = decode(path)?;
    let mut kept: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop().ok_or(PathFault::AboveRoot)?;
            }
            other => kept.push(other),
        }
    }
    let mut out = String::with_capacity(decoded.len());
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    let last = decoded.rsplit('/').next().unwrap_or("");
    if kept.is_empty() || matches!(last, "" | "." | "..") {
        out.push('/');
    }
    Ok(out)
}

/// Whether [`normalise`] gives `path` back as it is, which most are: nothing is escaped, and no segment is empty or made of dots.
pub fn is_normal(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    let mut segments = rest.split('/');
    let last = segments.next_back();
    path.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'%' && byte != b'\\')
        && segments.all(|segment| !matches!(segment, "" | "." | ".."))
        && !matches!(last, Some("." | ".."))
}

fn decode(path: &str) -> Result<String, PathFault> {
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if byte == b'%' {
            let value = bytes.get(at + 1..at + 3).and_then(hex_pair).ok_or(PathFault::BadEscape)?;
            if value < 0x20 || value == 0x7f || value == b'\\' {
                return Err(PathFault::Character);
            }
            if value.is_ascii_alphanumeric() || matches!(value, b'-' | b'.' | b'_' | b'~') {
                out.push(char::from(value));
            } else {
                out.push_str(&format!("%{value:02X}"));
            }
            at += 3;
        } else if byte <= 0x20 || byte >= 0x7f || byte == b'\\' {
            return Err(PathFault::Character);
        } else {
            out.push(char::from(byte));
            at += 1;
        }
    }
    Ok(out)
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_and_double_slashes_go_away() {
        for (given, meant) in [
            ("/", "/"),
            ("", "/"),
            ("//v2//", "/v2/"),
            ("/v2/./a/../b", "/v2/b"),
            ("/api/v1/%6Frgs", "/api/v1/orgs"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/b/..", "/a/"),
            ("/x/sha256%3aab", "/x/sha256%3Aab"),
            ("/images/a%2fb/tags", "/images/a%2Fb/tags"),
        ] {
            assert_eq!(normalise(given).as_deref(), Ok(meant), "{given}");
        }
    }

    #[test]
    fn a_path_with_two_meanings_is_refused() {
        assert_eq!(normalise("/../etc/passwd"), Err(PathFault::AboveRoot));
        assert_eq!(normalise("/a/%2e%2e/%2e%2e/b"), Err(PathFault::AboveRoot));
        assert_eq!(normalise("/a/%zz"), Err(PathFault::BadEscape));
        assert_eq!(normalise("/a/%2"), Err(PathFault::BadEscape));
        assert_eq!(normalise("/a%00b"), Err(PathFault::Character));
        assert_eq!(normalise("/a%5c..%5cb"), Err(PathFault::Character));
    }

    #[test]
    fn what_is_taken_for_normal_is_what_normalising_leaves_alone() {
        for path in ["/", "/a", "/a/", "/api/v1/orgs/acme", "/v2/", "/a/...", "/.well-known/x", "/a;b=c/~d"] {
            assert!(is_normal(path), "{path}");
            assert_eq!(normalise(path).as_deref(), Ok(path));
        }
        for path in ["", "a", "//", "/a//b", "/a//", "/.", "/a/./b", "/a/..", "/a/../b", "/%41", "/a%2fb", "/a\\b", "/a b", "/\u{e9}"] {
            assert!(!is_normal(path), "{path}");
        }
    }

    #[test]
    fn normalising_twice_changes_nothing() {
        for path in ["/a//b/./c/../d/", "/%41%2fb%3a", "/v2/x/y/", "/a/.."] {
            let once = normalise(path).expect("a good path");
            assert_eq!(normalise(&once).as_deref(), Ok(once.as_str()));
        }
    }
}
