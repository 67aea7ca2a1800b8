//! Compose files (the Compose specification) into the model. What is asked and not done is listed with its line.
//! `x-gantry` adds what Compose has no word for: on a service `routes`, `balance`, `kind`, `ready`; at the top `release`, and `model`, a
//! patch of the model in our own form.

mod deploy;
mod env_file;
mod export;
mod fields;

mod load;
mod merge;
mod ports;
mod storage;
mod workload;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use gantry_kernel::Name;

use super::check;
use super::document::{Document, Reading, Remarks};
use super::fields::At;
use super::model::{Model, Network, Subnet};
use super::patch;
use super::yaml::{Node, Value};

pub use export::export;
pub use storage::mode;

pub fn read(document: &Document<'_>) -> Reading {
    let remarks = Remarks::default();
    let mut model = Model::default();
    let mut loader = load::Loader::new(document, &remarks);
    if let Some(root) = loader.load() {
        let values = std::mem::take(&mut loader.values);
        whole(&root, &Document { values: &values, ..*document }, &loader.left_out, &mut model, &remarks);
    }
    Reading { model, remarks }
}

fn whole(root: &Node, document: &Document<'_>, left_out: &BTreeSet<String>, model: &mut Model, remarks: &Remarks) {
    let mut shared = storage::Shared::default();
    let links = RefCell::default();
    let mut change = None;
    for entry in root.entries().unwrap_or_default() {
        let line = entry.line;
        match entry.key.as_str() {
            "services" | "version" | "name" => {}
            "volumes" => shared.volumes(&entry.node, remarks),
            "configs" => shared.files("configs", &entry.node, document, remarks),
            "secrets" => shared.files("secrets", &entry.node, document, remarks),
            "networks" => networks(&entry.node, &mut model.networks, remarks),
            "x-gantry" => {
                change = patch_of(entry, remarks);
                if let Some(own) = entry.node.entries().unwrap_or_default().iter().find(|e| e.key == "release") {
                    let at = At { path: "x-gantry.release".into(), line: own.line, node: &own.node, remarks };
                    remarks.place("release", &at.path, own.line);
                    model.release = super::own::value(&at).unwrap_or_default();
                }
            }
            key if key.starts_with("x-") => {}
            key => remarks.unsupported(key, line, "is not supported"),
        }
    }
    match root.get("services").map(Node::entries) {
        Some(Some(services)) if !services.is_empty() => {
            let names = names(services.iter().map(|e| (e.key.as_str(), e.line)), remarks);
            // By name: an export, whose maps are sorted, reads back in the same order.
            let mut services: Vec<_> = services.iter().collect();
            services.sort_by(|a, b| a.key.cmp(&b.key));
            for entry in services {
                let Some(name) = names.get(&entry.key) else { continue };
                workload::Reader { names: &names, left_out, links: &links, shared: &shared, document, remarks }.read(&entry.key, name, entry, model);
            }
            shared.finish(model);
        }
        _ => remarks.wrong("services", root.get("services").map_or(root.line, |s| s.line), no_services(root, left_out)),
    }
    workload::finish(model, links.into_inner(), remarks);
    if let Some((node, line)) = change {
        remarks.place("", "x-gantry.model", line);
        if let Err(detail) = patch::apply(model, &node.json()) {
            remarks.wrong("x-gantry.model", line, detail);
        }
    }
    check::complete(model, document, remarks);
}

/// Why there is nothing to run.
fn no_services(root: &Node, left_out: &BTreeSet<String>) -> String {
    let is_service = |node: &Node| node.get("image").is_some() || node.get("build").is_some();
    if !left_out.is_empty() {
        let names: Vec<&str> = left_out.iter().map(String::as_str).collect();
        format!("no service is left: those of profiles that nobody asks for are left out ({})", names.join(", "))
    } else if root.get("apiVersion").is_some() && root.get("kind").is_some() {
        "is no Compose file but an object with `apiVersion` and `kind`: deploy it with the format `kubernetes` or `gantry`".into()
    } else if root.get("services").is_none() && root.entries().unwrap_or_default().iter().any(|e| is_service(&e.node)) {
        "must be a map with at least one service: what stands at the top, as in the first version of the format, belongs below it".into()
    } else {
        "must be a map with at least one service".into()
    }
}

fn patch_of<'a>(entry: &'a super::yaml::Entry, remarks: &Remarks) -> Option<(&'a Node, u64)> {
    let mut found = None;
    for option in entry.node.entries().unwrap_or_default() {
        match option.key.as_str() {
            "model" => found = Some((&option.node, option.line)),
            "release" => {}
            key => remarks.wrong(&format!("x-gantry.{key}"), option.line, "must be `model` or `release` here; `routes` and the like belong to a service"),
        }
    }
    found
}

/// Services' names as ours. Others keep their own as an alias.
fn names<'a>(keys: impl Iterator<Item = (&'a str, u64)>, remarks: &Remarks) -> BTreeMap<String, Name> {
    let mut out: BTreeMap<String, Name> = BTreeMap::new();
    for (key, line) in keys {
        let path = format!("services.{key}");
        let Some(name) = check::name_of(key) else {
            remarks.wrong(&path, line, "a service's name must have letters or digits");
            continue;
        };
        if out.values().any(|n| *n == name) {
            remarks.wrong(&path, line, format!("is called `{name}` here, and so is another service"));
            continue;
        }
        if name.as_str() != key {
            remarks.note(&path, line, format!("is called `{name}` here; `{key}` stays a name that others can use"));
        }
        out.insert(key.to_owned(), name);
    }
    out
}

fn networks(node: &Node, out: &mut BTreeMap<String, Network>, remarks: &Remarks) {
    let top = At { path: "networks".into(), line: node.line, node, remarks };
    for (name, at) in top.fields().rest() {
        at.place(format!("networks.{name}"));
        let f = at.fields();
        let mut network = Network {
            driver: f.text("driver"),
            options: f.map("driver_opts"),
            internal: f.flag("internal"),
            ipv6: f.flag("enable_ipv6"),
            ..Network::default()
        };
        if let Some(ipam) = f.below("ipam") {
            if let Some(driver) = ipam.take("driver")
                && driver.text() != "default"
            {
                driver.unsupported("addresses are given by the node's network");
            }
            for config in ipam.list("config") {
                let c = config.fields();
                network.subnets.push(Subnet { subnet: c.text("subnet"), gateway: c.text("gateway"), range: c.text("ip_range") });
                c.unsupported(&["aux_addresses"], "addresses are given by the node's network");
            }
            ipam.unsupported(&["options"], "addresses are given by the node's network");
        }
        let own = f.text("name");
        network.external = external(&f, name, &own);
        if !own.is_empty() && network.external.is_none() {
            f.remarks.note(&format!("{}.name", f.path), f.line, "has no effect here: the network is the application's own");
        }
        f.note(&["labels", "attachable"], "has no effect here");
        if let Some(at) = f.take("enable_ipv4")
            && !at.flag()
        {
            at.unsupported("networks always have addresses of IPv4");
        }
        out.insert(name.to_owned(), network);
    }
}

/// `external: true`, or a map with a name as older files have it.
fn external(f: &super::fields::Fields<'_>, key: &str, own: &str) -> Option<String> {
    let at = f.take("external")?;
    let other = at.node.get("name").and_then(Node::scalar);
    let is = other.is_some() || at.flag();
    is.then(|| other.unwrap_or_else(|| if own.is_empty() { key.to_owned() } else { own.to_owned() }))
}

/// Names in a list or a map.
fn listed(node: &Node) -> BTreeSet<String> {
    match &node.value {
        Value::Map(entries) => entries.iter().map(|e| e.key.clone()).collect(),
        Value::List(items) => items.iter().filter_map(Node::scalar).collect(),
        _ => BTreeSet::new(),
    }
}

/// `[a, b]` or a shell-like text into words.
fn words(path: &str, node: &Node, remarks: &Remarks) -> Vec<String> {
    match &node.value {
        Value::List(items) => items.iter().map(|item| fields::text(path, item, remarks)).collect(),
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
