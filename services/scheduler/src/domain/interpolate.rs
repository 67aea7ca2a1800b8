//! Interpolation of the Compose specification: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`,
//! `${NAME:?message}`, `${NAME?message}`, `${NAME:+other}`, `${NAME+other}`, `$$`. Nested in defaults, too.

use std::collections::BTreeMap;

const MAX_DEPTH: usize = 8;

/// # Errors
/// What is wrong with the text, or the message of `${NAME:?message}`.
pub fn interpolate(text: &str, values: &BTreeMap<String, String>, missing: &mut Vec<String>) -> Result<String, String> {
    expand(text, values, missing, 0)
}

fn expand(text: &str, values: &BTreeMap<String, String>, missing: &mut Vec<String>, depth: usize) -> Result<String, String> {
    if depth > MAX_DEPTH {
        return Err("`${...}` is nested too deeply".into());
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = closing(after).ok_or_else(|| format!("`${{` without `}}` in `${}`", near(rest)))?;
            out.push_str(&braced(&after[..end], values, missing, depth)?);
            rest = &after[end + 1..];
        } else {
            let name = name_of(rest);
            if name.is_empty() {
                return Err(format!("a lone `$` in `${}`: write `$$` for the character itself", near(rest)));
            }
            out.push_str(&plain(name, values, missing));
            rest = &rest[name.len()..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn braced(inner: &str, values: &BTreeMap<String, String>, missing: &mut Vec<String>, depth: usize) -> Result<String, String> {
    let name = name_of(inner);
    if name.is_empty() {
        return Err(format!("`${{{inner}}}` has no name"));
    }
    let rest = &inner[name.len()..];
    let (filled_only, rest) = match rest.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let value = values.get(name).filter(|v| !filled_only || !v.is_empty());
    match (rest.chars().next(), value) {
        (None, _) if filled_only => Err(format!("`${{{inner}}}`: `:` must be followed by -, ? or +")),
        (None, _) => Ok(plain(name, values, missing)),
        (Some('-' | '?'), Some(value)) => Ok(value.clone()),
        (Some('-'), None) => expand(&rest[1..], values, missing, depth + 1),
        (Some('?'), None) => {
            let message = expand(&rest[1..], values, missing, depth + 1)?;
            Err(if message.is_empty() { format!("the value `{name}` is required") } else { format!("the value `{name}` is required: {message}") })
        }
        (Some('+'), Some(_)) => expand(&rest[1..], values, missing, depth + 1),
        (Some('+'), None) => Ok(String::new()),
        (Some(other), _) => Err(format!("`${{{inner}}}`: `{other}` is not one of -, ?, + after the name")),
    }
}

fn plain(name: &str, values: &BTreeMap<String, String>, missing: &mut Vec<String>) -> String {
    values.get(name).cloned().unwrap_or_else(|| {
        missing.push(name.to_owned());
        String::new()
    })
}

fn name_of(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) { "" } else { &text[..end] }
}

/// The beginning of a text: all of a script would hide what is wrong with it.
fn near(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(40).collect()
}

/// Where the brace that closes the present one is.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if at > 0 && bytes[at - 1] == b'$' => open += 1,
            b'}' if open == 0 => return Some(at),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(text: &str) -> Result<String, String> {
        let values = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("EMPTY".to_owned(), String::new())]);
        interpolate(text, &values, &mut Vec::new())
    }

    #[test]
    fn every_form_of_the_specification_works() {
        for (text, expected) in [
            ("x$A.y${A}z", "x1.y1z"),
            ("$$A", "$A"),
            ("${B:-d}${B-d}${EMPTY:-d}${EMPTY-d}", "ddd"),
            ("${A:+yes}${B:+yes}${EMPTY+set}", "yesset"),
            ("${B:-${C:-${A}}}", "1"),
            ("${A:?no}", "1"),
            ("${B}", ""),
        ] {
            assert_eq!(with(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_required_value_and_a_broken_text_are_named() {
        assert!(with("${B:?set it}").unwrap_err().contains("set it"));
        for broken in ["${A", "${}", "a $ b", "${A:x}", "${A:}"] {
            assert!(with(broken).is_err(), "{broken}");
        }
        let script = with(&format!("echo a\necho $1 b\n{}", "echo c\n".repeat(100))).unwrap_err();
        assert!(script.contains("`$1 b`") && script.len() < 100, "{script}");
        let mut missing = Vec::new();
        interpolate("$B ${C}", &BTreeMap::new(), &mut missing).unwrap();
        assert_eq!(missing, ["B", "C"]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[$A{}:?+é -]{0,24}") {
            let _ = with(&text);
        }

        #[test]
        fn a_text_without_dollars_stays_as_it_is(text in "[^$]{0,40}") {
            prop_assert_eq!(with(&text).unwrap(), text);
        }
    }
}
