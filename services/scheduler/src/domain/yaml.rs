//! A YAML document as a tree that remembers its lines, so that every fault can point at one. Knows no format.
//!
//! Built from the parser's events instead of through serde, because Compose needs two things that serde hides: the tags
//! `!reset` and `!override`, and whether a number was written with a leading zero.

mod build;
mod write;

pub use build::{Broken, parse};
pub use write::to_yaml;

/// A value and the line it starts on (1 is the first; 0 if unknown).
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub line: u64,
    pub value: Value,
    pub tag: Tag,
}

/// Tags with a meaning in Compose; all others are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tag {
    #[default]
    None,
    /// Takes away what an earlier document said.
    Reset,
    /// Stands instead of what an earlier document said, without merging.
    Override,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    /// As it was written; it is a number in YAML's sense.
    Float(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map, in the order of the document.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    pub line: u64,
    pub node: Node,
}

impl Node {
    pub fn new(line: u64, value: Value) -> Self {
        Self { line, value, tag: Tag::None }
    }

    pub fn text(line: u64, text: impl Into<String>) -> Self {
        Self::new(line, Value::Text(text.into()))
    }

    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub fn list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries()?.iter().find(|e| e.key == key).map(|e| &e.node)
    }

    /// The node at `a.b.c`, or the last one of that way which is there.
    pub fn nearest(&self, path: &[&str]) -> &Node {
        match path.split_first().and_then(|(key, rest)| Some((self.step(key)?, rest))) {
            Some((next, rest)) => next.nearest(rest),
            None => self,
        }
    }

    fn step(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::List(items) => items.get(key.parse::<usize>().ok()?),
            _ => self.get(key),
        }
    }

    /// A scalar as text: `8080`, `true` and `1.5` as they are usually written, null as nothing.
    pub fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Int(n) => Some(n.to_string()),
            Value::Float(raw) => Some(raw.parse::<f64>().map_or_else(|_| raw.clone(), |n| n.to_string())),
            Value::Bool(b) => Some(b.to_string()),
            Value::Null => Some(String::new()),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// A scalar as it was written, for quantities such as `1e3`.
    pub fn source(&self) -> Option<String> {
        match &self.value {
            Value::Float(raw) => Some(raw.clone()),
            _ => self.scalar(),
        }
    }

    pub fn integer(&self) -> Option<i64> {
        match &self.value {
            Value::Int(n) => Some(*n),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub fn boolean(&self) -> Option<bool> {
        match &self.value {
            Value::Bool(b) => Some(*b),
            // The words of YAML 1.1, which the readers of Compose and Kubernetes still know where a truth value is meant.
            Value::Text(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "y" => Some(true),
                "false" | "no" | "off" | "n" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// What kind of value this is, for a message.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a truth value",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// Applies `change` to every text in the tree (not to keys); it is told the text's line, too.
    pub fn map_texts(&mut self, change: &mut impl FnMut(&str, u64) -> String) {
        let line = self.line;
        match &mut self.value {
            Value::Text(text) => *text = change(text, line),
            Value::List(items) => items.iter_mut().for_each(|item| item.map_texts(change)),
            Value::Map(entries) => entries.iter_mut().for_each(|entry| entry.node.map_texts(change)),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
        }
    }

    /// Applies `change` to every line number in the tree.
    pub fn map_lines(&mut self, change: &impl Fn(u64) -> u64) {
        self.line = change(self.line);
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|i| i.map_lines(change)),
            Value::Map(entries) => {
                for entry in entries {
                    entry.line = change(entry.line);
                    entry.node.map_lines(change);
                }
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
        }
    }

    /// As JSON, for parts that are kept as they are.
    pub fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Int(n) => (*n).into(),
            Value::Float(raw) => raw.parse::<f64>().map_or_else(|_| raw.clone().into(), Into::into),
            Value::Text(text) => text.clone().into(),
            Value::List(items) => items.iter().map(Node::json).collect(),
            Value::Map(entries) => serde_json::Value::Object(entries.iter().map(|e| (e.key.clone(), e.node.json())).collect()),
        }
    }
}

#[cfg(test)]
mod tests;
