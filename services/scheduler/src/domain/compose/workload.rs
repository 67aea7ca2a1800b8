//! One service of a Compose file into one workload and its balanced ports.

use gantry_kernel::Name;

use super::{deploy, fields, ports, storage, words};
use crate::domain::document::{Document, Remarks};
use crate::domain::model::{
    BALANCES, Check, Condition, MAX_REPLICAS, Model, Mount, MountKind, Probe, Protocol, Publish, Purpose, Restart, Route, Service, Workload, WorkloadKind,
    round_robin,
};
use crate::domain::yaml::{Node, Value};

/// How often a new instance is asked whether it is ready. Shorter than a health check's interval, which would hold up every
/// release by that long.
const READY_PERIOD_MS: u32 = 1000;

pub fn read(path: &str, name: Name, node: &Node, shared: &storage::Shared, document: &Document<'_>, model: &mut Model, remarks: &mut Remarks) {
    let Some(entries) = node.entries() else {
        remarks.wrong(path, node.line, "must be a map");
        return;
    };
    let mut workload = Workload { restart: Restart::Always, ..Workload::default() };
    let mut published = Vec::new();
    let mut extension = Extension::default();
    let mut order = None;
    for entry in entries {
        let at = format!("{path}.{}", entry.key);
        let (value, line) = (&entry.node, entry.line);
        match entry.key.as_str() {
            "image" => workload.image = fields::text(&at, value, remarks),
            "build" => remarks.unsupported(&at, line, "images are built by a pipeline: name the result as `image`"),
            "entrypoint" => workload.command = words(&at, value, remarks),
            "command" => workload.args = words(&at, value, remarks),
            "environment" => workload.env.extend(fields::pairs(&at, value, document.values, remarks)),
            "env_file" => remarks.unsupported(&at, line, "files do not come with the document: use `environment`"),
            "ports" => published = ports::read(&at, value, remarks),
            "expose" => {
                for text in fields::texts(&at, value, remarks) {
                    match text.split('/').next().unwrap_or_default().parse::<u16>() {
                        Ok(port) if port > 0 => {
                            workload.ports.insert(port);
                        }
                        _ => remarks.wrong(&at, line, format!("`{text}` is not a port")),
                    }
                }
            }
            "volumes" => storage::mounts(&at, value, shared, &mut workload, remarks),
            "tmpfs" => {
                for target in fields::texts(&at, value, remarks) {
                    let target = target.split(':').next().unwrap_or_default().to_owned();
                    workload.mounts.push(Mount { kind: MountKind::Tmpfs, source: String::new(), target, read_only: false, size_bytes: 0 });
                }
            }
            "configs" => storage::files(&at, "configs", value, shared, &mut workload, remarks),
            "secrets" => storage::files(&at, "secrets", value, shared, &mut workload, remarks),
            "healthcheck" => health(&at, value, &mut workload, remarks),
            "depends_on" => depends(&at, value, &mut workload, remarks),
            "deploy" => order = deploy::read(&at, value, &mut workload, remarks),
            "scale" => workload.replicas = fields::count(&at, value, MAX_REPLICAS, remarks),
            "restart" => match value.scalar().unwrap_or_default().split(':').next() {
                Some("always" | "unless-stopped") => workload.restart = Restart::Always,
                Some("on-failure") => workload.restart = Restart::OnFailure,
                Some("no" | "false") => workload.restart = Restart::Never,
                _ => remarks.wrong(&at, line, "must be no, always, on-failure or unless-stopped"),
            },
            "stop_grace_period" => workload.stop_grace_seconds = fields::millis(&at, value, remarks).div_ceil(1000).clamp(0, 3600),
            "stop_signal" => workload.stop_signal = fields::text(&at, value, remarks),
            "user" => workload.user = fields::text(&at, value, remarks),
            "working_dir" => workload.working_dir = fields::text(&at, value, remarks),
            "privileged" => workload.privileged = fields::boolean(&at, value, remarks),
            "read_only" => workload.read_only_root = fields::boolean(&at, value, remarks),
            "cap_add" => workload.cap_add = fields::texts(&at, value, remarks),
            "cap_drop" => workload.cap_drop = fields::texts(&at, value, remarks),
            "sysctls" => workload.sysctls = fields::pairs(&at, value, document.values, remarks),
            "ulimits" => ulimits(&at, value, &mut workload, remarks),
            "runtime" => workload.runtime_class = fields::text(&at, value, remarks),
            "security_opt" => security(&at, value, &mut workload, remarks),
            "platform" => {
                let platform = fields::text(&at, value, remarks);
                let architecture = platform.split('/').nth(1).unwrap_or(&platform);
                workload.placement.architectures.insert(deploy::architecture(architecture).to_owned());
            }
            "cpus" => workload.limits.cpu_millis = fields::cpu(&at, value, remarks),
            "mem_limit" => workload.limits.memory_bytes = fields::bytes(&at, value, remarks),
            "mem_reservation" => workload.requests.memory_bytes = fields::bytes(&at, value, remarks),
            "pids_limit" => workload.limits.pids = fields::count(&at, value, 1 << 22, remarks),
            "networks" => remarks.note(&at, line, "the workloads of a space share one network and find each other by name"),
            "container_name" | "hostname" => remarks.note(&at, line, "instances are named by the platform; the service's name finds them"),
            "labels" | "logging" | "pull_policy" | "stdin_open" | "tty" | "init" | "annotations" => remarks.note(&at, line, "has no effect here"),
            "profiles" => remarks.note(&at, line, "every service of the document is deployed"),
            "x-gantry" => extension = Extension::read(&at, value, &mut workload, remarks),
            key if key.starts_with("x-") => {}
            _ => remarks.unsupported(&at, line, "is not supported"),
        }
    }
    if workload.image.is_empty() {
        remarks.wrong(&format!("{path}.image"), node.line, "is needed");
    }
    if workload.kind == WorkloadKind::Job && workload.restart == Restart::Always {
        workload.restart = Restart::OnFailure;
    }
    // Two instances with one writable volume would spoil it: the old one goes first unless the document says otherwise.
    let shares = workload.mounts.iter().any(|m| m.kind == MountKind::Volume && !m.source.is_empty() && !m.read_only);
    if order.is_none() && shares {
        (workload.update.surge, workload.update.max_unavailable) = (0, workload.update.surge.max(1));
    }
    reserve(&mut workload, document);
    let services = services(&name, &mut workload, published, extension);
    default_probe(&mut workload, &services);
    if services.iter().all(|s| s.port == 0) && workload.kind != WorkloadKind::Job {
        remarks.note(path, node.line, "declares no port: add `expose` if others are to reach it by its name");
    }
    model.services.extend(services);
    model.volumes.extend(workload.mounts.iter().filter(|m| m.kind == MountKind::Volume && !m.source.is_empty()).map(|m| m.source.clone()));
    model.workloads.insert(name, workload);
}

/// A limit without a reservation reserves itself; neither takes the platform's default.
fn reserve(workload: &mut Workload, document: &Document<'_>) {
    let (requests, limits) = (&mut workload.requests, &workload.limits);
    if requests.cpu_millis == 0 {
        requests.cpu_millis = if limits.cpu_millis > 0 { limits.cpu_millis } else { document.default_cpu_millis };
    }
    if requests.memory_bytes == 0 {
        requests.memory_bytes = if limits.memory_bytes > 0 { limits.memory_bytes } else { document.default_memory_bytes };
    }
}

/// One service for each port, published, routed or only exposed; one without a port if there is none, for its name.
fn services(name: &Name, workload: &mut Workload, published: Vec<ports::Port>, extension: Extension) -> Vec<Service> {
    let balance = extension.balance.unwrap_or_else(round_robin);
    let plain =
        |port, protocol| Service { name: name.clone(), workload: name.clone(), port, protocol, balance: balance.clone(), publish: None, routes: Vec::new() };
    let mut out: Vec<Service> = Vec::new();
    for port in published {
        workload.ports.insert(port.target);
        out.push(Service { publish: Some(Publish { wanted: port.published, listen: 0 }), ..plain(port.target, port.protocol) });
    }
    for port in &workload.ports {
        if !out.iter().any(|s| s.port == *port) {
            out.push(plain(*port, Protocol::Tcp));
        }
    }
    for (port, route) in extension.routes {
        let port = if port > 0 { port } else { out.first().map_or(80, |s| s.port) };
        workload.ports.insert(port);
        match out.iter_mut().find(|s| s.port == port && s.protocol != Protocol::Udp) {
            Some(service) => {
                service.protocol = Protocol::Http;
                service.routes.push(route);
            }
            None => out.push(Service { routes: vec![route], ..plain(port, Protocol::Http) }),
        }
    }
    if out.is_empty() {
        out.push(plain(0, Protocol::Tcp));
    }
    out
}

/// Without a health check an instance counts as ready when the port that people reach accepts connections.
fn default_probe(workload: &mut Workload, services: &[Service]) {
    let reached = services.iter().find(|s| s.protocol != Protocol::Udp && (s.publish.is_some() || !s.routes.is_empty()));
    if let Some(service) = reached
        && workload.probes.is_empty()
    {
        let check = Check::Tcp { port: service.port };
        workload.probes.push(Probe {
            purpose: Purpose::Ready,
            check,
            period_ms: READY_PERIOD_MS,
            timeout_ms: 1000,
            failure_threshold: 3,
            success_threshold: 1,
            initial_delay_ms: 0,
        });
    }
}

/// A health check says when an instance is ready (asked often) and when it must be restarted (as often as it says).
fn health(path: &str, node: &Node, workload: &mut Workload, remarks: &mut Remarks) {
    let (mut interval, mut timeout, mut retries, mut start) = (30_000, 30_000, 3, 0);
    let mut command = Vec::new();
    for entry in node.entries().unwrap_or_default() {
        let at = format!("{path}.{}", entry.key);
        match entry.key.as_str() {
            "test" => {
                command = match &entry.node.value {
                    Value::List(_) => match words(&at, &entry.node, remarks).as_slice() {
                        [first] if first == "NONE" => Vec::new(),
                        [first, rest @ ..] if first == "CMD" && !rest.is_empty() => rest.to_vec(),
                        [first, shell] if first == "CMD-SHELL" => vec!["/bin/sh".into(), "-c".into(), shell.clone()],
                        _ => {
                            remarks.wrong(&at, entry.line, "must start with NONE, CMD or CMD-SHELL");
                            Vec::new()
                        }
                    },
                    _ => vec!["/bin/sh".into(), "-c".into(), fields::text(&at, &entry.node, remarks)],
                }
            }
            "interval" => interval = fields::millis(&at, &entry.node, remarks).max(100),
            "timeout" => timeout = fields::millis(&at, &entry.node, remarks).max(100),
            "retries" => retries = fields::count(&at, &entry.node, 1000, remarks).max(1),
            "start_period" => start = fields::millis(&at, &entry.node, remarks),
            "start_interval" => {}
            "disable" if fields::boolean(&at, &entry.node, remarks) => return,
            "disable" => {}
            _ => remarks.unsupported(&at, entry.line, "is not supported"),
        }
    }
    if command.is_empty() {
        return;
    }
    let probe = |purpose, period_ms, initial_delay_ms| Probe {
        purpose,
        check: Check::Command { command: command.clone() },
        period_ms,
        timeout_ms: timeout,
        failure_threshold: retries,
        success_threshold: 1,
        initial_delay_ms,
    };
    workload.probes.push(probe(Purpose::Ready, interval.min(READY_PERIOD_MS), 0));
    workload.probes.push(probe(Purpose::Live, interval, start));
}

fn depends(path: &str, node: &Node, workload: &mut Workload, remarks: &mut Remarks) {
    let mut add = |name: &str, condition, line, remarks: &mut Remarks| match Name::parse(name) {
        Ok(name) => {
            workload.depends_on.insert(name, condition);
        }
        Err(e) => remarks.wrong(path, line, format!("`{name}`: {e}")),
    };
    match &node.value {
        Value::List(items) => {
            for item in items {
                add(&item.scalar().unwrap_or_default(), Condition::Started, item.line, remarks);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                let condition = match entry.node.get("condition").and_then(Node::scalar).as_deref() {
                    None | Some("service_started") => Condition::Started,
                    Some("service_healthy") => Condition::Healthy,
                    Some("service_completed_successfully") => Condition::Completed,
                    Some(other) => {
                        remarks.wrong(path, entry.line, format!("`{other}` is not a condition"));
                        continue;
                    }
                };
                for option in entry.node.entries().unwrap_or_default() {
                    if !matches!(option.key.as_str(), "condition" | "required" | "restart") {
                        remarks.unsupported(&format!("{path}.{}.{}", entry.key, option.key), option.line, "is not supported");
                    }
                }
                add(&entry.key, condition, entry.line, remarks);
            }
        }
        _ => remarks.wrong(path, node.line, "must be a list or a map"),
    }
}

fn ulimits(path: &str, node: &Node, workload: &mut Workload, remarks: &mut Remarks) {
    for entry in node.entries().unwrap_or_default() {
        let at = format!("{path}.{}", entry.key);
        let (soft, hard) = match (entry.node.integer(), entry.node.get("soft").and_then(Node::integer), entry.node.get("hard").and_then(Node::integer)) {
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

fn security(path: &str, node: &Node, workload: &mut Workload, remarks: &mut Remarks) {
    for option in fields::texts(path, node, remarks) {
        match option.split_once([':', '=']) {
            Some(("seccomp", "unconfined")) => workload.seccomp = "unconfined".into(),
            Some(("no-new-privileges", "true")) => {}
            _ if option == "no-new-privileges" => {}
            _ => remarks.unsupported(path, node.line, format!("`{option}` is not supported")),
        }
    }
}

/// `x-gantry` of a service.
#[derive(Default)]
struct Extension {
    routes: Vec<(u16, Route)>,
    balance: Option<String>,
}

impl Extension {
    fn read(path: &str, node: &Node, workload: &mut Workload, remarks: &mut Remarks) -> Self {
        let mut out = Self::default();
        for entry in node.entries().unwrap_or_default() {
            let at = format!("{path}.{}", entry.key);
            match entry.key.as_str() {
                "routes" => {
                    for (n, item) in entry.node.list().unwrap_or_default().iter().enumerate() {
                        out.routes.extend(route(&format!("{at}[{n}]"), item, remarks));
                    }
                }
                "balance" => {
                    let text = fields::text(&at, &entry.node, remarks);
                    if BALANCES.contains(&text.as_str()) {
                        out.balance = Some(text);
                    } else {
                        remarks.wrong(&at, entry.line, format!("must be one of {}", BALANCES.join(", ")));
                    }
                }
                "kind" => match entry.node.scalar().as_deref() {
                    Some("stateless") => workload.kind = WorkloadKind::Stateless,
                    Some("stateful") => workload.kind = WorkloadKind::Stateful,
                    Some("global") => workload.kind = WorkloadKind::Global,
                    Some("job") => workload.kind = WorkloadKind::Job,
                    _ => remarks.wrong(&at, entry.line, "must be stateless, stateful, global or job"),
                },
                "ready" => ready(&at, &entry.node, workload, remarks),
                _ => remarks.wrong(&at, entry.line, "must be routes, balance, kind or ready"),
            }
        }
        out
    }
}

fn route(path: &str, node: &Node, remarks: &mut Remarks) -> Option<(u16, Route)> {
    let mut port = 0;
    let mut route = Route { host: String::new(), path: "/".into() };
    for entry in node.entries().unwrap_or_default() {
        let at = format!("{path}.{}", entry.key);
        match entry.key.as_str() {
            "host" => route.host = fields::text(&at, &entry.node, remarks).to_ascii_lowercase(),
            "path" => route.path = fields::text(&at, &entry.node, remarks),
            "port" => port = u16::try_from(fields::count(&at, &entry.node, 65535, remarks)).unwrap_or(0),
            _ => remarks.wrong(&at, entry.line, "must be host, path or port"),
        }
    }
    let host_fits = !route.host.is_empty() && route.host.len() <= 253 && route.host.split('.').all(is_label);
    let path_fits = route.path.starts_with('/') && route.path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'{' | b'}'));
    if !host_fits {
        remarks.wrong(&format!("{path}.host"), node.line, "must be a host name such as shop.example.org");
    }
    if !path_fits {
        remarks.wrong(&format!("{path}.path"), node.line, "must start with / and hold no spaces or quotes");
    }
    (host_fits && path_fits).then_some((port, route))
}

fn is_label(text: &str) -> bool {
    let inside = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    inside && (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-')
}

/// `ready: {http: /healthz, port: 8080, period: 1s}` or `ready: {tcp: 8080}`.
fn ready(path: &str, node: &Node, workload: &mut Workload, remarks: &mut Remarks) {
    let port_of = |key: &str| node.get(key).and_then(Node::integer).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
    let check = match (node.get("http").and_then(Node::scalar), port_of("tcp"), port_of("port")) {
        (Some(http), None, Some(port)) if http.starts_with('/') => Check::Http { path: http, port },
        (None, Some(port), None) => Check::Tcp { port },
        _ => {
            remarks.wrong(path, node.line, "must be `{http: /path, port: N}` or `{tcp: N}`");
            return;
        }
    };
    let period_ms = node.get("period").map_or(READY_PERIOD_MS, |p| fields::millis(path, p, remarks)).max(100);
    workload.probes.push(Probe {
        purpose: Purpose::Ready,
        check,
        period_ms,
        timeout_ms: 1000,
        failure_threshold: 3,
        success_threshold: 1,
        initial_delay_ms: 0,
    });
}
