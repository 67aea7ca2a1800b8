//! What another registry asks for before it answers (`WWW-Authenticate`, RFC 9110 section 11.6.1 and Docker's token
//! specification), and where the next page of a list is (`Link`, RFC 8288).

/// How to authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// The first challenge of a header that is understood; Bearer before Basic.
    pub fn parse(header: &str) -> Option<Self> {
        let mut found = None;
        for (scheme, parameters) in challenges(header) {
            if scheme.eq_ignore_ascii_case("bearer") {
                let get = |name: &str| parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone());
                if let Some(realm) = get("realm") {
                    return Some(Self::Bearer { realm, service: get("service"), scope: get("scope").filter(|s| !s.is_empty()) });
                }
            } else if scheme.eq_ignore_ascii_case("basic") {
                found = Some(Self::Basic);
            }
        }
        found
    }
}

/// Scheme and parameters.
type Parsed = (String, Vec<(String, String)>);

/// `Bearer realm="x",scope="a,b", Basic realm="y"` → scheme and parameters each.
fn challenges(header: &str) -> Vec<Parsed> {
    let mut out: Vec<Parsed> = Vec::new();
    let mut rest = header.trim_start();
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let trimmed = after.trim_start();
        match (trimmed.strip_prefix('='), out.last_mut()) {
            (Some(value), Some((_, parameters))) if !word.is_empty() => {
                let (value, after) = value_of(value.trim_start());
                parameters.push((word.to_owned(), value));
                rest = after;
            }
            // A value without a scheme before it: nothing that could be understood.
            (Some(_), _) => return out,
            (None, _) => {
                if !word.is_empty() {
                    out.push((word.to_owned(), Vec::new()));
                }
                rest = trimmed;
            }
        }
        rest = rest.trim_start_matches([' ', ',', '\t']);
    }
    out
}

/// A token or a quoted string, and what follows.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// The target of `rel="next"`.
pub fn next_page(link: &str) -> Option<String> {
    link.split(',').find_map(|part| {
        let (target, parameters) = part.split_once('>')?;
        let next = parameters.split(';').any(|p| matches!(p.trim(), "rel=\"next\"" | "rel=next"));
        next.then(|| target.trim().trim_start_matches('<').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn challenges_of_real_registries() {
        let hub = r#"Bearer realm="https://auth.hub.example/token",service="hub.example",scope="repository:library/nginx:pull,push""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.hub.example/token".into(),
            service: Some("hub.example".into()),
            scope: Some("repository:library/nginx:pull,push".into()),
        };
        assert_eq!(Challenge::parse(hub), Some(expected));
        assert_eq!(Challenge::parse(r#"Basic realm="Registry Realm""#), Some(Challenge::Basic));
        let both = r#"basic realm="a, b=c", bearer realm="https://x/t""#;
        assert_eq!(Challenge::parse(both), Some(Challenge::Bearer { realm: "https://x/t".into(), service: None, scope: None }));
        assert_eq!(Challenge::parse("Negotiate"), None);
        assert_eq!(Challenge::parse("Bearer scope=\"x\""), None);
        assert_eq!(Challenge::parse("BASIC"), Some(Challenge::Basic));
    }

    #[test]
    fn the_next_page_of_a_list() {
        assert_eq!(next_page(r#"</v2/_catalog?n=2&last=b>; rel="next""#).as_deref(), Some("/v2/_catalog?n=2&last=b"));
        assert_eq!(next_page(r#"</a>; rel="prev", </b>; rel=next"#).as_deref(), Some("/b"));
        assert_eq!(next_page("</a>; rel=\"prev\""), None);
        assert_eq!(next_page(""), None);
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parsers_panic_or_hang(header in "[A-Za-z=,\" \\\\<>;]{0,60}|\\PC{0,40}") {
            let _ = (Challenge::parse(&header), next_page(&header));
        }
    }
}
