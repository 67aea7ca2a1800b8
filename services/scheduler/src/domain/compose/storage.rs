//! Volumes, configs and secrets: the top-level sections and their use in a service.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::fields;
use super::load::inside;
use crate::domain::document::{Document, Remarks};
use crate::domain::fields::At;
use crate::domain::kept;
use crate::domain::model::{Config, File, Model, Mount, MountKind, Volume, Workload};
use crate::domain::yaml::{Entry, Node, Value};

/// What the document declares once and its services refer to.
#[derive(Default)]
pub struct Shared {
    volumes: BTreeMap<String, Volume>,
    /// (section, name) to content; `None`: declared but not usable here, which has been remarked.
    files: BTreeMap<(&'static str, String), Option<Vec<u8>>>,
    /// Those that are the space's: by (section, name).
    external: BTreeMap<(&'static str, String), External>,
}

/// A config or secret of the space, as the document declares it.
struct External {
    name: String,
    version: Option<u32>,
    keys: BTreeSet<String>,
}

impl Shared {
    pub fn volumes(&mut self, node: &Node, remarks: &Remarks) {
        let top = At { path: "volumes".into(), line: node.line, node, remarks };
        for (name, at) in top.fields().rest() {
            at.place(format!("volumes.{name}"));
            let f = at.fields();
            let mut volume = Volume { labels: f.take("labels").map(|l| labels(&l)).unwrap_or_default(), options: f.map("driver_opts"), ..Volume::default() };
            let driver = f.text("driver");
            if driver != "local" {
                volume.driver = driver;
            }
            let own = f.text("name");
            volume.external = super::external(&f, name, &own);
            if !own.is_empty() && volume.external.is_none() {
                f.remarks.note(&format!("{}.name", f.path), f.line, "the platform names volumes by application");
            }
            self.volumes.insert(name.to_owned(), volume);
        }
    }

    pub fn files(&mut self, section: &'static str, node: &Node, document: &Document<'_>, remarks: &Remarks) {
        for entry in fields::entries(section, node, remarks) {
            let key = (section, entry.key.clone());
            let own = entry.node.get("name").and_then(Node::scalar).unwrap_or_default();
            let at = At { path: format!("{section}.{}", entry.key), line: entry.line, node: &entry.node, remarks };
            match declared_external(&entry.node, &entry.key, own) {
                Some(name) => {
                    beside_external(&at);
                    let found = external(section, &name, document).map_err(|detail| at.unsupported(detail)).ok();
                    self.files.insert(key.clone(), None);
                    self.external.extend(found.map(|e| (key, e)));
                }
                None => {
                    let content = content(section, entry, document, remarks);
                    self.files.insert(key, content);
                }
            }
        }
    }

    /// Volumes that are mounted, and configs that are used, become the model's.
    pub fn finish(self, model: &mut Model) {
        let used: BTreeSet<String> =
            model.workloads.values().flat_map(|w| &w.mounts).filter(|m| m.kind == MountKind::Volume).map(|m| m.source.clone()).collect();
        for (name, volume) in self.volumes {
            if used.contains(&name) || volume != Volume::default() {
                model.volumes.insert(name, volume);
            }
        }
        for ((section, name), content) in self.files {
            let Some(content) = content else { continue };
            let config = model.configs.entry(config_name(section, &name)).or_insert_with(|| Config { secret: section == "secrets", ..Config::default() });
            match String::from_utf8(content) {
                Ok(text) => drop(config.entries.insert(CONTENT.into(), text)),
                Err(bytes) => drop(config.binary.insert(CONTENT.into(), STANDARD.encode(bytes.as_bytes()))),
            }
        }
        for ((section, name), external) in self.external {
            let entries = external.keys.into_iter().map(|key| (key, String::new())).collect();
            let config = Config { secret: section == "secrets", entries, external: Some(external.name), version: external.version, ..Config::default() };
            model.configs.insert(config_name(section, &name), config);
        }
    }
}

/// Where secrets are shown.
const SECRETS: &str = "/run/secrets/";

const EMPTY: &str = "a new volume is empty in any case";

/// The one key of a Compose config or secret.
const CONTENT: &str = "content";

/// Configs and secrets may have the same name in Compose and not in the model.
fn config_name(section: &str, name: &str) -> String {
    if section == "secrets" { format!("{name}.secret") } else { name.to_owned() }
}

pub fn labels(at: &At<'_>) -> BTreeMap<String, String> {
    match &at.node.value {
        Value::List(_) => at.texts().iter().map(|t| t.split_once('=').unwrap_or((t, ""))).map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        _ => at.map(),
    }
}

fn content(section: &str, entry: &Entry, document: &Document<'_>, remarks: &Remarks) -> Option<Vec<u8>> {
    let path = format!("{section}.{}", entry.key);
    let mut found = None;
    let mut told = false;
    for option in fields::entries(&path, &entry.node, remarks) {
        let at = format!("{path}.{}", option.key);
        match option.key.as_str() {
            "content" => found = Some(fields::text(&at, &option.node, remarks).into_bytes()),
            "environment" => {
                let name = fields::text(&at, &option.node, remarks);
                match document.values.get(&name) {
                    Some(value) => found = Some(value.clone().into_bytes()),
                    None => remarks.wrong(&at, option.line, format!("the value `{name}` is not given")),
                }
                told = true;
            }
            "file" => {
                found = delivered(&at, option.line, &fields::text(&at, &option.node, remarks), document, remarks).cloned();
                told = true;
            }
            "external" => {}
            "name" | "labels" => remarks.note(&at, option.line, "has no effect here: it is the application's own"),
            _ => fields::unknown(&at, option, remarks),
        }
    }
    if found.is_none() && !told {
        remarks.wrong(&path, entry.line, "needs `content`, `file`, `environment` or `external: true`");
    }
    found
}

/// `external: true`, or a map with a name as older files have it.
fn declared_external(node: &Node, key: &str, own: String) -> Option<String> {
    let said = node.get("external")?;
    let other = said.get("name").and_then(Node::scalar);
    let is = other.is_some() || said.boolean() == Some(true);
    is.then(|| other.unwrap_or_else(|| if own.is_empty() { key.to_owned() } else { own }))
}

/// What is the space's has its contents, labels and the rest from there.
fn beside_external(at: &At<'_>) {
    let f = at.fields();
    f.skip(&["external", "name"]);
    f.note(&["labels"], "has no effect here: it is the space's");
    f.unsupported(&["content", "environment", "file"], "has no effect beside `external`: the space has the contents");
}

/// What the space has under `<name>` or `<name>@<version>`.
fn external(section: &str, name: &str, document: &Document<'_>) -> Result<External, String> {
    let (name, version) = match name.split_once('@') {
        Some((name, version)) => {
            let number = version.parse::<u32>().ok().filter(|n| *n > 0);
            (name, Some(number.ok_or_else(|| format!("`{version}` is no version: write `name: {name}@3`"))?))
        }
        None => (name, None),
    };
    let secret = section == "secrets";
    match document.kept.get(&(name.to_owned(), secret)) {
        Some(keys) => Ok(External { name: name.to_owned(), version, keys: keys.clone() }),
        None if !document.kept.contains_key(&(name.to_owned(), !secret)) => Err(kept::missing(name, secret)),
        None if secret => Err(format!("`{name}` of the space is a config, not a secret: declare it under `configs`")),
        None => Err(format!("`{name}` of the space is a secret, not a config: declare it under `secrets`")),
    }
}

/// A file that came with the document.
pub fn delivered<'d>(at: &str, line: u64, path: &str, document: &Document<'d>, remarks: &Remarks) -> Option<&'d Vec<u8>> {
    let Some(inside) = inside(path) else {
        remarks.unsupported(at, line, format!("`{path}` lies outside of the document's folder and does not come with it"));
        return None;
    };
    let found = document.files.get(&inside);
    if found.is_none() {
        remarks.need(&inside);
        remarks.unsupported(at, line, format!("the file `{inside}` did not come with the document"));
    }
    found
}

/// A path of the document's folder as files of the container: copied at each deployment. False: nothing of it came along.
fn copies(source: &str, mount: &Mount, document: &Document<'_>, workload: &mut Workload) -> bool {
    let file = |path: String, bytes: &Vec<u8>| {
        // Documents bring no modes along; what begins like this is there to be run.
        let mode = if bytes.starts_with(b"#!") { 0o555 } else { 0o444 };
        let (content, base64) = match std::str::from_utf8(bytes) {
            Ok(text) => (text.to_owned(), false),
            Err(_) => (STANDARD.encode(bytes), true),
        };
        File { path, content, base64, mode, ..File::default() }
    };
    if let Some(bytes) = document.files.get(source) {
        workload.files.push(file(mount.target.clone(), bytes));
        return true;
    }
    let folder = if source.is_empty() { String::new() } else { format!("{source}/") };
    let below = document.files.iter().filter_map(|(path, bytes)| Some((path.strip_prefix(&folder)?, bytes)));
    let before = workload.files.len();
    workload.files.extend(below.map(|(path, bytes)| file(format!("{}/{path}", mount.target.trim_end_matches('/')), bytes)));
    workload.files.len() > before
}

/// `volumes` of a service. Host paths are refused later to those without the right.
pub fn mounts(path: &str, node: &Node, shared: &Shared, document: &Document<'_>, workload: &mut Workload, remarks: &Remarks) {
    for (n, item) in fields::items(path, node, remarks).iter().enumerate() {
        let path = format!("{path}[{n}]");
        let mount = if item.entries().is_some() { long_mount(&path, item, remarks) } else { short_mount(&path, item, remarks) };
        let Some(mut mount) = mount else { continue };
        let line = item.line;
        if mount.kind == MountKind::Bind {
            if mount.source.is_empty() {
                remarks.wrong(&path, line, "needs the path of a file or folder as its source");
                continue;
            }
            if has_drive(&mount.source) {
                remarks.unsupported(&path, line, format!("`{}` is a path of Windows: nodes run Linux", mount.source));
                continue;
            }
            // Written on Windows, but a path of the document's folder all the same.
            if mount.source.starts_with('.') {
                mount.source = mount.source.replace('\\', "/");
            }
        }
        if mount.kind == MountKind::Volume && !mount.source.is_empty() && !shared.volumes.contains_key(&mount.source) {
            remarks.wrong(&path, line, format!("`{}` is not declared under `volumes`", mount.source));
        } else if mount.kind == MountKind::Bind && !mount.source.starts_with('/') {
            let Some(inside) = inside(&mount.source) else {
                remarks.unsupported(&path, line, format!("`{}` lies outside of the document's folder and does not come with it", mount.source));
                continue;
            };
            if !copies(&inside, &mount, document, workload) {
                remarks.need(if inside.is_empty() { "." } else { &inside });
                remarks.unsupported(&path, line, format!("`{}` lies beside the document and did not come with it", mount.source));
            } else if !mount.read_only {
                remarks.note(&path, line, "the files are copied when the document is deployed, and cannot be changed from inside");
            }
        } else {
            workload.mounts.push(mount);
        }
    }
}

/// `C:\data` or `C:/data`.
fn has_drive(path: &str) -> bool {
    matches!(path.as_bytes(), [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic())
}

/// The parts between colons; the one after a drive's letter belongs to its path.
fn parts(text: &str) -> Vec<&str> {
    let colons: Vec<usize> = text.match_indices(':').map(|(at, _)| at).collect();
    let drive = match colons.as_slice() {
        // A volume of one letter is called like a drive, unless what follows is no target.
        [1, rest @ ..] if has_drive(text) => text[2..].starts_with('\\') || rest.first().is_some_and(|next| text[next + 1..].starts_with('/')),
        _ => false,
    };
    let Some(next) = colons.get(1).filter(|_| drive) else {
        return if drive { vec![text] } else { text.split(':').collect() };
    };
    std::iter::once(&text[..*next]).chain(text[next + 1..].split(':')).collect()
}

fn short_mount(path: &str, item: &Node, remarks: &Remarks) -> Option<Mount> {
    let text = fields::text(path, item, remarks);
    let (source, target, options) = match parts(&text)[..] {
        [target] => ("", target, ""),
        // As of `${DATA}:/data` when nobody says what it is.
        ["", ..] => {
            remarks.wrong(path, item.line, format!("`{text}` names nothing before the `:`"));
            return None;
        }
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => {
            remarks.wrong(path, item.line, format!("`{text}` is not `source:target[:options]`"));
            return None;
        }
    };
    let kind = if source.starts_with(['/', '.', '~']) || has_drive(source) { MountKind::Bind } else { MountKind::Volume };
    let mut mount = Mount::new(kind, source, target);
    for option in options.split(',').filter(|o| !o.is_empty()) {
        match option {
            "ro" => mount.read_only = true,
            "rw" => {}
            "z" | "Z" | "cached" | "delegated" | "consistent" => remarks.note(path, item.line, format!("the option `{option}` has no effect here")),
            "nocopy" => remarks.note(path, item.line, EMPTY),
            "shared" | "rshared" | "slave" | "rslave" | "private" | "rprivate" => mount.propagation = option.to_owned(),
            _ => remarks.unsupported(path, item.line, format!("the option `{option}` is not supported")),
        }
    }
    Some(mount)
}

fn long_mount(path: &str, item: &Node, remarks: &Remarks) -> Option<Mount> {
    let mut mount = Mount::new(MountKind::Volume, "", "");
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
            "tmpfs" | "volume" | "bind" => options(&at, entry, &mut mount, remarks),
            "consistency" => remarks.note(&at, entry.line, "has no effect here"),
            _ => fields::unknown(&at, entry, remarks),
        }
    }
    Some(mount)
}

fn options(path: &str, entry: &Entry, mount: &mut Mount, remarks: &Remarks) {
    for option in fields::entries(path, &entry.node, remarks) {
        let at = format!("{path}.{}", option.key);
        match (entry.key.as_str(), option.key.as_str()) {
            ("tmpfs", "size") => mount.size_bytes = fields::bytes(&at, &option.node, remarks),
            ("tmpfs", "mode") => remarks.note(&at, option.line, "everybody in the container may write there"),
            ("volume", "subpath") => mount.sub_path = fields::text(&at, &option.node, remarks),
            ("volume", "nocopy") => remarks.note(&at, option.line, EMPTY),
            ("bind", "propagation") => mount.propagation = fields::text(&at, &option.node, remarks),
            ("bind", "create_host_path" | "selinux") => remarks.note(&at, option.line, "has no effect here"),
            _ => fields::unknown(&at, option, remarks),
        }
    }
}

/// `configs` or `secrets` of a service, as files.
pub fn files(path: &str, section: &'static str, node: &Node, shared: &Shared, workload: &mut Workload, remarks: &Remarks) {
    let secret = section == "secrets";
    for (n, item) in fields::items(path, node, remarks).iter().enumerate() {
        let path = format!("{path}[{n}]");
        let source = item.get("source").map_or_else(|| item.scalar().unwrap_or_default(), |s| s.scalar().unwrap_or_default());
        let standard = if secret { format!("/run/secrets/{source}") } else { format!("/{source}") };
        let mut file = File {
            path: standard,
            mode: if secret { 0o400 } else { 0o444 },
            secret,
            source: format!("{}/{CONTENT}", config_name(section, &source)),
            ..File::default()
        };
        for entry in item.entries().unwrap_or_default() {
            let at = format!("{path}.{}", entry.key);
            let id = |remarks: &Remarks| Some(fields::count(&at, &entry.node, u32::MAX, remarks));
            match entry.key.as_str() {
                "source" => {}
                "target" => {
                    let target = fields::text(&at, &entry.node, remarks);
                    file.path = if target.starts_with('/') { target } else { format!("{}{target}", if secret { "/run/secrets/" } else { "/" }) };
                }
                "mode" => match mode(&entry.node) {
                    Some(mode) => file.mode = mode,
                    None => remarks.wrong(&at, entry.line, "must be an octal mode such as \"0440\""),
                },
                "uid" => file.uid = id(remarks),
                "gid" => file.gid = id(remarks),
                _ => fields::unknown(&at, entry, remarks),
            }
        }
        if let Some(external) = shared.external.get(&(section, source.clone())) {
            workload.files.extend(of_space(file, external, &config_name(section, &source)));
            continue;
        }
        match shared.files.get(&(section, source.clone())) {
            Some(Some(_)) => workload.files.push(file),
            Some(None) => {}
            None => remarks.wrong(&path, item.line, format!("`{source}` is not declared under `{section}`")),
        }
    }
}

/// What is one content, or has one key, is the file; of several each is a file in a folder of that name.
fn of_space(file: File, external: &External, config: &str) -> Vec<File> {
    let folder = if file.path.starts_with(SECRETS) { SECRETS.trim_end_matches('/').to_owned() } else { String::new() };
    let single = match external.keys.len() {
        1 => external.keys.first().map(String::as_str),
        _ => external.keys.get(CONTENT).map(String::as_str),
    };
    if let Some(key) = single {
        return vec![File { source: format!("{config}/{key}"), folder, ..file }];
    }
    let one = |key: &String| File {
        path: format!("{}/{key}", file.path.trim_end_matches('/')),
        source: format!("{config}/{key}"),
        folder: if folder.is_empty() { file.path.trim_end_matches('/').to_owned() } else { folder.clone() },
        all_keys: true,
        ..file.clone()
    };
    external.keys.iter().map(one).collect()
}

/// A plain `0440` is an octal number to YAML 1.1 and text to us: both mean the digits. A number is a number.
pub fn mode(node: &Node) -> Option<u32> {
    let mode = match &node.value {
        Value::Int(number) => u32::try_from(*number).ok()?,
        _ => u32::from_str_radix(node.scalar()?.trim_start_matches("0o"), 8).ok()?,
    };
    (mode <= 0o7777).then_some(mode)
}
