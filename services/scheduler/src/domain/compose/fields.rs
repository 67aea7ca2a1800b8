//! Small readers of single values; each reports what is wrong with its path and line.

use std::collections::BTreeMap;

use crate::domain::document::{self, Remarks};
use crate::domain::yaml::{Entry, Node, Value};

pub fn text(path: &str, node: &Node, remarks: &Remarks) -> String {
    node.scalar().unwrap_or_else(|| {
        remarks.wrong(path, node.line, format!("must be a text, not {}", node.kind()));
        String::new()
    })
}

/// The entries of a map; nothing at all is an empty one.
pub fn entries<'n>(path: &str, node: &'n Node, remarks: &Remarks) -> &'n [Entry] {
    match &node.value {
        Value::Map(entries) => entries,
        Value::Null => &[],
        _ => {
            remarks.wrong(path, node.line, format!("must be a map, not {}", node.kind()));
            &[]
        }
    }
}

/// A key that means nothing here. `x-` begins those that the specification leaves to whoever writes the document.
pub fn unknown(path: &str, entry: &Entry, remarks: &Remarks) {
    if !entry.key.starts_with("x-") {
        remarks.unsupported(path, entry.line, "is not supported");
    }
}

/// The items of a list; nothing at all is an empty one.
pub fn items<'n>(path: &str, node: &'n Node, remarks: &Remarks) -> &'n [Node] {
    match &node.value {
        Value::List(items) => items,
        Value::Null => &[],
        _ => {
            remarks.wrong(path, node.line, format!("must be a list, not {}", node.kind()));
            &[]
        }
    }
}

pub fn boolean(path: &str, node: &Node, remarks: &Remarks) -> bool {
    node.boolean().unwrap_or_else(|| {
        remarks.wrong(path, node.line, format!("must be true or false, not {}", node.kind()));
        false
    })
}

pub fn count(path: &str, node: &Node, max: u32, remarks: &Remarks) -> u32 {
    match node.integer().and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= max) {
        Some(n) => n,
        None => {
            remarks.wrong(path, node.line, format!("must be a whole number from 0 to {max}"));
            0
        }
    }
}

pub fn bytes(path: &str, node: &Node, remarks: &Remarks) -> u64 {
    node.scalar().as_deref().and_then(document::bytes).unwrap_or_else(|| {
        remarks.wrong(path, node.line, "must be a size such as 256m or 1g");
        0
    })
}

pub fn cpu(path: &str, node: &Node, remarks: &Remarks) -> u32 {
    node.scalar().as_deref().and_then(document::cpu_millis).unwrap_or_else(|| {
        remarks.wrong(path, node.line, "must be a number of cores such as 0.5");
        0
    })
}

pub fn millis(path: &str, node: &Node, remarks: &Remarks) -> u32 {
    node.scalar().as_deref().and_then(document::duration_ms).unwrap_or_else(|| {
        remarks.wrong(path, node.line, "must be a duration such as 10s or 1m30s");
        0
    })
}

pub fn texts(path: &str, node: &Node, remarks: &Remarks) -> Vec<String> {
    match &node.value {
        Value::List(items) => items.iter().map(|n| text(path, n, remarks)).collect(),
        Value::Null => Vec::new(),
        Value::Text(one) => vec![one.clone()],
        _ => {
            remarks.wrong(path, node.line, format!("must be a list, not {}", node.kind()));
            Vec::new()
        }
    }
}

/// A map, or a list of `NAME=value`. A name without a value takes it from `values`, and is left out if it is not there.
pub fn pairs(path: &str, node: &Node, values: &BTreeMap<String, String>, remarks: &Remarks) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let bare = |name: &str, line: u64, remarks: &Remarks| match values.get(name) {
        Some(value) => Some(value.clone()),
        None => {
            remarks.note(path, line, format!("`{name}` has no value here and is not set"));
            None
        }
    };
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                if entry.key.is_empty() {
                    remarks.wrong(path, entry.line, "has a value without a name");
                    continue;
                }
                let value = match entry.node.value {
                    Value::Null => bare(&entry.key, entry.line, remarks),
                    _ => Some(text(&format!("{path}.{}", entry.key), &entry.node, remarks)),
                };
                out.extend(value.map(|v| (entry.key.clone(), v)));
            }
        }
        Value::List(items) => {
            for item in items {
                let line = text(path, item, remarks);
                match line.split_once('=') {
                    Some((name, value)) if !name.is_empty() => {
                        out.insert(name.to_owned(), value.to_owned());
                    }
                    Some(_) => remarks.wrong(path, item.line, format!("`{line}` has no name before `=`")),
                    None => out.extend(bare(&line, item.line, remarks).map(|v| (line.clone(), v))),
                }
            }
        }
        Value::Null => {}
        _ => remarks.wrong(path, node.line, format!("must be a map or a list, not {}", node.kind())),
    }
    out
}
