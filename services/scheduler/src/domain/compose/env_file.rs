//! Files of `NAME=value` lines: `.env`, and `env_file` of a service.

use std::collections::BTreeMap;

use crate::domain::interpolate::interpolate;

/// In the file's order; later lines may use earlier ones. `None`: a name without `=`, whose value comes from elsewhere.
///
/// # Errors
/// The line and what is wrong with it.
pub fn read(text: &str, values: &BTreeMap<String, String>) -> Result<Vec<(String, Option<String>)>, (u64, String)> {
    let mut known = values.clone();
    let mut out: Vec<(String, Option<String>)> = Vec::new();
    let mut lines = text.trim_start_matches('\u{feff}').lines().zip(1_u64..);
    while let Some((line, number)) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, rest)) = line.split_once(['=', ':']) else {
            out.push((checked(line.trim(), number)?, None));
            continue;
        };
        let name = checked(name.trim(), number)?;
        let rest = rest.trim_start();
        let value = match rest.chars().next().filter(|c| matches!(c, '\'' | '"')) {
            Some(quote) => {
                let mut text = rest[1..].to_owned();
                while closing(&text, quote).is_none() {
                    match lines.next() {
                        Some((more, _)) => {
                            text.push('\n');
                            text.push_str(more);
                        }
                        None => return Err((number, format!("the quote {quote} is not closed"))),
                    }
                }
                text.truncate(closing(&text, quote).unwrap_or(text.len()));
                if quote == '\'' { text } else { interpolated(&unescaped(&text), &known, number)? }
            }
            None => {
                let end = rest.find(" #").or_else(|| rest.find("\t#")).unwrap_or(rest.len());
                interpolated(rest[..end].trim_end(), &known, number)?
            }
        };
        known.entry(name.clone()).or_insert_with(|| value.clone());
        out.push((name, Some(value)));
    }
    Ok(out)
}

/// As `format: raw` has it: nothing is unquoted or filled in.
pub fn read_raw(text: &str) -> Vec<(String, Option<String>)> {
    let line = |line: &str| match line.split_once('=') {
        Some((name, value)) => (name.trim().to_owned(), Some(value.to_owned())),
        None => (line.trim().to_owned(), None),
    };
    text.lines().filter(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#')).map(line).collect()
}

fn checked(name: &str, line: u64) -> Result<String, (u64, String)> {
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err((line, format!("`{name}` is no name of a variable")));
    }
    Ok(name.to_owned())
}

fn interpolated(text: &str, values: &BTreeMap<String, String>, line: u64) -> Result<String, (u64, String)> {
    interpolate(text, values, &mut Vec::new()).map_err(|detail| (line, detail))
}

fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '\\' if quote == '"' && !escaped => escaped = true,
            c if c == quote && !escaped => return Some(at),
            _ => escaped = false,
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some('$') => out.push_str("$$"),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, Option<String>)> {
        read(text, &BTreeMap::from([("HOME".to_owned(), "/h".to_owned())])).unwrap()
    }

    #[test]
    fn all_kinds_of_lines_are_read() {
        let text = "# note\n\nA=1\nexport B = two words  # note\nC='$A \"x\"'\nD=\"a\\n${A}\"\nE=${HOME}/${B:-x}\nF=\"two\nlines\"\nG=a#b\nH\nI=\nJ: yaml\n";
        let found = pairs(text);
        let get = |name: &str| found.iter().find(|(n, _)| n == name).unwrap().1.as_deref();
        for (name, value) in [
            ("A", Some("1")),
            ("B", Some("two words")),
            ("C", Some("$A \"x\"")),
            ("D", Some("a\n1")),
            ("E", Some("/h/two words")),
            ("F", Some("two\nlines")),
            ("G", Some("a#b")),
            ("H", None),
            ("I", Some("")),
            ("J", Some("yaml")),
        ] {
            assert_eq!(get(name), value, "{name}");
        }
        assert_eq!(read_raw("A='$x'\n#\nB\n"), [("A".into(), Some("'$x'".into())), ("B".into(), None)]);
    }

    #[test]
    fn a_faulty_line_is_named() {
        assert_eq!(read("A=1\nB='x\n", &BTreeMap::new()).unwrap_err().0, 2);
        assert_eq!(read("=1\n", &BTreeMap::new()).unwrap_err().0, 1);
        assert_eq!(read("A=${B:?no}\n", &BTreeMap::new()).unwrap_err().0, 1);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(A|=|\"|'|\\\\|#|\\$|\\{|\\}| |\n){0,30}") {
            let _ = read(&text, &BTreeMap::new());
        }
    }
}
