//! The keys of a service that set up its container: rights, limits, namespaces, hooks, networks.

use std::collections::BTreeMap;

use super::{Beside, Reader, fields, listed, words};
use crate::domain::document::Remarks;
use crate::domain::fields::At;
use crate::domain::model::{Condition, Device, Hook, Mount, MountKind, Nic, Workload};
use crate::domain::yaml::{Entry, Node, Value};

impl Reader<'_> {
    pub(super) fn container(&self, at: &str, entry: &Entry, w: &mut Workload) {
        let (value, line, remarks) = (&entry.node, entry.line, self.remarks);
        match entry.key.as_str() {
            "stop_grace_period" => w.stop_grace_seconds = fields::millis(at, value, remarks).div_ceil(1000),
            "stop_signal" => w.stop_signal = fields::text(at, value, remarks),
            "user" => w.user = fields::text(at, value, remarks),
            "group_add" => w.groups = self.groups(at, value),
            "working_dir" => w.working_dir = fields::text(at, value, remarks),
            "privileged" => w.privileged = fields::boolean(at, value, remarks),
            "read_only" => w.read_only_root = fields::boolean(at, value, remarks),
            "cap_add" => w.cap_add = fields::texts(at, value, remarks),
            "cap_drop" => w.cap_drop = fields::texts(at, value, remarks),
            "sysctls" => w.sysctls = fields::pairs(at, value, self.document.values, remarks),
            "ulimits" => ulimits(at, value, w, remarks),
            "runtime" => w.runtime_class = fields::text(at, value, remarks),
            "security_opt" => self.security(at, value, w),
            "platform" => self.platform(at, value, w),
            "cpus" => w.limits.cpu_millis = fields::cpu(at, value, remarks),
            "mem_limit" => w.limits.memory_bytes = fields::bytes(at, value, remarks),
            "mem_reservation" => w.requests.memory_bytes = fields::bytes(at, value, remarks),
            "pids_limit" => w.limits.pids = value.integer().map_or_else(|| fields::count(at, value, 1 << 22, remarks), |n| u32::try_from(n).unwrap_or(0)),
            "cpu_quota" => match value.integer() {
                // Of the period of 100 ms that is meant if none is named; below zero is no limit.
                Some(micros) => w.limits.cpu_millis = u32::try_from(micros.max(0) / 100).unwrap_or(0),
                None => remarks.wrong(at, line, "must be a number of microseconds"),
            },
            // Told with the quota, of which it is the other half.
            "cpu_period" => {}
            "cpu_shares" => w.tuning.cpu_shares = fields::count(at, value, 1 << 20, remarks).into(),
            "cpuset" => w.tuning.cpuset = fields::text(at, value, remarks),
            "mem_swappiness" => w.tuning.swappiness = Some(fields::count(at, value, 100, remarks)),
            "memswap_limit" => {
                let bytes = if value.integer() == Some(-1) { -1 } else { i64::try_from(fields::bytes(at, value, remarks)).unwrap_or(i64::MAX) };
                w.tuning.memory_swap_bytes = bytes;
            }
            "oom_kill_disable" => w.tuning.oom_kill_disable = fields::boolean(at, value, remarks),
            "oom_score_adj" => match value.integer().and_then(|n| i32::try_from(n).ok()).filter(|n| (-1000..=1000).contains(n)) {
                Some(score) => w.tuning.oom_score_adj = score,
                None => remarks.wrong(at, line, "must be a whole number from -1000 to 1000"),
            },
            "blkio_config" => self.block(at, value, w),
            "cgroup_parent" => w.tuning.cgroup_parent = fields::text(at, value, remarks),
            "shm_size" => {
                let size_bytes = fields::bytes(at, value, remarks);
                w.mounts.push(Mount { size_bytes, ..Mount::new(MountKind::Tmpfs, "", "/dev/shm") });
            }
            "devices" => self.devices(at, value, w),
            "gpus" => gpus(at, value, &mut w.extended, remarks),
            "init" => w.init_process = fields::boolean(at, value, remarks),
            "tty" => w.tty = fields::boolean(at, value, remarks),
            "stdin_open" => w.stdin = fields::boolean(at, value, remarks),
            "pull_policy" => self.pull(at, value, w),
            "dns" => w.dns.servers = fields::texts(at, value, remarks),
            "dns_search" => w.dns.searches = fields::texts(at, value, remarks),
            "dns_opt" => w.dns.options = fields::texts(at, value, remarks),
            "extra_hosts" => self.hosts(at, value, w),
            "annotations" => w.annotations = fields::pairs(at, value, self.document.values, remarks),
            "post_start" => w.hooks.post_start = self.hooks(at, value),
            "pre_stop" => w.hooks.pre_stop = self.hooks(at, value),
            "mac_address" => match w.nics.first_mut() {
                Some(nic) => nic.mac = fields::text(at, value, remarks),
                None => w.nics.push(Nic { mac: fields::text(at, value, remarks), ..Nic::default() }),
            },
            "ipc" => match value.scalar().as_deref() {
                Some("host") => w.sharing.host_ipc = true,
                Some("private" | "shareable" | "none") => {}
                _ => remarks.unsupported(at, line, "only `host` and `private` are known"),
            },
            "pid" => match value.scalar().as_deref() {
                Some("host") => w.sharing.host_pid = true,
                _ => remarks.unsupported(at, line, "only `host` is known"),
            },
            "logging" => self.logging(at, value),
            "volumes_from" => remarks.unsupported(at, line, "name the volumes themselves: `volumes` of both services"),
            "device_cgroup_rules" => remarks.unsupported(at, line, "devices are given by `devices`"),
            "attach" | "develop" => remarks.note(at, line, "has no effect here"),
            "isolation" if matches!(value.scalar().as_deref(), Some("default" | "")) => {}
            "isolation" => remarks.unsupported(at, line, "is of Windows: nodes run Linux, where `runtime` says how a container is kept apart"),
            "storage_opt" => self.storage(at, value, w),
            "domainname" => remarks.unsupported(at, line, "instances have a name without a domain: write the whole of it as `hostname`"),
            "pull_refresh_after" => remarks.note(at, line, "has no effect here: the image is pinned when it is deployed"),
            "use_api_socket" if value.boolean() == Some(false) => {}
            "use_api_socket" => remarks.unsupported(at, line, "instances get neither an engine's socket nor somebody's credentials"),
            "models" => remarks.unsupported(at, line, "models are not run: let a service serve one, and name its address in a variable"),
            "cgroup" if value.scalar().as_deref() == Some("private") => {}
            "userns_mode" if value.scalar().as_deref() == Some("host") => {}
            "cgroup" | "uts" | "userns_mode" => remarks.unsupported(at, line, "namespaces are set up by the node"),
            "external_links" => remarks.unsupported(at, line, "others in the space are reached by `<service>.<application>`"),
            _ => remarks.unsupported(at, line, "is not supported"),
        }
    }

    fn platform(&self, at: &str, node: &Node, w: &mut Workload) {
        let text = fields::text(at, node, self.remarks);
        let (os, architecture) = match text.split_once('/') {
            Some((os, rest)) => (os, rest.split('/').next().unwrap_or(rest)),
            None if matches!(text.as_str(), "linux" | "windows" | "darwin" | "freebsd") => (text.as_str(), ""),
            None => ("linux", text.as_str()),
        };
        if os != "linux" {
            self.remarks.unsupported(at, node.line, format!("`{text}`: nodes run Linux"));
        } else if !architecture.is_empty() {
            w.placement.architectures.insert(super::deploy::architecture(architecture).to_owned());
        }
    }

    fn pull(&self, at: &str, node: &Node, w: &mut Workload) {
        let text = fields::text(at, node, self.remarks);
        match text.as_str() {
            "always" | "never" => w.pull.clone_from(&text),
            "missing" | "if_not_present" => w.pull = "missing".into(),
            other if matches!(other, "" | "build" | "daily" | "weekly" | "refresh") || other.starts_with("every_") => {
                self.remarks.note(at, node.line, "has no effect here: the image is pinned when it is deployed");
            }
            _ => self.remarks.wrong(at, node.line, "must be always, never, missing, if_not_present, build, daily, weekly or every_<time>"),
        }
    }

    fn groups(&self, at: &str, node: &Node) -> Vec<u32> {
        let texts = fields::texts(at, node, self.remarks);
        texts
            .iter()
            .filter_map(|text| {
                let id = text.parse().ok();
                if id.is_none() {
                    self.remarks.unsupported(at, node.line, format!("`{text}`: groups are given by number"));
                }
                id
            })
            .collect()
    }

    fn security(&self, path: &str, node: &Node, w: &mut Workload) {
        for option in fields::texts(path, node, self.remarks) {
            let local = |profile: &str| if profile.starts_with('/') { format!("localhost{profile}") } else { format!("localhost/{profile}") };
            match option.split_once([':', '=']) {
                Some(("seccomp", "unconfined")) => w.seccomp = "unconfined".into(),
                Some(("seccomp", profile)) if profile.starts_with('/') => w.seccomp = local(profile),
                Some(("apparmor", "unconfined")) => w.apparmor = "unconfined".into(),
                Some(("apparmor", profile)) => w.apparmor = local(profile),
                Some(("label", "disable")) => w.selinux = "disable".into(),
                Some(("label", part)) => match part.split_once(':') {
                    Some((kind @ ("user" | "role" | "type" | "level"), value)) => w.selinux = labelled(&w.selinux, kind, value),
                    _ => self.remarks.wrong(path, node.line, format!("`{option}` is not `label:user|role|type|level:<value>`")),
                },
                Some(("no-new-privileges", flag)) => w.no_new_privileges = Some(flag != "false"),
                _ if option == "no-new-privileges" => w.no_new_privileges = Some(true),
                Some(("seccomp", _)) => self.remarks.unsupported(path, node.line, format!("`{option}`: a profile is a file of the node, with its whole path")),
                _ => self.remarks.unsupported(path, node.line, format!("`{option}` is not supported")),
            }
        }
    }

    fn block(&self, path: &str, node: &Node, w: &mut Workload) {
        for entry in fields::entries(path, node, self.remarks) {
            let at = format!("{path}.{}", entry.key);
            match entry.key.as_str() {
                "weight" => w.tuning.block_weight = fields::count(&at, &entry.node, 1000, self.remarks),
                _ => self.remarks.unsupported(&at, entry.line, "disks are not limited one by one"),
            }
        }
    }

    fn devices(&self, path: &str, node: &Node, w: &mut Workload) {
        for (n, item) in fields::items(path, node, self.remarks).iter().enumerate() {
            let at = At { path: format!("{path}[{n}]"), line: item.line, node: item, remarks: self.remarks };
            let (source, target, permissions) = if item.entries().is_some() {
                let f = at.fields();
                (f.text("source"), f.text("target"), f.text("permissions"))
            } else {
                let text = item.scalar().unwrap_or_default();
                let mut parts = text.splitn(3, ':').map(str::to_owned);
                (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
            };
            // `/dev/fuse:r` has no target but permissions.
            let (target, permissions) =
                if permissions.is_empty() && target.bytes().all(|b| b"rwm".contains(&b)) { (String::new(), target) } else { (target, permissions) };
            let target = if target.is_empty() { source.clone() } else { target };
            let permissions = if permissions.is_empty() { "rwm".to_owned() } else { permissions };
            if !source.starts_with("/dev/") || !target.starts_with('/') || !permissions.bytes().all(|b| b"rwm".contains(&b)) {
                at.unsupported("must be a device such as /dev/fuse:/dev/fuse:rwm");
                continue;
            }
            w.devices.push(Device { source, target, permissions });
        }
    }

    fn storage(&self, path: &str, node: &Node, w: &mut Workload) {
        for option in fields::entries(path, node, self.remarks) {
            let at = format!("{path}.{}", option.key);
            match option.key.as_str() {
                "size" => w.limits.storage_bytes = fields::bytes(&at, &option.node, self.remarks),
                _ => fields::unknown(&at, option, self.remarks),
            }
        }
    }

    fn hosts(&self, at: &str, node: &Node, w: &mut Workload) {
        let Some(entries) = node.entries() else {
            self.remarks.wrong(at, node.line, "must be a map, or a list of `name=address`");
            return;
        };
        for Entry { key: name, line, node } in entries {
            let path = format!("{at}.{name}");
            let addresses: Vec<String> = match &node.value {
                Value::List(items) => items.iter().map(|item| fields::text(&path, item, self.remarks)).collect(),
                _ => vec![fields::text(&path, node, self.remarks)],
            };
            if addresses.len() > 1 {
                self.remarks.unsupported(&path, *line, format!("a name has one address here: the first one, not {}", addresses[1..].join(", ")));
            }
            let address = addresses.first().map(|a| a.trim_matches(['[', ']']).to_owned()).unwrap_or_default();
            if address.parse::<std::net::IpAddr>().is_ok() {
                w.extra_hosts.insert(name.clone(), address);
            } else if address == "host-gateway" {
                self.remarks.unsupported(&path, *line, "`host-gateway`: instances have no name for the machine that they happen to run on");
            } else {
                self.remarks.unsupported(&path, *line, format!("`{address}` is no address"));
            }
        }
    }

    fn hooks(&self, path: &str, node: &Node) -> Vec<Hook> {
        let items = fields::items(path, node, self.remarks).iter().enumerate();
        items
            .map(|(n, item)| {
                let at = At { path: format!("{path}[{n}]"), line: item.line, node: item, remarks: self.remarks };
                let f = at.fields();
                let command = f.take("command").map(|c| words(&c.path, c.node, self.remarks)).unwrap_or_default();
                if command.is_empty() {
                    at.wrong("needs `command`");
                }
                let env = f.take("environment").map(|e| fields::pairs(&e.path, e.node, self.document.values, self.remarks)).unwrap_or_default();
                Hook::Command { command, user: f.text("user"), working_dir: f.text("working_dir"), env, privileged: f.flag("privileged") }
            })
            .collect()
    }

    fn logging(&self, path: &str, node: &Node) {
        let driver = node.get("driver").and_then(Node::scalar).unwrap_or_default();
        let detail = if matches!(driver.as_str(), "" | "json-file" | "local" | "journald") {
            "logs are kept and rotated by the platform"
        } else {
            "logs go to the platform; no other receiver is fed by the node"
        };
        self.remarks.note(path, node.line, detail);
    }

    pub(super) fn networks(&self, path: &str, node: &Node, w: &mut Workload, beside: &mut Beside) {
        let all = listed(node);
        let mut nics: Vec<(Nic, At<'_>)> = Vec::new();
        for entry in fields::entries(path, node, self.remarks) {
            let at = At { path: format!("{path}.{}", entry.key), line: entry.line, node: &entry.node, remarks: self.remarks };
            let f = at.fields();
            beside.aliases.extend(f.texts("aliases"));
            let number = |key: &str| {
                let Some(at) = f.take(key) else { return 0 };
                at.node.integer().and_then(|n| i32::try_from(n).ok()).unwrap_or_else(|| {
                    at.wrong("must be a whole number");
                    0
                })
            };
            let nic = Nic {
                network: if entry.key == "default" { String::new() } else { entry.key.clone() },
                address4: f.text("ipv4_address"),
                address6: f.text("ipv6_address"),
                mac: f.text("mac_address"),
                interface: f.text("interface_name"),
                priority: number("priority"),
                ..Nic::default()
            };
            f.note(&["gw_priority"], "has no effect here");
            f.unsupported(&["link_local_ips", "driver_opts"], "addresses are given by the node's network");
            drop(f);
            nics.push((nic, at));
        }
        nics.sort_by(|(a, _), (b, _)| b.priority.cmp(&a.priority).then_with(|| a.network.cmp(&b.network)));
        let name = path.strip_prefix("services.").and_then(|p| p.strip_suffix(".networks")).and_then(|k| self.names.get(k)).map_or("", |n| n.as_str());
        for (n, (nic, at)) in nics.into_iter().enumerate() {
            at.place(format!("workloads.{name}.nics[{n}]"));
            w.nics.push(nic);
        }
        // The default network with nothing said is what everybody has.
        if w.nics == [Nic::default()] {
            w.nics.clear();
        }
        if all.len() > 1 {
            self.remarks.note(path, node.line, "the workloads of a space share one network and find each other by name");
        }
    }

    pub(super) fn network_mode(&self, at: &str, node: &Node, w: &mut Workload) {
        let text = node.scalar().unwrap_or_default();
        match text.as_str() {
            "bridge" | "default" | "" => {}
            "host" => w.sharing.host_network = true,
            _ => match text.split_once(':') {
                Some(("service", other)) => w.sharing.network_of = self.named(at, node.line, other),
                _ => self.remarks.unsupported(at, node.line, format!("`{text}` is not known: bridge, host or service:<name>")),
            },
        }
    }

    /// A link is a dependency; its other name becomes one of the service that it leads to in [`super::finish`].
    pub(super) fn links(&self, at: &str, node: &Node, w: &mut Workload) {
        for text in fields::texts(at, node, self.remarks) {
            let (key, alias) = text.split_once(':').unwrap_or((&text, &text));
            let Some(name) = self.named(at, node.line, key) else { continue };
            w.depends_on.entry(name.clone()).or_insert(Condition::Started);
            if alias != key {
                self.links.borrow_mut().entry(name).or_default().insert(alias.to_owned());
            }
        }
    }
}

/// A quota is that of a period: of 100 ms, if none is named.
pub(super) fn period(path: &str, service: &Node, w: &mut Workload, remarks: &Remarks) {
    let Some(period) = service.entries().unwrap_or_default().iter().find(|e| e.key == "cpu_period" && e.node.value != Value::Null) else { return };
    let at = format!("{path}.cpu_period");
    // As the kernel takes it.
    let Some(micros) = period.node.integer().and_then(|n| u64::try_from(n).ok()).filter(|n| (1_000..=1_000_000).contains(n)) else {
        return remarks.wrong(&at, period.line, "must be a number of microseconds from 1000 to 1000000");
    };
    let quota = service.get("cpu_quota").and_then(Node::integer).and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    match quota {
        // Not if `cpus` or `deploy` has said something else.
        Some(quota) if u64::from(w.limits.cpu_millis) == quota / 100 => {
            w.limits.cpu_millis = u32::try_from(quota.saturating_mul(1000) / micros).unwrap_or(u32::MAX);
        }
        Some(_) => {}
        None => remarks.note(&at, period.line, "has no effect without `cpu_quota`"),
    }
}

fn labelled(label: &str, kind: &str, value: &str) -> String {
    let mut parts: Vec<String> = label.splitn(4, ':').map(str::to_owned).collect();
    parts.resize(4, String::new());
    let place = ["user", "role", "type", "level"].iter().position(|k| *k == kind).unwrap_or(3);
    value.clone_into(&mut parts[place]);
    parts.join(":")
}

/// `all`, or requests of devices: how many GPUs.
pub fn gpus(path: &str, node: &Node, extended: &mut BTreeMap<String, u64>, remarks: &Remarks) {
    const GPU: &str = "nvidia.com/gpu";
    const ALL: &str = "asks for one: how many a node has is not known before an instance is placed; name a number for more";
    if node.scalar().as_deref() == Some("all") {
        remarks.note(path, node.line, ALL);
        extended.insert(GPU.into(), 1);
        return;
    }
    let Value::List(items) = &node.value else {
        remarks.wrong(path, node.line, "must be `all` or a list");
        return;
    };
    for (n, item) in items.iter().enumerate() {
        let at = At { path: format!("{path}[{n}]"), line: item.line, node: item, remarks };
        let f = at.fields();
        let driver = f.text("driver");
        let ids = f.texts("device_ids").len();
        if ids > 0 {
            at.note("devices are counted, not chosen: as many as `device_ids` names");
        }
        let count = f.take("count").map_or(ids.max(1), |c| match c.node.integer().and_then(|n| usize::try_from(n).ok()) {
            Some(count) => count,
            None => {
                match c.node.scalar().as_deref() {
                    Some("all") => c.note(ALL),
                    _ => c.wrong("must be a number or `all`"),
                }
                1
            }
        });
        let capabilities = f.texts("capabilities");
        let gpu = capabilities.iter().any(|c| c == "gpu");
        if gpu && capabilities.len() > 1 {
            at.note("of its `capabilities` only `gpu` counts: what else a driver shows is set up on the node");
        }
        f.unsupported(&["options"], "is not supported");
        let name = match driver.as_str() {
            "" if !gpu => {
                at.unsupported("is known neither by `gpu` among its `capabilities` nor by a `driver`");
                continue;
            }
            "" | "nvidia" => GPU.to_owned(),
            "amd" | "amdgpu" => "amd.com/gpu".to_owned(),
            other => format!("device/{other}"),
        };
        *extended.entry(name).or_default() += u64::try_from(count).unwrap_or(1);
    }
}

fn ulimits(path: &str, node: &Node, workload: &mut Workload, remarks: &Remarks) {
    for entry in fields::entries(path, node, remarks) {
        let at = format!("{path}.{}", entry.key);
        for other in entry.node.entries().unwrap_or_default().iter().filter(|o| !matches!(o.key.as_str(), "soft" | "hard")) {
            fields::unknown(&format!("{at}.{}", other.key), other, remarks);
        }
        let of = |key: &str| entry.node.get(key).and_then(Node::integer);
        let (soft, hard) = match (entry.node.integer(), of("soft"), of("hard")) {
            (Some(both), _, _) => (both, both),
            (None, Some(soft), Some(hard)) => (soft, hard),
            _ => {
                remarks.wrong(&at, entry.line, "must be a number, or `soft` and `hard`");
                continue;
            }
        };
        workload.ulimits.push(format!("{}={soft}:{hard}", entry.key));
    }
}
