//! Serde over our YAML tree, so that a fault knows its line. Numbers whose name has a unit may be written with one:
//! `memory_bytes: 512Mi`, `cpu_millis: 250m`, `period_ms: 5s`, `up_bps: 10M`; file modes in octal.

use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use crate::domain::document::{bytes, cpu_millis, duration_ms};
use crate::domain::kubernetes;
use crate::domain::yaml::{Entry, Node, Value};

/// What is wrong, where.
#[derive(Debug)]
pub struct Fault {
    pub line: u64,
    /// Below the node that was read.
    pub path: String,
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(detail: T) -> Self {
        Self { line: 0, path: String::new(), detail: detail.to_string() }
    }
}

impl Fault {
    fn below(mut self, step: &str, line: u64) -> Self {
        if self.line == 0 {
            self.line = line;
        }
        self.path.insert_str(0, step);
        self
    }
}

/// # Errors
/// The first [`Fault`].
pub fn read<T: DeserializeOwned>(node: &Node) -> Result<T, Fault> {
    T::deserialize(At { node, key: "" })
}

#[derive(Clone, Copy)]
struct At<'a> {
    node: &'a Node,
    /// The name of the field, for its unit.
    key: &'a str,
}

/// Does the name say a unit?
pub fn has_unit(key: &str) -> bool {
    key == "mode" || ["_bytes", "_millis", "_seconds", "_ms", "_bps"].iter().any(|unit| key.ends_with(unit))
}

fn number(key: &str, node: &Node) -> Option<i128> {
    if key == "mode" {
        return crate::domain::compose::mode(node).map(i128::from);
    }
    match &node.value {
        Value::Int(n) => return Some((*n).into()),
        Value::Text(_) | Value::Float(_) => {}
        _ => return None,
    }
    let text = node.source()?;
    if let Ok(number) = text.trim().parse() {
        return Some(number);
    }
    match key {
        k if k.ends_with("_bytes") => kubernetes::whole(&text).or_else(|| bytes(&text)).map(i128::from),
        k if k.ends_with("_bps") => kubernetes::whole(&text).map(i128::from),
        k if k.ends_with("_millis") => text.ends_with('m').then(|| cpu_millis(&text)).flatten().map(i128::from),
        k if k.ends_with("_ms") => duration_ms(&text).map(i128::from),
        k if k.ends_with("_seconds") => duration_ms(&text).map(|ms| i128::from(ms / 1000)),
        _ => None,
    }
}

impl<'a> At<'a> {
    fn expected(self, what: &str) -> Fault {
        let shape = if has_unit(self.key) { " (or a text with its unit)" } else { "" };
        Fault { line: self.node.line, path: String::new(), detail: format!("must be {what}{shape}, not {}", self.node.kind()) }
    }

    fn whole<T: TryFrom<i128>>(self) -> Result<T, Fault> {
        number(self.key, self.node).and_then(|n| T::try_from(n).ok()).ok_or_else(|| self.expected("a whole number that fits"))
    }

    fn text(self) -> Result<String, Fault> {
        match &self.node.value {
            Value::Null | Value::List(_) | Value::Map(_) => Err(self.expected("a text")),
            _ => self.node.scalar().ok_or_else(|| self.expected("a text")),
        }
    }
}

macro_rules! wholes {
    ($($method:ident $visit:ident $kind:ty),*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            visitor.$visit(self.whole::<$kind>()?)
        }
    )* };
}

impl<'de> Deserializer<'de> for At<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Int(n) => visitor.visit_i64(*n),
            Value::Float(raw) => visitor.visit_str(raw),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items { items: items.iter(), at: 0, key: self.key }),
            Value::Map(entries) => visitor.visit_map(Pairs { entries: entries.iter(), value: None }),
        }
    }

    wholes!(deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64, deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64);

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_bool(self.node.boolean().ok_or_else(|| self.expected("true or false"))?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let number = self.node.source().and_then(|text| text.trim().parse::<f64>().ok()).filter(|n| n.is_finite());
        visitor.visit_f64(number.ok_or_else(|| self.expected("a number"))?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_string(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_string(self.text()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.node.value == Value::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::List(_) => self.deserialize_any(visitor),
            Value::Null => visitor.visit_seq(Items { items: [].iter(), at: 0, key: "" }),
            _ => Err(self.expected("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Map(_) => self.deserialize_any(visitor),
            Value::Null => visitor.visit_map(Pairs { entries: [].iter(), value: None }),
            _ => Err(self.expected("a map")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(self, _: &'static str, _: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, _: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        let line = self.node.line;
        match &self.node.value {
            Value::Map(entries) => match entries.as_slice() {
                [entry] => visitor.visit_enum(de::value::MapAccessDeserializer::new(Pairs { entries: std::slice::from_ref(entry).iter(), value: None })),
                _ => Err(self.expected("one word, or a map with one key")),
            },
            _ => visitor.visit_enum(self.text()?.into_deserializer()).map_err(|e: Fault| e.below("", line)),
        }
    }

    serde::forward_to_deserialize_any! { i128 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any }
}

struct Items<'a> {
    items: std::slice::Iter<'a, Node>,
    at: usize,
    key: &'a str,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.items.next() else { return Ok(None) };
        let step = format!("[{}]", self.at);
        self.at += 1;
        seed.deserialize(At { node, key: self.key }).map(Some).map_err(|f| f.below(&step, node.line))
    }
}

struct Pairs<'a> {
    entries: std::slice::Iter<'a, Entry>,
    value: Option<&'a Entry>,
}

impl<'de> MapAccess<'de> for Pairs<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some(entry) = self.entries.next() else { return Ok(None) };
        self.value = Some(entry);
        let key: de::value::StrDeserializer<'_, Fault> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|f| f.below(&format!(".{}", entry.key), entry.line))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let entry = self.value.take().ok_or_else(|| de::Error::custom("a value without a key"))?;
        seed.deserialize(At { node: &entry.node, key: &entry.key }).map_err(|f| f.below(&format!(".{}", entry.key), entry.line))
    }
}
