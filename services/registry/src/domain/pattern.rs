//! Patterns of names, as project settings use them: `*` stands for any run of characters (also none, also `/`), `?` for one,
//! `{a,b}` for either. Everything else is itself.

/// Longest pattern anybody needs.
pub const MAX: usize = 200;

/// Why a text is no pattern; `None` when it is one.
pub fn fault(pattern: &str) -> Option<&'static str> {
    if pattern.is_empty() || pattern.len() > MAX {
        return Some("must have 1 to 200 characters");
    }
    if pattern.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Some("must not contain white space");
    }
    let mut open = false;
    for c in pattern.chars() {
        match c {
            '{' if open => return Some("braces cannot be nested"),
            '{' => open = true,
            '}' if !open => return Some("a closing brace needs an opening one"),
            '}' => open = false,
            _ => {}
        }
    }
    open.then_some("a brace is not closed")
}

/// Whether `name` matches. Costs at most pattern × name for each choice of braces.
pub fn matches(pattern: &str, name: &str) -> bool {
    choices(pattern).iter().any(|p| glob(p.as_bytes(), name.as_bytes()))
}

/// Most patterns that braces may stand for; more count as no match.
const MOST_CHOICES: usize = 256;

/// The patterns without braces that this one stands for.
fn choices(pattern: &str) -> Vec<String> {
    let mut done = vec![String::new()];
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((inside, after)) = after.split_once('}') else { break };
        let mut next = Vec::new();
        for start in &done {
            next.extend(inside.split(',').map(|choice| format!("{start}{before}{choice}")));
        }
        if next.len() > MOST_CHOICES {
            return Vec::new();
        }
        done = next;
        rest = after;
    }
    for text in &mut done {
        text.push_str(rest);
    }
    done
}

/// The usual walk with one point to come back to: linear in practice, quadratic at worst.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match back {
                Some((star, at)) => {
                    back = Some((star, at + 1));
                    p = star + 1;
                    n = at + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_question_marks_and_braces() {
        for (pattern, name, hit) in [
            ("*", "anything/at.all", true),
            ("v*", "v1.2", true),
            ("v*", "latest", false),
            ("v?.0", "v1.0", true),
            ("v?.0", "v12.0", false),
            ("{release,hotfix}-*", "hotfix-3", true),
            ("{release,hotfix}-*", "fix-3", false),
            ("team/*", "team/web", true),
            ("team/*", "teams/web", false),
            ("*-prod", "web-prod", true),
            ("*a*b*c", "xaxbxbxc", true),
            ("*a*b*c", "xaxbxbx", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, name), hit, "{pattern} {name}");
        }
        assert!(!matches(&"{a,b}".repeat(20), "a"), "too many choices match nothing");
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        for bad in ["", "a b", "{a", "a}", "{a{b}}", &"x".repeat(201)] {
            assert!(fault(bad).is_some(), "{bad}");
        }
        assert_eq!(fault("{release,v}*"), None);
    }

    proptest! {
        #[test]
        fn no_pattern_panics_or_hangs(pattern in "[ab*?{},]{0,40}", name in "[ab]{0,60}") {
            let _ = (matches(&pattern, &name), fault(&pattern));
            prop_assert!(matches("*", &name));
            prop_assert!(matches(&name, &name));
        }
    }
}
