//! Compose files (the Compose specification) into the model. What is asked and not done is listed with its line.
//! `x-gantry` on a service adds what Compose has no word for: `routes`, `balance`, `kind`, `ready`.

mod deploy;
mod fields;
mod interpolate;
mod ports;
mod storage;
mod workload;

use std::collections::{BTreeMap, BTreeSet};

use gantry_kernel::Name;

use super::document::{Document, Parsed, Remark, Remarks};
use super::model::{Condition, Model};
use super::yaml::{self, Node, Value};

/// # Errors
/// Everything that is wrong or unsupported, with paths and lines.
pub fn read(document: &Document<'_>) -> Result<Parsed, Vec<Remark>> {
    let mut remarks = Remarks::default();
    let root = match root(document, &mut remarks) {
        Some(root) => root,
        None => return remarks.finish(Model::default(), document.allow_unsupported),
    };
    let mut model = Model::default();
    let mut shared = storage::Shared::default();
    for entry in root.entries().unwrap_or_default() {
        let line = entry.line;
        match entry.key.as_str() {
            "services" => {}
            "version" | "name" => {}
            "volumes" => shared.volumes(&entry.node, &mut remarks),
            "configs" => shared.files("configs", &entry.node, document.values, &mut remarks),
            "secrets" => shared.files("secrets", &entry.node, document.values, &mut remarks),
            "networks" => remarks.note("networks", line, "the workloads of a space share one network and find each other by name"),
            "include" => remarks.unsupported("include", line, "other files do not come with the document: merge them first (`docker compose config`)"),
            key if key.starts_with("x-") => {}
            key => remarks.unsupported(key, line, "is not supported"),
        }
    }
    match root.get("services").map(|s| (s, s.entries())) {
        Some((_, Some(services))) if !services.is_empty() => {
            for entry in services {
                let path = format!("services.{}", entry.key);
                match Name::parse(&entry.key) {
                    Ok(name) => workload::read(&path, name, &entry.node, &shared, document, &mut model, &mut remarks),
                    Err(e) => remarks.wrong(&path, entry.line, format!("a service's name {e}")),
                }
            }
        }
        _ => remarks.wrong("services", root.line, "must be a map with at least one service"),
    }
    check_dependencies(&root, &model, &mut remarks);
    check_routes(&root, &model, &mut remarks);
    remarks.finish(model, document.allow_unsupported)
}

/// The interpolated tree.
fn root(document: &Document<'_>, remarks: &mut Remarks) -> Option<Node> {
    let mut docs = match yaml::parse(document.text) {
        Ok(docs) => docs,
        Err(detail) => {
            remarks.wrong("document", 0, detail);
            return None;
        }
    };
    if docs.len() != 1 || docs[0].entries().is_none() {
        remarks.wrong("document", 1, "must be one YAML document with a map at the top");
        return None;
    }
    let mut root = docs.remove(0);
    let mut missing = Vec::new();
    if let Err((line, detail)) = root.map_texts(&mut |text| interpolate::interpolate(text, document.values, &mut missing)) {
        remarks.wrong("document", line, detail);
        return None;
    }
    missing.sort();
    missing.dedup();
    for name in missing {
        remarks.note("document", 0, format!("the value `{name}` is not given: an empty text stands for it"));
    }
    Some(root)
}

fn line_of(root: &Node, service: &Name) -> u64 {
    let services = root.get("services").and_then(Node::entries).unwrap_or_default();
    services.iter().find(|e| e.key == service.as_str()).map_or(0, |e| e.line)
}

/// Every dependency exists, none is circular, and each condition can come true.
fn check_dependencies(root: &Node, model: &Model, remarks: &mut Remarks) {
    for (name, workload) in &model.workloads {
        let path = format!("services.{name}.depends_on");
        let line = line_of(root, name);
        for (needed, condition) in &workload.depends_on {
            match model.workloads.get(needed) {
                None => remarks.wrong(&path, line, format!("there is no service `{needed}`")),
                Some(other) if *condition == Condition::Healthy && other.probes.is_empty() => {
                    remarks.wrong(&path, line, format!("`{needed}` has no healthcheck, so it never becomes healthy"));
                }
                Some(_) => {}
            }
        }
        if reaches(model, name, name, &mut BTreeSet::new()) {
            remarks.wrong(&path, line, format!("`{name}` depends on itself"));
        }
    }
}

fn reaches(model: &Model, from: &Name, to: &Name, seen: &mut BTreeSet<Name>) -> bool {
    let Some(workload) = model.workloads.get(from) else { return false };
    workload.depends_on.keys().any(|next| next == to || (seen.insert(next.clone()) && reaches(model, next, to, seen)))
}

/// No two services of the document take the same host and path, or the same published port.
fn check_routes(root: &Node, model: &Model, remarks: &mut Remarks) {
    let mut routes = BTreeMap::new();
    let mut published = BTreeMap::new();
    for service in &model.services {
        let line = line_of(root, &service.workload);
        for route in &service.routes {
            if let Some(other) = routes.insert((route.host.clone(), route.path.clone()), service.workload.clone()) {
                let path = format!("services.{}.x-gantry.routes", service.workload);
                remarks.wrong(&path, line, format!("`{}{}` already goes to `{other}`", route.host, route.path));
            }
        }
        let wanted = service.publish.map_or(0, |p| p.wanted);
        let udp = service.protocol == super::model::Protocol::Udp;
        if wanted > 0
            && let Some(other) = published.insert((wanted, udp), service.workload.clone())
        {
            remarks.wrong(&format!("services.{}.ports", service.workload), line, format!("port {wanted} is already published by `{other}`"));
        }
    }
}

/// `[a, b]` or a shell-like text into words.
fn words(path: &str, node: &Node, remarks: &mut Remarks) -> Vec<String> {
    match &node.value {
        Value::List(items) => items.iter().filter_map(Node::scalar).collect(),
        Value::Null => Vec::new(),
        Value::Map(_) => {
            remarks.wrong(path, node.line, "must be a text or a list");
            Vec::new()
        }
        _ => split_words(&node.scalar().unwrap_or_default()).unwrap_or_else(|detail| {
            remarks.wrong(path, node.line, detail);
            Vec::new()
        }),
    }
}

/// Splits like a POSIX shell does, without expanding anything.
fn split_words(text: &str) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                let word = word.get_or_insert_with(String::new);
                loop {
                    match chars.next() {
                        None => return Err(format!("the quote {c} is not closed")),
                        Some(next) if next == c => break,
                        Some('\\') if c == '"' => word.extend(chars.next()),
                        Some(next) => word.push(next),
                    }
                }
            }
            '\\' => word.get_or_insert_with(String::new).extend(chars.next()),
            c if c.is_whitespace() => out.extend(word.take()),
            c => word.get_or_insert_with(String::new).push(c),
        }
    }
    out.extend(word);
    Ok(out)
}

#[cfg(test)]
mod tests;
