//! Printing: a table for people, JSON or YAML for programs. Tables pick columns by path; JSON and YAML show everything.

use anyhow::Result;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::args::Format;

/// Heading and where the cell's value lies, parted by dots; the first path that is there counts: `id|name`.
pub type Column = (&'static str, &'static str);

/// # Errors
/// When standard output is closed.
pub fn list(format: Format, items: &[Value], columns: &[Column]) -> Result<()> {
    match format {
        Format::Table => print(&render_table(items, columns)),
        _ => document(format, &Value::Array(items.to_vec())),
    }
}

/// One thing; a table shows a line per field.
///
/// # Errors
/// When standard output is closed.
pub fn one(format: Format, item: &Value) -> Result<()> {
    match (format, item) {
        (Format::Table, Value::Null) => Ok(()),
        (Format::Table, Value::Object(fields)) => {
            let mut table = empty_table();
            for (key, value) in fields {
                table.add_row([key.clone(), cell(value)]);
            }
            print(&table.to_string())
        }
        (Format::Table, other) => print(&cell(other)),
        _ => document(format, item),
    }
}

/// One of a stream of things for programs: a line of JSON, or a document of YAML that begins with `---`.
///
/// # Errors
/// When standard output is closed.
pub fn entry(format: Format, value: &Value) -> Result<()> {
    print(&entry_text(format, value)?)
}

fn entry_text(format: Format, value: &Value) -> Result<String> {
    match format {
        Format::Yaml => Ok(format!("---\n{}", serde_saphyr::to_string(value)?.trim_end())),
        _ => Ok(value.to_string()),
    }
}

fn document(format: Format, value: &Value) -> Result<()> {
    match format {
        Format::Yaml => print(serde_saphyr::to_string(value)?.trim_end()),
        _ => print(&serde_json::to_string_pretty(value)?),
    }
}

/// A line on standard output.
///
/// # Errors
/// When it is closed (`gantry ... | head`).
pub fn print(text: &str) -> Result<()> {
    use std::io::Write;
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

fn empty_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn render_table(items: &[Value], columns: &[Column]) -> String {
    if items.is_empty() {
        return "nothing there".to_owned();
    }
    let mut table = empty_table();
    table.set_header(columns.iter().map(|c| c.0));
    for item in items {
        table.add_row(columns.iter().map(|(_, path)| cell(find(item, path))));
    }
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

pub fn find<'a>(item: &'a Value, path: &str) -> &'a Value {
    let at = |one: &str| one.split('.').try_fold(item, |value, key| value.get(key)).filter(|v| !v.is_null());
    path.split('|').find_map(at).unwrap_or(&Value::Null)
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) if items.iter().all(|i| !i.is_object() && !i.is_array()) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join("\n"),
        Value::Object(fields) => fields.iter().map(|(k, v)| format!("{k}={}", cell(v))).collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_comes_one_after_another_is_lines_of_json_or_documents_of_yaml() {
        let value = json!({ "kind": "app.created", "at": 1 });
        let json = entry_text(Format::Json, &value).unwrap();
        assert_eq!((json.lines().count(), serde_json::from_str::<Value>(&json).unwrap()), (1, value.clone()));
        let yaml = entry_text(Format::Yaml, &value).unwrap();
        let body = yaml.strip_prefix("---\n").expect("a document of its own");
        assert_eq!(serde_saphyr::from_str::<Value>(body).unwrap(), value);
    }

    #[test]
    fn a_table_shows_the_first_path_that_is_there() {
        let items = [json!({ "name": "shop", "scan": { "high": 2 } }), json!({ "id": "x" })];
        let text = render_table(&items, &[("NAME", "name|id"), ("HIGH", "scan.high")]);
        let words: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(words, [vec!["NAME", "HIGH"], vec!["shop", "2"], vec!["x", "-"]]);
    }
}
