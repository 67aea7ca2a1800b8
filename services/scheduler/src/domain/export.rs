//! Documents of any format: read into a model, and a model made into one. What the format has no word for goes along as a patch in our
//! own form, so that reading the document gives exactly this model again.

use serde_json::{Map, Value};

use super::document::{Document, Reading};
use super::model::Model;
use super::{compose, kubernetes, own};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Compose,
    Kubernetes,
    Gantry,
}

impl Format {
    pub const ALL: [&'static str; 3] = ["compose", "kubernetes", "gantry"];

    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "compose" => Some(Self::Compose),
            "kubernetes" => Some(Self::Kubernetes),
            "gantry" => Some(Self::Gantry),
            _ => None,
        }
    }

    pub fn read(self, document: &Document<'_>) -> Reading {
        match self {
            Self::Compose => compose::read(document),
            Self::Kubernetes => kubernetes::read(document),
            Self::Gantry => own::read(document),
        }
    }
}

pub fn export(format: Format, name: &str, model: &Model) -> String {
    let model = wanted(model);
    let text = match format {
        Format::Compose => compose::export(name, &model),
        Format::Kubernetes => kubernetes::export(&model),
        Format::Gantry => own::export(name, &model),
    };
    revealed(&text)
}

/// The model as a document asks for it: without what the platform has added.
pub fn wanted(model: &Model) -> Model {
    let mut model = model.clone();
    for workload in model.workloads.values_mut() {
        workload.pinned = None;
        workload.others_mut().for_each(|c| c.pinned = None);
    }
    model.configs.values_mut().for_each(|c| c.pinned = None);
    for service in &mut model.services {
        if let Some(publish) = &mut service.publish {
            publish.listen = 0;
        }
        if let Some(publish) = service.preview.as_mut().and_then(|p| p.publish.as_mut()) {
            publish.listen = 0;
        }
    }
    model
}

/// Around the name of a value that is not shown; in no text that people write.
const MARK: char = '\u{e000}';

/// Secrets' contents replaced by the names of values: `${DB_PASSWORD}` is to be given when the document is deployed.
pub fn hidden(model: &Model) -> Model {
    let mut model = model.clone();
    let placeholder = |source: &str| {
        let clean: String = source.trim_end_matches("/content").chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
        format!("{MARK}{clean}{MARK}")
    };
    for (name, config) in model.configs.iter_mut().filter(|(_, c)| c.secret && c.external.is_none()) {
        for (key, value) in config.entries.iter_mut().chain(config.binary.iter_mut()) {
            *value = placeholder(&format!("{name}/{key}"));
        }
    }
    let configs = model.configs.clone();
    let secret = |source: &str| source.split_once('/').and_then(|(config, _)| configs.get(config)).is_some_and(|c| c.secret && c.external.is_none());
    let hide =
        |env: &mut std::collections::BTreeMap<String, String>, sources: &std::collections::BTreeMap<String, String>, files: &mut Vec<super::model::File>| {
            for (variable, source) in sources.iter().filter(|(_, s)| secret(s)) {
                env.insert(variable.clone(), placeholder(source));
            }
            for file in files.iter_mut().filter(|f| f.secret) {
                file.content = placeholder(if file.source.is_empty() { &file.path } else { &file.source });
                file.base64 = false;
            }
        };
    for workload in model.workloads.values_mut() {
        hide(&mut workload.env, &workload.env_sources, &mut workload.files);
        for container in workload.init.iter_mut().chain(&mut workload.sidecars) {
            hide(&mut container.env, &container.env_sources, &mut container.files);
        }
    }
    model
}

fn revealed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        match (c, inside) {
            (MARK, false) => out.push_str("${"),
            (MARK, true) => out.push('}'),
            (c, _) => out.push(c),
        }
        inside ^= c == MARK;
    }
    out
}

/// A map that leaves out what says nothing.
#[derive(Default)]
pub struct Fields(Map<String, Value>);

impl Fields {
    pub fn put(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        let empty = match &value {
            Value::Null => true,
            Value::Bool(b) => !b,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Number(n) => n.as_u64() == Some(0),
        };
        if !empty {
            self.0.insert(key.to_owned(), value);
        }
    }

    /// Even if it is zero or false.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }
}

impl From<Fields> for Value {
    fn from(fields: Fields) -> Self {
        Value::Object(fields.0)
    }
}

/// Any serialisable part as JSON.
pub fn json<T: serde::Serialize>(part: &T) -> Value {
    serde_json::to_value(part).unwrap_or_default()
}

#[cfg(test)]
mod tests;
