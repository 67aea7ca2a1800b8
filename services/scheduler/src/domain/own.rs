//! Our own typed form: `apiVersion: gantry.io/v1`, `kind: Application`, and the model as `spec`. Its schema is
//! `schemas/application.json`. `${...}` is filled in as in Compose; sizes and times may be written with their units.

mod de;

use std::collections::BTreeMap;

use gantry_kernel::Name;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::check;
use super::document::{Document, Reading, Remarks};
use super::fields::{At, Fields};
use super::interpolate::interpolate;
use super::model::Model;
use super::yaml::{self, Node, Value};

pub const API: &str = "gantry.io/v1";
pub const KIND: &str = "Application";

pub fn read(document: &Document<'_>) -> Reading {
    let remarks = Remarks::default();
    let mut model = Model::default();
    if let Some(root) = root(document, &remarks) {
        whole(&root, &mut model, &remarks);
        check::complete(&mut model, document, &remarks);
    }
    Reading { model, remarks }
}

fn root(document: &Document<'_>, remarks: &Remarks) -> Option<Node> {
    let mut docs = match yaml::parse(document.text) {
        Ok(docs) => docs,
        Err(broken) => {
            remarks.wrong("document", broken.line, broken.detail);
            return None;
        }
    };
    if docs.len() != 1 || docs[0].entries().is_none() {
        remarks.wrong("document", 1, "must be one YAML document with a map at the top");
        return None;
    }
    let mut root = docs.remove(0);
    let (mut missing, mut faults) = (BTreeMap::new(), Vec::new());
    root.map_texts(&mut |text, line| {
        let mut names = Vec::new();
        let made = interpolate(text, document.values, &mut names).map_err(|detail| faults.push((line, detail)));
        for name in names {
            missing.entry(name).or_insert(line);
        }
        made.unwrap_or_default()
    });
    if !faults.is_empty() {
        faults.into_iter().for_each(|(line, detail)| remarks.wrong("document", line, detail));
        return None;
    }
    for (name, line) in missing {
        remarks.note("document", line, format!("the value `{name}` is not given: an empty text stands for it"));
    }
    Some(root)
}

fn whole(root: &Node, model: &mut Model, remarks: &Remarks) {
    let at = At { path: String::new(), line: root.line, node: root, remarks };
    let f = at.fields();
    for (key, wanted) in [("apiVersion", API), ("kind", KIND)] {
        match f.take(key) {
            Some(at) if at.text() == wanted => {}
            Some(at) => at.wrong(format!("must be {wanted}")),
            None => remarks.wrong(key, root.line, format!("must be {wanted}")),
        }
    }
    if let Some(metadata) = f.below("metadata") {
        metadata.skip(&["name"]);
        metadata.note(&["labels", "annotations"], "has no effect here");
    }
    let Some(spec) = f.take("spec") else {
        remarks.wrong("spec", root.line, "is needed");
        return;
    };
    places(&spec, "", 0);
    let spec = spec.fields();
    model.workloads = named(&spec, "workloads");
    model.services = spec.list("services").iter().filter_map(value).collect();
    model.volumes = texts(&spec, "volumes");
    model.configs = texts(&spec, "configs");
    model.networks = texts(&spec, "networks");
    model.policies = texts(&spec, "policies");
    model.outside = named(&spec, "outside");
    model.release = spec.take("release").and_then(|at| value(&at)).unwrap_or_default();
    // Names for what runs elsewhere are something to others in the space, also by themselves.
    if model.workloads.is_empty() && model.outside.is_empty() && !remarks.any_wrong() {
        remarks.wrong("spec.workloads", spec.line, "needs at least one workload, unless `outside` names services that run elsewhere");
    }
}

/// Each entry by itself, so that one fault does not hide the next.
fn named<T: DeserializeOwned>(spec: &Fields<'_>, key: &str) -> BTreeMap<Name, T> {
    let mut out = BTreeMap::new();
    for (name, at) in spec.below(key).map(|f| f.rest()).unwrap_or_default() {
        match Name::parse(name) {
            Ok(name) => out.extend(value(&at).map(|v| (name, v))),
            Err(e) => at.wrong(format!("a name {e}")),
        }
    }
    out
}

fn texts<T: DeserializeOwned>(spec: &Fields<'_>, key: &str) -> BTreeMap<String, T> {
    let entries = spec.below(key).map(|f| f.rest()).unwrap_or_default();
    entries.into_iter().filter_map(|(name, at)| Some((name.to_owned(), value(&at)?))).collect()
}

/// Any part of the model in our own form, wherever it stands.
pub fn value<T: DeserializeOwned>(at: &At<'_>) -> Option<T> {
    match de::read(at.node) {
        Ok(value) => Some(value),
        Err(fault) => {
            let line = if fault.line > 0 { fault.line } else { at.line };
            at.remarks.wrong(&format!("{}{}", at.path, fault.path), line, fault.detail);
            None
        }
    }
}

/// The form's paths are the model's.
fn places(at: &At<'_>, model_path: &str, depth: usize) {
    let join = |key: &str| if model_path.is_empty() { key.to_owned() } else { format!("{model_path}.{key}") };
    if depth > 6 {
        return;
    }
    match &at.node.value {
        Value::Map(entries) => {
            for entry in entries {
                let below = At { path: format!("{}.{}", at.path, entry.key), line: entry.line, node: &entry.node, remarks: at.remarks };
                below.place(join(&entry.key));
                places(&below, &join(&entry.key), depth + 1);
            }
        }
        Value::List(items) => {
            for (n, item) in items.iter().enumerate() {
                let below = At { path: format!("{}[{n}]", at.path), line: item.line, node: item, remarks: at.remarks };
                below.place(format!("{model_path}[{n}]"));
                places(&below, &format!("{model_path}[{n}]"), depth + 1);
            }
        }
        _ => {}
    }
}

/// The document that reads back as `model`.
pub fn export(name: &str, model: &Model) -> String {
    let mut spec = serde_json::to_value(model).unwrap_or_default();
    escape(&mut spec);
    forget_contents(&mut spec);
    yaml::to_yaml(&json!({ "apiVersion": API, "kind": KIND, "metadata": { "name": name }, "spec": spec }))
}

/// What comes from a config is written there alone.
fn forget_contents(spec: &mut Json) {
    match spec {
        Json::Object(map) => {
            if map.get("source").and_then(Json::as_str).is_some_and(|s| !s.is_empty()) && map.contains_key("content") && map.contains_key("mode") {
                map.remove("content");
                map.remove("base64");
                map.remove("secret");
            }
            let filled: Vec<String> = map.get("env_sources").and_then(Json::as_object).map(|m| m.keys().cloned().collect()).unwrap_or_default();
            if let Some(env) = map.get_mut("env").and_then(Json::as_object_mut) {
                env.retain(|name, _| !filled.contains(name));
            }
            map.values_mut().for_each(forget_contents);
        }
        Json::Array(items) => items.iter_mut().for_each(forget_contents),
        _ => {}
    }
}

/// `$` would be filled in when it is read back.
pub fn escape(value: &mut Json) {
    match value {
        Json::String(text) if text.contains('$') => *text = text.replace('$', "$$"),
        Json::Object(map) => map.values_mut().for_each(escape),
        Json::Array(items) => items.iter_mut().for_each(escape),
        _ => {}
    }
}

/// What a document of this form looks like, for its schema.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its shape is used")]
struct Application {
    /// gantry.io/v1
    #[serde(rename = "apiVersion")]
    api_version: String,
    /// Application
    kind: String,
    metadata: Metadata,
    spec: Model,
}

#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its shape is used")]
struct Metadata {
    name: Name,
}

/// The JSON schema, with sizes and times also as texts.
pub fn schema() -> Json {
    let mut schema = serde_json::to_value(schemars::schema_for!(Application)).unwrap_or_default();
    with_units(&mut schema);
    schema
}

fn with_units(value: &mut Json) {
    match value {
        Json::Object(map) => {
            if let Some(properties) = map.get_mut("properties").and_then(Json::as_object_mut) {
                for (name, property) in properties.iter_mut() {
                    let whole = property["type"] == "integer";
                    if whole && de::has_unit(name) {
                        property["type"] = json!(["integer", "string"]);
                    }
                }
            }
            map.values_mut().for_each(with_units);
        }
        Json::Array(items) => items.iter_mut().for_each(with_units),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
