//! Volumes, configs and secrets: the top-level sections and their use in a service.

use std::collections::{BTreeMap, BTreeSet};

use super::fields;
use crate::domain::document::Remarks;
use crate::domain::model::{File, Mount, MountKind, Workload};
use crate::domain::yaml::{Entry, Node};

/// What the document declares once and its services refer to.
#[derive(Default)]
pub struct Shared {
    volumes: BTreeSet<String>,
    /// (section, name) to content; `None`: declared but not usable here, which has been remarked.
    files: BTreeMap<(&'static str, String), Option<String>>,
}

impl Shared {
    pub fn volumes(&mut self, node: &Node, remarks: &mut Remarks) {
        for entry in node.entries().unwrap_or_default() {
            let path = format!("volumes.{}", entry.key);
            for option in entry.node.entries().unwrap_or_default() {
                let at = format!("{path}.{}", option.key);
                match option.key.as_str() {
                    "name" | "labels" => remarks.note(&at, option.line, "the platform names volumes by application"),
                    "driver" if option.node.scalar().as_deref() == Some("local") => {}
                    "driver" => remarks.unsupported(&at, option.line, "only local volumes are supported"),
                    "external" if option.node.boolean() == Some(false) => {}
                    key if key.starts_with("x-") => {}
                    _ => remarks.unsupported(&at, option.line, "is not supported"),
                }
            }
            self.volumes.insert(entry.key.clone());
        }
    }

    pub fn files(&mut self, section: &'static str, node: &Node, values: &BTreeMap<String, String>, remarks: &mut Remarks) {
        for entry in node.entries().unwrap_or_default() {
            let content = content(section, entry, values, remarks);
            self.files.insert((section, entry.key.clone()), content);
        }
    }
}

fn content(section: &str, entry: &Entry, values: &BTreeMap<String, String>, remarks: &mut Remarks) -> Option<String> {
    let path = format!("{section}.{}", entry.key);
    let mut found = None;
    for option in entry.node.entries().unwrap_or_default() {
        let at = format!("{path}.{}", option.key);
        match option.key.as_str() {
            "content" => found = Some(fields::text(&at, &option.node, remarks)),
            "environment" => match values.get(&fields::text(&at, &option.node, remarks)) {
                Some(value) => found = Some(value.clone()),
                None => remarks.wrong(&at, option.line, "that value is not given"),
            },
            "file" => remarks.unsupported(&at, option.line, "files do not come with the document: use `content` or `environment`"),
            "external" if option.node.boolean() == Some(false) => {}
            "name" | "labels" => {}
            _ => remarks.unsupported(&at, option.line, "is not supported"),
        }
    }
    if found.is_none() && entry.node.entries().is_none_or(<[_]>::is_empty) {
        remarks.wrong(&path, entry.line, "needs `content` or `environment`");
    }
    found
}

/// `volumes` of a service. Host paths are refused later to those without the right.
pub fn mounts(path: &str, node: &Node, shared: &Shared, workload: &mut Workload, remarks: &mut Remarks) {
    for (n, item) in node.list().unwrap_or_default().iter().enumerate() {
        let path = format!("{path}[{n}]");
        let mount = if item.entries().is_some() { long_mount(&path, item, remarks) } else { short_mount(&path, item, remarks) };
        let Some(mount) = mount else { continue };
        if !mount.target.starts_with('/') {
            remarks.wrong(&path, item.line, format!("the target `{}` must be an absolute path", mount.target));
        } else if mount.kind == MountKind::Volume && !mount.source.is_empty() && !shared.volumes.contains(&mount.source) {
            remarks.wrong(&path, item.line, format!("`{}` is not declared under `volumes`", mount.source));
        } else if mount.kind == MountKind::Bind && !mount.source.starts_with('/') {
            remarks.unsupported(
                &path,
                item.line,
                format!("`{}` is a path beside the document, which does not come with it: put it into the image or use `configs`", mount.source),
            );
        } else {
            workload.mounts.push(mount);
        }
    }
}

fn short_mount(path: &str, item: &Node, remarks: &mut Remarks) -> Option<Mount> {
    let text = fields::text(path, item, remarks);
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => {
            remarks.wrong(path, item.line, format!("`{text}` is not `source:target[:options]`"));
            return None;
        }
    };
    let mut read_only = false;
    for option in options.split(',').filter(|o| !o.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" => {}
            _ => remarks.unsupported(path, item.line, format!("the option `{option}` is not supported")),
        }
    }
    let kind = if source.starts_with(['/', '.', '~']) { MountKind::Bind } else { MountKind::Volume };
    Some(Mount { kind, source: source.to_owned(), target: target.to_owned(), read_only, size_bytes: 0 })
}

fn long_mount(path: &str, item: &Node, remarks: &mut Remarks) -> Option<Mount> {
    let mut mount = Mount { kind: MountKind::Volume, source: String::new(), target: String::new(), read_only: false, size_bytes: 0 };
    for entry in item.entries().unwrap_or_default() {
        let at = format!("{path}.{}", entry.key);
        match entry.key.as_str() {
            "type" => match entry.node.scalar().as_deref() {
                Some("volume") => mount.kind = MountKind::Volume,
                Some("bind") => mount.kind = MountKind::Bind,
                Some("tmpfs") => mount.kind = MountKind::Tmpfs,
                _ => {
                    remarks.unsupported(&at, entry.line, "must be volume, bind or tmpfs");
                    return None;
                }
            },
            "source" => mount.source = fields::text(&at, &entry.node, remarks),
            "target" => mount.target = fields::text(&at, &entry.node, remarks),
            "read_only" => mount.read_only = fields::boolean(&at, &entry.node, remarks),
            "tmpfs" => match entry.node.get("size") {
                Some(size) => mount.size_bytes = fields::bytes(&at, size, remarks),
                None => remarks.note(&at, entry.line, "only `size` has an effect"),
            },
            "consistency" => {}
            _ => remarks.unsupported(&at, entry.line, "is not supported"),
        }
    }
    Some(mount)
}

/// `configs` or `secrets` of a service, as files.
pub fn files(path: &str, section: &'static str, node: &Node, shared: &Shared, workload: &mut Workload, remarks: &mut Remarks) {
    let secret = section == "secrets";
    for (n, item) in node.list().unwrap_or_default().iter().enumerate() {
        let path = format!("{path}[{n}]");
        let source = item.get("source").map_or_else(|| item.scalar().unwrap_or_default(), |s| s.scalar().unwrap_or_default());
        let standard = if secret { format!("/run/secrets/{source}") } else { format!("/{source}") };
        let mut file = File { path: standard, content: String::new(), mode: if secret { 0o400 } else { 0o444 }, secret };
        for entry in item.entries().unwrap_or_default() {
            let at = format!("{path}.{}", entry.key);
            match entry.key.as_str() {
                "source" => {}
                "target" => {
                    let target = fields::text(&at, &entry.node, remarks);
                    file.path = if target.starts_with('/') { target } else { format!("{}{target}", if secret { "/run/secrets/" } else { "/" }) };
                }
                "mode" => match entry.node.scalar().and_then(|m| u32::from_str_radix(m.trim_start_matches("0o"), 8).ok()) {
                    // A plain `0440` is an octal number to YAML 1.1 and text to us: both mean the digits.
                    Some(mode) if mode <= 0o777 => file.mode = mode,
                    _ => remarks.wrong(&at, entry.line, "must be an octal mode such as \"0440\""),
                },
                "uid" | "gid" => remarks.note(&at, entry.line, "the file belongs to the container's user"),
                _ => remarks.unsupported(&at, entry.line, "is not supported"),
            }
        }
        match shared.files.get(&(section, source.clone())) {
            Some(Some(content)) => {
                file.content.clone_from(content);
                workload.files.push(file);
            }
            Some(None) => {}
            None => remarks.wrong(&path, item.line, format!("`{source}` is not declared under `{section}`")),
        }
    }
}
