//! One service of a Compose file into one workload and its balanced ports, key by key.

mod balanced;
mod container;
mod dependencies;
mod extension;
mod probes;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use gantry_kernel::Name;

use super::{deploy, fields, listed, ports, storage, words};
use crate::domain::document::{Document, Remarks};
use crate::domain::fields::At;
use crate::domain::model::{MAX_REPLICAS, Model, Mount, MountKind, Restart, Workload, WorkloadKind};
use crate::domain::yaml::{Entry, Node, Value};

pub use container::gpus;
use extension::Extension;

/// What a service is read with.
pub struct Reader<'a> {
    /// Services' names in the document and here.
    pub names: &'a BTreeMap<String, Name>,
    /// Services whose profile nobody asked for.
    pub left_out: &'a BTreeSet<String>,
    /// More names of workloads, by what others link to them.
    pub links: &'a RefCell<BTreeMap<Name, BTreeSet<String>>>,
    pub shared: &'a storage::Shared,
    pub document: &'a Document<'a>,
    pub remarks: &'a Remarks,
}

/// What becomes of a service beside its workload.
#[derive(Default)]
struct Beside {
    published: Vec<ports::Port>,
    exposed_udp: BTreeSet<u16>,
    extension: Extension,
    aliases: BTreeSet<String>,
    headless: bool,
    /// The document chose the order of updates.
    order: Option<bool>,
    built: Option<(String, u64)>,
    /// The lines of an entry point and a command that are there and empty.
    no_entrypoint: Option<u64>,
    no_command: Option<u64>,
}

/// What counts over another key is read after it, wherever it stands.
fn rank(key: &str) -> u8 {
    match key {
        "mac_address" => 1,
        "deploy" => 2,
        "x-gantry" => 3,
        _ => 0,
    }
}

/// Which parts of the model a key is about, for what is said about them later.
fn parts(key: &str) -> &'static [&'static str] {
    match key {
        "entrypoint" => &["command"],
        "command" => &["args"],
        "environment" | "env_file" => &["env"],
        "volumes" | "tmpfs" | "shm_size" => &["mounts"],
        "configs" | "secrets" => &["files"],
        "healthcheck" => &["probes"],
        "depends_on" => &["depends_on", "restart_with"],
        "post_start" => &["hooks.post_start"],
        "pre_stop" => &["hooks.pre_stop"],
        "networks" => &["nics"],
        "network_mode" => &["sharing.host_network", "sharing.network_of"],
        "pid" => &["sharing.host_pid"],
        "ipc" => &["sharing.host_ipc"],
        "cpu_shares" | "cpuset" | "mem_swappiness" | "memswap_limit" | "oom_kill_disable" | "oom_score_adj" | "blkio_config" | "cgroup_parent" => &["tuning"],
        "gpus" => &["extended"],
        "init" => &["init_process"],
        "restart" => &["restart_attempts"],
        "deploy" => &["restart_attempts", "update", "extended", "placement"],
        "mem_reservation" | "mem_limit" | "cpus" | "storage_opt" => &["requests", "limits"],
        "label_file" => &["labels"],
        _ => &[],
    }
}

impl Reader<'_> {
    pub fn read(&self, key: &str, name: &Name, entry: &Entry, model: &mut Model) {
        let (path, remarks) = (format!("services.{key}"), self.remarks);
        remarks.place(format!("workloads.{name}"), &path, entry.line);
        let Some(entries) = entry.node.entries() else {
            remarks.wrong(&path, entry.line, "must be a map");
            return;
        };
        let mut workload = Workload { restart: Restart::Always, ..Workload::default() };
        let mut beside = Beside::default();
        if name.as_str() != key {
            beside.aliases.insert(key.to_owned());
        }
        let mut entries: Vec<&Entry> = entries.iter().filter(|e| e.node.value != Value::Null).collect();
        entries.sort_by_key(|e| rank(&e.key));
        for entry in entries {
            let at = format!("{path}.{}", entry.key);
            for part in parts(&entry.key) {
                remarks.place(format!("workloads.{name}.{part}"), &at, entry.line);
            }
            remarks.place(format!("workloads.{name}.{}", entry.key), &at, entry.line);
            self.entry(&at, entry, &mut workload, &mut beside);
        }
        self.emptied(&path, &mut workload, &beside);
        container::period(&path, &entry.node, &mut workload, remarks);
        if let Some(image) = self.document.images.get(key) {
            workload.image.clone_from(image);
        }
        self.image(&path, name, entry.line, &workload, &beside);
        // Two instances with one writable volume would spoil it: the old one goes first unless the document says otherwise.
        let shares = workload.mounts.iter().any(|m| m.kind == MountKind::Volume && !m.source.is_empty() && !m.read_only);
        if beside.order.is_none() && shares {
            (workload.update.surge, workload.update.max_unavailable) = (0, workload.update.surge.max(1));
        }
        let services = balanced::services(name, &mut workload, beside);
        for n in 0..services.len() {
            remarks.place(format!("services[{}]", model.services.len() + n), &path, entry.line);
        }
        probes::default_probe(&mut workload, &services);
        if services.iter().all(|s| s.port == 0) && workload.kind != WorkloadKind::Job {
            remarks.note(&path, entry.line, "declares no port: add `expose` if others are to reach it by its name");
        }
        model.services.extend(services);
        let named = workload.mounts.iter().filter(|m| m.kind == MountKind::Volume && !m.source.is_empty());
        model.volumes.extend(named.map(|m| (m.source.clone(), Default::default())));
        model.workloads.insert(name.clone(), workload);
    }

    /// An entry point that is there and empty takes the image's away, so that the command alone says what runs.
    fn emptied(&self, path: &str, workload: &mut Workload, beside: &Beside) {
        if let Some(line) = beside.no_entrypoint {
            if workload.args.is_empty() {
                self.remarks.unsupported(&format!("{path}.entrypoint"), line, "is empty: then `command` must say what runs");
            }
            workload.command = std::mem::take(&mut workload.args);
        } else if let Some(line) = beside.no_command
            && workload.command.is_empty()
        {
            let detail = "is empty: the image's own arguments are left out only together with its entry point; name `entrypoint`, too";
            self.remarks.unsupported(&format!("{path}.command"), line, detail);
        }
    }

    /// A service that is built needs the name of what comes of it; that there is none is told where it asks to be built.
    fn image(&self, path: &str, name: &Name, line: u64, workload: &Workload, beside: &Beside) {
        let model_path = format!("workloads.{name}.image");
        match (&beside.built, workload.image.is_empty()) {
            (Some((at, line)), true) => self.remarks.place(model_path, at, *line),
            (Some((at, line)), false) => self.remarks.note(at, *line, format!("is not built here: `{}` runs", workload.image)),
            (None, true) => self.remarks.place(model_path, &format!("{path}.image"), line),
            (None, false) => {}
        }
    }

    fn entry(&self, at: &str, entry: &Entry, workload: &mut Workload, beside: &mut Beside) {
        let (value, line, remarks, document) = (&entry.node, entry.line, self.remarks, self.document);
        match entry.key.as_str() {
            "image" => workload.image = fields::text(at, value, remarks),
            "build" => beside.built = Some((at.to_owned(), line)),
            "provider" => {
                beside.built = Some((at.to_owned(), line));
                remarks.unsupported(
                    at,
                    line,
                    "services that a program of the machine sets up are not known: name an `image`, or use one of the platform's catalog",
                );
            }
            "entrypoint" => {
                workload.command = words(at, value, remarks);
                if workload.command.iter().all(String::is_empty) {
                    workload.command.clear();
                    beside.no_entrypoint = Some(line);
                }
            }
            "command" => {
                workload.args = words(at, value, remarks);
                beside.no_command = workload.args.is_empty().then_some(line);
            }
            "environment" => {
                let pairs = fields::pairs(at, value, document.values, remarks);
                workload.env.extend(pairs);
            }
            "env_file" => {
                let found = self.env_files(at, value);
                for (name, value) in found {
                    workload.env.entry(name).or_insert(value);
                }
            }
            "ports" => beside.published = ports::read(at, value, remarks),
            "expose" => self.expose(at, value, workload, beside),
            "volumes" => storage::mounts(at, value, self.shared, document, workload, remarks),
            "tmpfs" => self.tmpfs(at, value, workload),
            "configs" => storage::files(at, "configs", value, self.shared, workload, remarks),
            "secrets" => storage::files(at, "secrets", value, self.shared, workload, remarks),
            "healthcheck" => probes::health(at, value, workload, remarks),
            "depends_on" => self.depends(at, value, workload),
            "deploy" => {
                let (order, headless) = deploy::read(at, value, workload, remarks);
                (beside.order, beside.headless) = (order, headless);
            }
            "scale" => workload.replicas = fields::count(at, value, MAX_REPLICAS, remarks),
            "restart" => self.restart(at, value, workload),
            "networks" => self.networks(at, value, workload, beside),
            "network_mode" => self.network_mode(at, value, workload),
            "links" => self.links(at, value, workload),
            "container_name" => {
                beside.aliases.insert(fields::text(at, value, remarks));
            }
            "hostname" => {
                workload.hostname = fields::text(at, value, remarks);
                beside.aliases.insert(workload.hostname.clone());
            }
            "labels" => {
                let labels = storage::labels(&At { path: at.to_owned(), line, node: value, remarks });
                note_traefik(&labels, at, line, remarks);
                workload.labels.extend(labels);
            }
            "label_file" => {
                let found = self.env_files(at, value);
                note_traefik(&found, at, line, remarks);
                for (label, value) in found {
                    workload.labels.entry(label).or_insert(value);
                }
            }
            "profiles" => {
                let _ = fields::items(at, value, remarks);
            }
            "extends" => {}
            "x-gantry" => beside.extension = Extension::read(at, value, workload, remarks),
            key if key.starts_with("x-") => {}
            _ => self.container(at, entry, workload),
        }
    }

    /// Of `env_file`, and of `label_file`, whose files have the same form.
    fn env_files(&self, path: &str, node: &Node) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        for (n, item) in fields::items(path, node, self.remarks).iter().enumerate() {
            let at = format!("{path}[{n}]");
            for entry in item.entries().unwrap_or_default().iter().filter(|e| !matches!(e.key.as_str(), "path" | "required" | "format")) {
                fields::unknown(&format!("{at}.{}", entry.key), entry, self.remarks);
            }
            let file = item.get("path").and_then(Node::scalar).or_else(|| item.scalar()).unwrap_or_default();
            let optional = item.get("required").and_then(Node::boolean) == Some(false);
            let format = item.get("format").and_then(Node::scalar).unwrap_or_default();
            let raw = format == "raw";
            if !raw && !format.is_empty() {
                self.remarks.unsupported(&format!("{at}.format"), item.line, format!("`{format}` is not known: the one format with a name is `raw`"));
            }
            let known = super::load::inside(&file).is_some_and(|p| self.document.files.contains_key(&p));
            if optional && !known {
                if let Some(inside) = super::load::inside(&file) {
                    self.remarks.need(inside);
                }
                self.remarks.note(&at, item.line, format!("`{file}` is not there and need not be"));
                continue;
            }
            let Some(bytes) = storage::delivered(&at, item.line, &file, self.document, self.remarks) else { continue };
            let Ok(text) = std::str::from_utf8(bytes) else {
                self.remarks.wrong(&at, item.line, format!("`{file}` is no text"));
                continue;
            };
            match if raw { Ok(super::env_file::read_raw(text)) } else { super::env_file::read(text, self.document.values) } {
                Ok(pairs) => {
                    let value = |name: &str, value: Option<String>| value.or_else(|| self.document.values.get(name).cloned());
                    out.extend(pairs.into_iter().filter_map(|(name, v)| Some((name.clone(), value(&name, v)?))));
                }
                Err((line, detail)) => self.remarks.wrong(path.rsplit('.').next().unwrap_or(path), self.remarks.file(&file)(line), detail),
            }
        }
        out
    }

    fn expose(&self, at: &str, node: &Node, workload: &mut Workload, beside: &mut Beside) {
        for text in fields::texts(at, node, self.remarks) {
            let (ports, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
            match ports::range(ports) {
                Ok(range) if protocol.eq_ignore_ascii_case("udp") => beside.exposed_udp.extend(range),
                Ok(range) if protocol.eq_ignore_ascii_case("tcp") => workload.ports.extend(range),
                Ok(_) => self.remarks.unsupported(at, node.line, format!("`{protocol}` is not balanced")),
                Err(refused) => refused.tell(at, node.line, self.remarks),
            }
        }
    }

    fn tmpfs(&self, at: &str, node: &Node, workload: &mut Workload) {
        for text in fields::texts(at, node, self.remarks) {
            let (target, options) = text.split_once(':').unwrap_or((&text, ""));
            let mut mount = Mount::new(MountKind::Tmpfs, "", target);
            for option in options.split(',').filter(|o| !o.is_empty()) {
                match option.split_once('=') {
                    Some(("size", size)) => match crate::domain::document::bytes(size) {
                        Some(size) => mount.size_bytes = size,
                        None => self.remarks.wrong(at, node.line, format!("`{size}` is no size")),
                    },
                    Some(("mode" | "uid" | "gid", _)) => self.remarks.note(at, node.line, "everybody in the container may write there"),
                    _ if matches!(option, "rw" | "nosuid" | "nodev" | "noexec" | "exec") => {}
                    _ => self.remarks.unsupported(at, node.line, format!("the option `{option}` is not supported")),
                }
            }
            workload.mounts.push(mount);
        }
    }

    fn restart(&self, at: &str, node: &Node, workload: &mut Workload) {
        let text = node.scalar().unwrap_or_default();
        let (word, attempts) = text.split_once(':').unwrap_or((&text, ""));
        match word {
            "always" | "unless-stopped" => workload.restart = Restart::Always,
            "on-failure" => workload.restart = Restart::OnFailure,
            "no" | "false" => workload.restart = Restart::Never,
            _ => self.remarks.wrong(at, node.line, "must be no, always, on-failure or unless-stopped"),
        }
        if !attempts.is_empty() {
            match attempts.parse() {
                Ok(attempts) => workload.restart_attempts = Some(attempts),
                Err(_) => self.remarks.wrong(at, node.line, format!("`{attempts}` is no number of attempts")),
            }
        }
    }
}

fn note_traefik(labels: &BTreeMap<String, String>, at: &str, line: u64, remarks: &Remarks) {
    if labels.keys().any(|label| label.starts_with("traefik.")) {
        remarks.note(at, line, "labels of Traefik lead no requests here: name hosts and paths under `x-gantry.routes`");
    }
}

/// What is known only when all services have been read.
pub fn finish(model: &mut Model, links: BTreeMap<Name, BTreeSet<String>>, remarks: &Remarks) {
    dependencies::ends(model, remarks);
    for (name, workload) in &model.workloads {
        for (n, nic) in workload.nics.iter().enumerate().filter(|(_, nic)| !nic.network.is_empty() && !model.networks.contains_key(&nic.network)) {
            remarks.unsupported_at(&format!("workloads.{name}.nics[{n}]"), format!("`{}` is not declared under `networks`", nic.network));
        }
    }
    balanced::names(model, links, remarks);
}
