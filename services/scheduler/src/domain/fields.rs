//! Reading a map field by field so that nothing is dropped silently: what nobody has asked for when the reading ends is
//! listed as unsupported, with its path and line.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::document::Remarks;
use super::yaml::{Entry, Node, Value};

/// A map that is being read.
pub struct Fields<'a> {
    pub path: String,
    pub line: u64,
    entries: &'a [Entry],
    read: RefCell<BTreeSet<&'a str>>,
    pub remarks: &'a Remarks,
}

/// One value and where it stands.
#[derive(Clone)]
pub struct At<'a> {
    pub path: String,
    pub line: u64,
    pub node: &'a Node,
    pub remarks: &'a Remarks,
}

impl<'a> Fields<'a> {
    /// Anything but a map is wrong; nothing at all is an empty map.
    pub fn of(at: &At<'a>) -> Self {
        let entries = match &at.node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null => &[],
            _ => {
                at.wrong(format!("must be a map, not {}", at.node.kind()));
                &[]
            }
        };
        Self { path: at.path.clone(), line: at.line, entries, read: RefCell::default(), remarks: at.remarks }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn at(&self, entry: &'a Entry) -> At<'a> {
        At { path: self.path_of(&entry.key), line: entry.line, node: &entry.node, remarks: self.remarks }
    }

    /// The value of a key; an explicit nothing counts as not there.
    pub fn take(&self, key: &str) -> Option<At<'a>> {
        let entry = self.entries.iter().find(|e| e.key == key)?;
        self.read.borrow_mut().insert(&entry.key);
        (entry.node.value != Value::Null).then(|| self.at(entry))
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|e| e.key == key && e.node.value != Value::Null)
    }

    pub fn text(&self, key: &str) -> String {
        self.take(key).map(|at| at.text()).unwrap_or_default()
    }

    pub fn flag(&self, key: &str) -> bool {
        self.take(key).is_some_and(|at| at.flag())
    }

    pub fn number(&self, key: &str, max: u32) -> Option<u32> {
        self.take(key).and_then(|at| at.number(max))
    }

    pub fn list(&self, key: &str) -> Vec<At<'a>> {
        self.take(key).map(|at| at.list()).unwrap_or_default()
    }

    pub fn texts(&self, key: &str) -> Vec<String> {
        self.take(key).map(|at| at.texts()).unwrap_or_default()
    }

    pub fn map(&self, key: &str) -> BTreeMap<String, String> {
        self.take(key).map(|at| at.map()).unwrap_or_default()
    }

    /// A map below, read in the same way.
    pub fn below(&self, key: &str) -> Option<Fields<'a>> {
        self.take(key).map(|at| at.fields())
    }

    /// Every key that has not been read yet, read now: for maps whose keys are names.
    pub fn rest(&self) -> Vec<(&'a str, At<'a>)> {
        let unread: Vec<&Entry> = self.entries.iter().filter(|e| !self.read.borrow().contains(e.key.as_str())).collect();
        self.read.borrow_mut().extend(unread.iter().map(|e| e.key.as_str()));
        unread.into_iter().map(|e| (e.key.as_str(), self.at(e))).collect()
    }

    /// Keys that mean nothing to anybody here.
    pub fn skip(&self, keys: &[&str]) {
        for key in keys {
            let _ = self.take(key);
        }
    }

    /// Keys without effect, and why that is right.
    pub fn note(&self, keys: &[&str], detail: &str) {
        for key in keys {
            if let Some(at) = self.take(key) {
                at.note(detail);
            }
        }
    }

    pub fn unsupported(&self, keys: &[&str], detail: &str) {
        for key in keys {
            if let Some(at) = self.take(key) {
                at.unsupported(detail);
            }
        }
    }
}

impl Drop for Fields<'_> {
    fn drop(&mut self) {
        for (key, at) in self.rest() {
            if !key.starts_with("x-") {
                at.unsupported("is not supported");
            }
        }
    }
}

impl<'a> At<'a> {
    pub fn wrong(&self, detail: impl Into<String>) {
        self.remarks.wrong(&self.path, self.line, detail);
    }

    pub fn unsupported(&self, detail: impl Into<String>) {
        self.remarks.unsupported(&self.path, self.line, detail);
    }

    pub fn note(&self, detail: impl Into<String>) {
        self.remarks.note(&self.path, self.line, detail);
    }

    /// The model's `path` comes from here.
    pub fn place(&self, model_path: impl Into<String>) {
        self.remarks.place(model_path, &self.path, self.line);
    }

    pub fn fields(&self) -> Fields<'a> {
        Fields::of(self)
    }

    pub fn text(&self) -> String {
        self.node.scalar().unwrap_or_else(|| {
            self.wrong(format!("must be a text, not {}", self.node.kind()));
            String::new()
        })
    }

    pub fn flag(&self) -> bool {
        self.node.boolean().unwrap_or_else(|| {
            self.wrong(format!("must be true or false, not {}", self.node.kind()));
            false
        })
    }

    pub fn number(&self, max: u32) -> Option<u32> {
        let found = self.node.integer().and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= max);
        if found.is_none() {
            self.wrong(format!("must be a whole number from 0 to {max}"));
        }
        found
    }

    pub fn list(&self) -> Vec<At<'a>> {
        match &self.node.value {
            Value::List(items) => {
                let item = |(n, node): (usize, &'a Node)| At { path: format!("{}[{n}]", self.path), line: node.line, node, remarks: self.remarks };
                items.iter().enumerate().map(item).collect()
            }
            Value::Null => Vec::new(),
            _ => {
                self.wrong(format!("must be a list, not {}", self.node.kind()));
                Vec::new()
            }
        }
    }

    pub fn texts(&self) -> Vec<String> {
        self.list().iter().map(At::text).collect()
    }

    /// A map of texts.
    pub fn map(&self) -> BTreeMap<String, String> {
        self.fields().rest().into_iter().map(|(key, at)| (key.to_owned(), at.text())).collect()
    }

    /// One of `words`, as its number.
    pub fn one_of(&self, words: &[&str]) -> Option<usize> {
        let text = self.text();
        let found = words.iter().position(|w| *w == text);
        if found.is_none() {
            self.wrong(format!("must be one of {}", words.join(", ")));
        }
        found
    }

    /// Reads with `parse`, or says what it should look like.
    pub fn parsed<T>(&self, parse: impl Fn(&str) -> Option<T>, shape: &str) -> Option<T> {
        let found = self.node.source().as_deref().and_then(parse);
        if found.is_none() {
            self.wrong(format!("must be {shape}"));
        }
        found
    }
}
