//! A tree as YAML text. Texts that another reader could take for something else are quoted.

use serde_json::Value;

/// Block style; lists are indented under their key. Ends with a line break.
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => entries(map, 0, &mut out),
        Value::Array(items) if !items.is_empty() => list(items, 0, &mut out),
        other => {
            out.push_str(&inline(other));
            out.push('\n');
        }
    }
    out
}

fn entries(map: &serde_json::Map<String, Value>, indent: usize, out: &mut String) {
    for (n, (key, value)) in map.iter().enumerate() {
        // The first key of a list's item stands on the line of its dash.
        if n > 0 || out.ends_with('\n') || out.is_empty() {
            out.push_str(&" ".repeat(indent));
        }
        out.push_str(&text(key));
        out.push(':');
        below(value, indent + 2, out);
    }
}

fn list(items: &[Value], indent: usize, out: &mut String) {
    for item in items {
        out.push_str(&" ".repeat(indent));
        out.push('-');
        match item {
            Value::Object(map) if !map.is_empty() => {
                out.push(' ');
                entries(map, indent + 2, out);
            }
            other => below(other, indent + 2, out),
        }
    }
}

/// What follows a colon or a dash.
fn below(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            entries(map, indent, out);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            list(items, indent, out);
        }
        Value::String(string) if is_block(string) => {
            out.push_str(if string.ends_with('\n') { " |\n" } else { " |-\n" });
            for line in string.trim_end_matches('\n').split('\n') {
                if !line.is_empty() {
                    out.push_str(&" ".repeat(indent));
                    out.push_str(line);
                }
                out.push('\n');
            }
        }
        other => {
            out.push(' ');
            out.push_str(&inline(other));
            out.push('\n');
        }
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        Value::Object(_) => "{}".into(),
        Value::Array(_) => "[]".into(),
        other => other.to_string(),
    }
}

/// Several lines that a literal block keeps exactly: printable, not beginning with white space, at most one line break at the end.
fn is_block(string: &str) -> bool {
    let body = string.strip_suffix('\n').unwrap_or(string);
    body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\t', '\n'])
        && body.chars().all(|c| c == '\n' || (!c.is_control() && !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')))
        && body.split('\n').all(|line| !line.ends_with([' ', '\t']) && !line.starts_with('\t'))
}

fn text(string: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
    let starts = string.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_');
    let word = matches!(string.to_ascii_lowercase().as_str(), "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "null" | "nan" | "inf");
    if starts && !word && string.chars().all(safe) {
        return string.to_owned();
    }
    // JSON's quoting is YAML's, except for line breaks and controls that JSON leaves as they are.
    let quoted = Value::from(string).to_string();
    let hidden = |c: char| (c.is_control() && !c.is_ascii()) || matches!(c, '\u{7f}' | '\u{2028}' | '\u{2029}' | '\u{feff}');
    quoted.chars().map(|c| if hidden(c) { format!("\\u{:04X}", u32::from(c)) } else { c.to_string() }).collect()
}
