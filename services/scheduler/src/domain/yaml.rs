//! A YAML document as a tree that remembers its lines, so that every fault can point at one. Knows no format.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A value and the line it starts on (1 is the first; 0 if unknown).
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub line: u64,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
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

/// Reads every document of `text`. Empty ones are left out.
///
/// # Errors
/// The parser's message, which names line and column. Aliases and sizes are bounded by the parser's budget.
pub fn parse(text: &str) -> Result<Vec<Node>, String> {
    // Core schema only: a key `y` or a value `no` is a text, as Compose and Kubernetes read it.
    let options = serde_saphyr::options! { strict_booleans: true };
    let nodes: Vec<Node> = serde_saphyr::from_multiple_with_options(text, options).map_err(|e| e.without_snippet().to_string())?;
    Ok(nodes.into_iter().filter(|n| n.value != Value::Null).collect())
}

impl Node {
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

    /// A scalar as text: `8080`, `true` and `1.5` as they are usually written, null as nothing.
    pub fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Int(n) => Some(n.to_string()),
            Value::Float(n) => Some(n.to_string()),
            Value::Bool(b) => Some(b.to_string()),
            Value::Null => Some(String::new()),
            Value::List(_) | Value::Map(_) => None,
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
            Value::Text(text) => match text.as_str() {
                "true" | "yes" | "on" => Some(true),
                "false" | "no" | "off" => Some(false),
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

    /// Applies `change` to every text in the tree (not to keys).
    ///
    /// # Errors
    /// The first of `change`, with its line.
    pub fn map_texts(&mut self, change: &mut impl FnMut(&str) -> Result<String, String>) -> Result<(), (u64, String)> {
        let line = self.line;
        match &mut self.value {
            Value::Text(text) => *text = change(text).map_err(|e| (line, e))?,
            Value::List(items) => {
                for item in items {
                    item.map_texts(change)?;
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    entry.node.map_texts(change)?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
        }
        Ok(())
    }

    /// As JSON, for parts that are kept as they are.
    pub fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Int(n) => (*n).into(),
            Value::Float(n) => (*n).into(),
            Value::Text(text) => text.clone().into(),
            Value::List(items) => items.iter().map(Node::json).collect(),
            Value::Map(entries) => serde_json::Value::Object(entries.iter().map(|e| (e.key.clone(), e.node.json())).collect()),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: de::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Raw>::deserialize(from)?;
        Ok(Self { line: spanned.referenced.line(), value: spanned.value.0 })
    }
}

struct Raw(Value);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: de::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_bool<E>(self, b: bool) -> Result<Raw, E> {
        Ok(Raw(Value::Bool(b)))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Raw, E> {
        Ok(Raw(Value::Int(n)))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Raw, E> {
        Ok(Raw(i64::try_from(n).map_or_else(|_| Value::Text(n.to_string()), Value::Int)))
    }

    fn visit_f64<E>(self, n: f64) -> Result<Raw, E> {
        Ok(Raw(Value::Float(n)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw(Value::Text(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw(Value::Null))
    }

    fn visit_some<D: de::Deserializer<'de>>(self, from: D) -> Result<Raw, D::Error> {
        Raw::deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw(Value::List(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        let mut seen = BTreeMap::new();
        while let Some(key) = map.next_key::<Node>()? {
            let name = key.scalar().ok_or_else(|| de::Error::custom("a key must be a plain value"))?;
            if seen.insert(name.clone(), key.line).is_some() {
                return Err(de::Error::custom(format!("line {}: the key `{name}` is there twice", key.line)));
            }
            entries.push(Entry { key: name, line: key.line, node: map.next_value()? });
        }
        Ok(Raw(Value::Map(entries)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_knows_its_line() {
        let docs = parse("a: 1\nb:\n  - x\n  - y: 3000:3000\n    z: ~\n---\nc: yes\n").unwrap();
        assert_eq!(docs.len(), 2);
        let b = docs[0].get("b").unwrap();
        assert_eq!(b.list().unwrap()[0].line, 3);
        let second = &b.list().unwrap()[1];
        assert_eq!(second.entries().unwrap()[0].line, 4);
        assert_eq!(second.get("y").unwrap().scalar().unwrap(), "3000:3000");
        assert_eq!(second.get("z").unwrap().value, Value::Null);
        assert_eq!(docs[1].get("c").unwrap().boolean(), Some(true));
    }

    #[test]
    fn anchors_and_merges_are_followed() {
        let docs = parse("base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n").unwrap();
        let used = docs[0].get("use").unwrap();
        assert_eq!((used.get("x").unwrap().integer(), used.get("y").unwrap().integer()), (Some(1), Some(3)));
    }

    #[test]
    fn a_broken_document_names_the_place() {
        let error = parse("a: [1, 2\nb: 3\n").unwrap_err();
        assert!(error.contains("line"), "{error}");
        assert!(parse("a: 1\na: 2\n").is_err());
    }
}
