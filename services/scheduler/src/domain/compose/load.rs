//! From the delivered files to one tree: each file is filled in with values, `extends` is followed, documents are laid
//! over each other, `include` is added, and services whose profile nobody wants are left out.

use std::collections::{BTreeMap, BTreeSet};

use super::env_file;
use super::merge::{canonical, merge, without_reset};
use crate::domain::document::{Document, Remarks};
use crate::domain::interpolate;
use crate::domain::yaml::{self, Entry, Node, Value};

const MAX_FILES: usize = 64;

pub struct Loader<'a> {
    document: &'a Document<'a>,
    remarks: &'a Remarks,
    /// Those of the request, then those of `.env`.
    pub values: BTreeMap<String, String>,
    /// Services that are there only for profiles which nobody asked for.
    pub left_out: BTreeSet<String>,
    /// Values that were not given, and where each is first asked for.
    missing: BTreeMap<String, u64>,
    opened: usize,
}

impl<'a> Loader<'a> {
    pub fn new(document: &'a Document<'a>, remarks: &'a Remarks) -> Self {
        let mut loader = Self { document, remarks, values: document.values.clone(), left_out: BTreeSet::new(), missing: BTreeMap::new(), opened: 0 };
        loader.add_values(".env");
        // Where the document lies, as in the shell that Compose is started from.
        loader.values.entry("PWD".into()).or_insert_with(|| ".".into());
        loader
    }

    /// Values of a file of variables; those that are known already stay.
    fn add_values(&mut self, path: &str) {
        let Some(text) = self.document.files.get(path).and_then(|f| std::str::from_utf8(f).ok()) else { return };
        match env_file::read(text, &self.values) {
            Ok(pairs) => {
                for (name, value) in pairs {
                    self.values.entry(name).or_insert(value.unwrap_or_default());
                }
            }
            Err((line, detail)) => self.remarks.wrong(path, self.remarks.file(path)(line), detail),
        }
    }

    /// The whole application as one tree. `None`: nothing could be read, and why is among the remarks.
    pub fn load(&mut self) -> Option<Node> {
        let mut root = self.tree(self.document.text, "", "")?;
        for (n, text) in self.document.overrides.iter().enumerate() {
            let over = self.tree(text, &format!("override {}", n + 1), "")?;
            root = merge(root, over, &[]);
        }
        without_reset(&mut root);
        let mut path = BTreeSet::new();
        self.include(&mut root, &mut path);
        for (name, line) in &self.missing {
            self.remarks.note("document", *line, format!("the value `{name}` is not given: an empty text stands for it"));
        }
        self.choose_profiles(&mut root);
        Some(root)
    }

    /// One document, filled in, its paths counted from the first document's folder, `extends` followed.
    fn tree(&mut self, text: &str, name: &str, folder: &str) -> Option<Node> {
        let mut root = self.parsed(text, name, folder)?;
        let services: Vec<String> = root.get("services").and_then(Node::entries).unwrap_or_default().iter().map(|e| e.key.clone()).collect();
        for service in services {
            let whole = self.extended(&root, &service, name, &mut Vec::new());
            if let (Some(whole), Some(entry)) = (whole, entry_mut(&mut root, "services", &service)) {
                entry.node = whole;
            }
        }
        Some(root)
    }

    fn parsed(&mut self, text: &str, name: &str, folder: &str) -> Option<Node> {
        let mark = |line: u64| line;
        let marked: Box<dyn Fn(u64) -> u64> = if name.is_empty() { Box::new(mark) } else { Box::new(self.remarks.file(name)) };
        let wrong = |line: u64, detail: String| {
            self.remarks.wrong("document", marked(line), detail);
            None
        };
        self.opened += 1;
        if self.opened > MAX_FILES {
            return wrong(1, format!("more than {MAX_FILES} files belong together"));
        }
        let docs = match yaml::parse(text) {
            Ok(docs) => docs,
            Err(broken) => return wrong(broken.line, broken.detail),
        };
        if let Some(other) = docs.iter().find(|d| d.entries().is_none()) {
            return wrong(other.line, format!("must be a YAML document with a map at the top, not {}", other.kind()));
        }
        let mut whole: Option<Node> = None;
        for mut root in docs {
            // What the document calls itself, unless somebody said otherwise.
            if let Some(project) = root.get("name").and_then(Node::scalar).filter(|project| name.is_empty() && !project.is_empty()) {
                let project = interpolate::interpolate(&project, &self.values, &mut Vec::new()).unwrap_or_default();
                self.values.entry("COMPOSE_PROJECT_NAME".into()).or_insert(project);
            }
            let (mut missing, mut faults) = (Vec::new(), Vec::new());
            root.map_texts(&mut |text, line| {
                let mut names = Vec::new();
                let made = interpolate::interpolate(text, &self.values, &mut names).map_err(|detail| faults.push((line, detail)));
                missing.extend(names.into_iter().map(|name| (name, marked(line))));
                made.unwrap_or_default()
            });
            // All of what is required, not one after the other.
            if let Some((line, detail)) = faults.pop() {
                for (line, detail) in faults {
                    self.remarks.wrong("document", marked(line), detail);
                }
                return wrong(line, detail);
            }
            root.map_lines(&marked);
            for (name, line) in missing {
                self.missing.entry(name).or_insert(line);
            }
            canonical(&mut root);
            rebase(&mut root, folder);
            // Further documents of one file are laid over the first, as further files are.
            whole = match whole {
                Some(base) => Some(merge(base, root, &[])),
                None => Some(root),
            };
        }
        if whole.is_none() {
            return wrong(1, "is empty: it must be a YAML document with `services` at the top".into());
        }
        whole
    }

    /// A delivered file as text.
    fn file(&self, path: &str, at: &str, line: u64) -> Option<&'a str> {
        let Some(bytes) = self.document.files.get(path) else {
            self.remarks.need(path);
            self.remarks.wrong(at, line, format!("the file `{path}` did not come with the document"));
            return None;
        };
        let text = std::str::from_utf8(bytes).ok();
        if text.is_none() {
            self.remarks.wrong(at, line, format!("the file `{path}` is no text"));
        }
        text
    }

    fn extended(&mut self, root: &Node, service: &str, file: &str, chain: &mut Vec<(String, String)>) -> Option<Node> {
        let own = root.get("services")?.get(service)?.clone();
        let Some(extends) = own.get("extends").cloned() else { return Some(own) };
        let at = format!("services.{service}.extends");
        let line = extends.line;
        let this = (file.to_owned(), service.to_owned());
        if chain.contains(&this) {
            self.remarks.wrong(&at, line, format!("`{service}` extends itself"));
            return None;
        }
        chain.push(this);
        let (base_file, base_service) = match &extends.value {
            Value::Map(entries) => {
                for entry in entries.iter().filter(|e| !matches!(e.key.as_str(), "file" | "service")) {
                    self.remarks.unsupported(&format!("{at}.{}", entry.key), entry.line, "is not supported");
                }
                let text = |key: &str| extends.get(key).and_then(Node::scalar).unwrap_or_default();
                (text("file"), text("service"))
            }
            _ => (String::new(), extends.scalar().unwrap_or_default()),
        };
        let base_service = if base_service.is_empty() { service.to_owned() } else { base_service };
        let base = if base_file.is_empty() {
            self.extended(root, &base_service, file, chain)
        } else {
            let path = inside(&base_file).or_else(|| {
                self.remarks.wrong(&at, line, format!("`{base_file}` leads out of the document's folder"));
                None
            })?;
            let text = self.file(&path, &at, line)?;
            let other = self.parsed(text, &path, folder_of(&path))?;
            self.extended(&other, &base_service, &path, chain)
        };
        let Some(mut base) = base else {
            if !self.remarks.any_wrong() {
                self.remarks.wrong(&at, line, format!("there is no service `{base_service}` to extend"));
            }
            return None;
        };
        let mut own = own;
        remove(&mut base, "extends");
        remove(&mut own, "extends");
        Some(merge(base, own, &["services", service]))
    }

    /// Adds what `include` names; nothing may be there twice.
    fn include(&mut self, root: &mut Node, path: &mut BTreeSet<String>) {
        let Some(list) = root.get("include").cloned() else { return };
        remove(root, "include");
        let items = match &list.value {
            Value::List(items) => items.clone(),
            Value::Null => Vec::new(),
            _ => {
                self.remarks.wrong("include", list.line, "must be a list of files");
                Vec::new()
            }
        };
        for (n, item) in items.iter().enumerate() {
            let at = format!("include[{n}]");
            let texts = |node: Option<&Node>| match node.map(|n| &n.value) {
                Some(Value::List(items)) => items.iter().filter_map(Node::scalar).collect(),
                Some(Value::Text(text)) => vec![text.clone()],
                _ => Vec::new(),
            };
            for entry in item.entries().unwrap_or_default().iter().filter(|e| !matches!(e.key.as_str(), "path" | "project_directory" | "env_file")) {
                self.remarks.unsupported(&format!("{at}.{}", entry.key), entry.line, "is not supported");
            }
            for key in ["path", "project_directory", "env_file"] {
                if item.get(key).is_some_and(|node| !is_texts(node)) {
                    self.remarks.wrong(&format!("{at}.{key}"), item.line, "must be a path, or a list of paths");
                }
            }
            let files = if item.entries().is_some() { texts(item.get("path")) } else { item.scalar().into_iter().collect() };
            if files.is_empty() {
                self.remarks.wrong(&at, item.line, "needs the path of a file");
            }
            let folder = item.get("project_directory").and_then(Node::scalar);
            let env_files = texts(item.get("env_file"));
            if let Some(included) = self.included(&at, item.line, &files, folder.as_deref(), &env_files, path) {
                self.add(root, included, &at, item.line);
            }
        }
    }

    fn included(&mut self, at: &str, line: u64, files: &[String], folder: Option<&str>, env_files: &[String], path: &mut BTreeSet<String>) -> Option<Node> {
        let mut whole: Option<Node> = None;
        let mut entered = Vec::new();
        let own_values = self.values.clone();
        self.standard_values(files, folder, env_files);
        for env in env_files {
            match inside(env) {
                Some(env) if self.document.files.contains_key(&env) => self.add_values(&env),
                Some(env) => {
                    let _ = self.file(&env, at, line);
                }
                None => self.remarks.wrong(at, line, format!("`{env}` leads out of the document's folder")),
            }
        }
        for file in files {
            let Some(file) = inside(file) else {
                self.remarks.wrong(at, line, format!("`{file}` leads out of the document's folder; files from elsewhere are not fetched"));
                continue;
            };
            if !path.insert(file.clone()) {
                self.remarks.wrong(at, line, format!("`{file}` includes itself"));
                continue;
            }
            entered.push(file.clone());
            let folder = folder.and_then(inside).unwrap_or_else(|| folder_of(&file).to_owned());
            let tree = self.file(&file, at, line).and_then(|text| self.tree(text, &file, &folder));
            whole = match (whole, tree) {
                (Some(base), Some(over)) => Some(merge(base, over, &[])),
                (base, over) => base.or(over),
            };
        }
        if let Some(whole) = &mut whole {
            without_reset(whole);
            self.include(whole, path);
        }
        for file in &entered {
            path.remove(file);
        }
        self.values = own_values;
        whole
    }

    /// The values of `.env` in the folder of what is included, unless it names files of its own. That of the document itself is known.
    fn standard_values(&mut self, files: &[String], folder: Option<&str>, env_files: &[String]) {
        let of_first = || files.first().and_then(|f| inside(f)).map(|f| folder_of(&f).to_owned());
        let folder = folder.and_then(inside).or_else(of_first).unwrap_or_default();
        if folder.is_empty() || !env_files.is_empty() {
            return;
        }
        let standard = format!("{folder}/.env");
        if self.document.files.contains_key(&standard) {
            self.add_values(&standard);
        } else {
            self.remarks.need(standard);
        }
    }

    fn add(&self, root: &mut Node, included: Node, at: &str, line: u64) {
        let Value::Map(sections) = included.value else { return };
        for section in sections {
            match section.key.as_str() {
                "services" | "volumes" | "networks" | "configs" | "secrets" | "models" => {}
                // Those of the document count.
                "version" | "name" => continue,
                "x-gantry" => {
                    self.remarks.unsupported("x-gantry", section.line, "counts in the document itself, not in a file that it includes");
                    continue;
                }
                key if key.starts_with("x-") => continue,
                key => {
                    self.remarks.unsupported(key, section.line, "is not supported");
                    continue;
                }
            }
            let more = match section.node.value {
                Value::Map(more) => more,
                Value::Null => continue,
                _ => {
                    self.remarks.wrong(&section.key, section.line, "must be a map");
                    continue;
                }
            };
            let Value::Map(own) = &mut root.value else { return };
            let Some(known) = own.iter_mut().find(|e| e.key == section.key) else {
                own.push(Entry { node: Node::new(section.line, Value::Map(more)), ..section });
                continue;
            };
            if known.node.value == Value::Null {
                known.node.value = Value::Map(Vec::new());
            }
            let Value::Map(known) = &mut known.node.value else { continue };
            for entry in more {
                match known.iter().find(|e| e.key == entry.key) {
                    None => known.push(entry),
                    // The same thing included twice is one.
                    Some(same) if same.node.json() == entry.node.json() => {}
                    Some(_) => self.remarks.wrong(at, line, format!("`{}.{}` is there already and differs", section.key, entry.key)),
                }
            }
        }
    }

    fn choose_profiles(&mut self, root: &mut Node) {
        let mut wanted = self.document.profiles.clone();
        if let Some(more) = self.values.get("COMPOSE_PROFILES") {
            wanted.extend(more.split(',').map(|p| p.trim().to_owned()));
        }
        let Value::Map(sections) = &mut root.value else { return };
        let Some(Value::Map(services)) = sections.iter_mut().find(|e| e.key == "services").map(|e| &mut e.node.value) else { return };
        services.retain(|service| {
            let profiles: Vec<String> = service.node.get("profiles").and_then(Node::list).unwrap_or_default().iter().filter_map(Node::scalar).collect();
            let stays = profiles.is_empty() || wanted.contains("*") || profiles.iter().any(|p| wanted.contains(p));
            if !stays {
                self.left_out.insert(service.key.clone());
                let detail = format!("is left out: none of its profiles ({}) is asked for", profiles.join(", "));
                self.remarks.note(&format!("services.{}.profiles", service.key), service.line, detail);
            }
            stays
        });
    }
}

fn entry_mut<'n>(root: &'n mut Node, section: &str, key: &str) -> Option<&'n mut Entry> {
    let Value::Map(sections) = &mut root.value else { return None };
    let Value::Map(entries) = &mut sections.iter_mut().find(|e| e.key == section)?.node.value else { return None };
    entries.iter_mut().find(|e| e.key == key)
}

/// A text or a list of texts.
fn is_texts(node: &Node) -> bool {
    node.list().map_or_else(|| node.scalar().is_some(), |items| items.iter().all(|item| item.scalar().is_some()))
}

fn remove(node: &mut Node, key: &str) {
    if let Value::Map(entries) = &mut node.value {
        entries.retain(|e| e.key != key);
    }
}

/// A path below the document's folder without `.` and `..`; `None` if it leads out, is absolute, or is an address.
pub fn inside(path: &str) -> Option<String> {
    if path.starts_with(['/', '~']) || path.contains("://") || path.contains('\\') || path.contains('\0') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Paths of a file in another folder, counted from the first document's.
fn rebase(root: &mut Node, folder: &str) {
    if folder.is_empty() {
        return;
    }
    let Value::Map(sections) = &mut root.value else { return };
    for section in sections {
        let in_services = section.key == "services";
        if section.key == "include" {
            if let Value::List(items) = &mut section.node.value {
                for item in items {
                    shift(item, folder, false);
                    for key in ["path", "project_directory", "env_file"] {
                        shift_key(item, key, folder);
                    }
                }
            }
            continue;
        }
        let Value::Map(entries) = &mut section.node.value else { continue };
        for entry in entries {
            if !in_services {
                shift_key(&mut entry.node, "file", folder);
                continue;
            }
            let Value::Map(keys) = &mut entry.node.value else { continue };
            for key in keys {
                match key.key.as_str() {
                    "env_file" | "label_file" => each(&mut key.node, |item| {
                        shift(item, folder, false);
                        shift_key(item, "path", folder);
                    }),
                    "volumes" => each(&mut key.node, |item| {
                        shift(item, folder, true);
                        if item.get("type").and_then(Node::scalar).as_deref() == Some("bind") {
                            shift_key(item, "source", folder);
                        }
                    }),
                    "extends" => shift_key(&mut key.node, "file", folder),
                    _ => {}
                }
            }
        }
    }
}

fn each(node: &mut Node, mut change: impl FnMut(&mut Node)) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(change),
        Value::Text(_) => change(node),
        _ => {}
    }
}

fn shift_key(node: &mut Node, key: &str, folder: &str) {
    if let Value::Map(entries) = &mut node.value
        && let Some(entry) = entries.iter_mut().find(|e| e.key == key)
    {
        each(&mut entry.node, |n| shift(n, folder, false));
    }
}

/// Of short volumes only those that begin with `.` are paths.
fn shift(node: &mut Node, folder: &str, dotted: bool) {
    if let Value::Text(text) = &mut node.value
        && !text.starts_with(['/', '~'])
        && (!dotted || text.starts_with('.'))
    {
        *text = format!("{}{folder}/{text}", if dotted { "./" } else { "" });
    }
}
