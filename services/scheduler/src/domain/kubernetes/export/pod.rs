//! The pod of a workload.

use std::collections::BTreeMap;

use gantry_kernel::Name;
use serde_json::{Map, Value, json};

use super::policies::selector;
use crate::domain::export::Fields;
use crate::domain::kubernetes::{of_bytes, of_millis, placing, storage};
use crate::domain::model::{
    Check, Container, EnvFact, File, Hook, Match, Model, Mount, MountKind, Operator, Probe, Purpose, Resources, Restart, Workload, WorkloadKind,
};

const MAIN: &str = "kubectl.kubernetes.io/default-container";

pub fn template(name: &Name, w: &Workload, labels: &BTreeMap<String, String>, model: &Model) -> Value {
    let mut metadata = Fields::default();
    metadata.put("labels", json!(labels));
    let mut annotations = w.annotations.clone();
    if let Some(nic) = w.nics.first() {
        for (key, bps) in [("kubernetes.io/egress-bandwidth", nic.up_bps), ("kubernetes.io/ingress-bandwidth", nic.down_bps)] {
            if bps > 0 {
                annotations.insert(key.into(), bps.to_string());
            }
        }
    }
    metadata.put("annotations", json!(annotations));
    let mut spec = Fields::default();
    let mut volumes = Volumes { list: Vec::new(), files: files_name(name), model, stateful: w.kind == WorkloadKind::Stateful };
    let main = w.main(w.annotations.get(MAIN).map_or(name.as_str(), String::as_str));
    let mut containers = vec![container(&main, w, &mut volumes)];
    containers.extend(w.sidecars.iter().map(|c| container(c, w, &mut volumes)));
    spec.put("initContainers", w.init.iter().map(|c| container(c, w, &mut volumes)).collect::<Vec<_>>());
    spec.put("containers", containers);
    spec.put("volumes", volumes.list);
    let job = matches!(w.kind, WorkloadKind::Job | WorkloadKind::CronJob);
    spec.put(
        "restartPolicy",
        match w.restart {
            Restart::Always => Value::Null,
            Restart::OnFailure if job => "OnFailure".into(),
            Restart::Never if job => "Never".into(),
            // Only jobs may end in Kubernetes.
            Restart::OnFailure | Restart::Never => Value::Null,
        },
    );
    if w.stop_grace_seconds != 30 {
        spec.set("terminationGracePeriodSeconds", w.stop_grace_seconds);
    }
    let mut security = Fields::default();
    if let Some(group) = w.fs_group {
        security.set("fsGroup", group);
    }
    security.put("supplementalGroups", json!(w.groups));
    security.put("sysctls", w.sysctls.iter().map(|(n, v)| json!({ "name": n, "value": v })).collect::<Vec<_>>());
    spec.put("securityContext", security);
    spec.put("hostNetwork", w.sharing.host_network);
    spec.put("hostPID", w.sharing.host_pid);
    spec.put("hostIPC", w.sharing.host_ipc);
    spec.put("shareProcessNamespace", w.sharing.processes);
    spec.put("hostname", host_name(&w.hostname).unwrap_or_default());
    spec.put("runtimeClassName", w.runtime_class.as_str());
    spec.put("priorityClassName", w.priority_class.as_str());
    spec.put("serviceAccountName", w.service_account.as_str());
    if let Some(token) = w.service_token {
        spec.set("automountServiceAccountToken", token);
    }
    spec.put("imagePullSecrets", w.pull_secrets.iter().map(|n| json!({ "name": n })).collect::<Vec<_>>());
    names(w, &mut spec);
    placement(w, labels, &mut spec);
    json!({ "metadata": Value::from(metadata), "spec": Value::from(spec) })
}

/// A pod's own name is one label (RFC 1123): the first one of a name with a domain. `None`: it cannot be called so.
pub fn host_name(text: &str) -> Option<String> {
    let label = text.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_label = (1..=63).contains(&label.len()) && label.chars().all(fits) && !label.starts_with('-') && !label.ends_with('-');
    is_label.then_some(label)
}

/// As Compose and Docker say it, or Kubernetes. What is mounted inside shows outside only if the container may mount at all, and the
/// API takes it of no others (core/v1 VolumeMount).
fn propagation(text: &str, privileged: bool) -> &str {
    match text {
        "shared" | "rshared" | "Bidirectional" if privileged => "Bidirectional",
        "shared" | "rshared" | "slave" | "rslave" | "Bidirectional" | "HostToContainer" => "HostToContainer",
        _ => "",
    }
}

fn names(w: &Workload, spec: &mut Fields) {
    spec.put(
        "dnsPolicy",
        match w.dns.policy.as_str() {
            "default" => "Default",
            "none" => "None",
            _ => "",
        },
    );
    let mut config = Fields::default();
    config.put("nameservers", json!(w.dns.servers));
    config.put("searches", json!(w.dns.searches));
    let option = |text: &String| match text.split_once(':') {
        Some((name, value)) => json!({ "name": name, "value": value }),
        None => json!({ "name": text }),
    };
    config.put("options", w.dns.options.iter().map(option).collect::<Vec<_>>());
    spec.put("dnsConfig", config);
    let mut by_address: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (host, address) in &w.extra_hosts {
        by_address.entry(address).or_default().push(host);
    }
    spec.put("hostAliases", by_address.into_iter().map(|(ip, hosts)| json!({ "ip": ip, "hostnames": hosts })).collect::<Vec<_>>());
}

struct Volumes<'a> {
    list: Vec<Value>,
    files: String,
    model: &'a Model,
    stateful: bool,
}

/// The config of a workload's files that come from none.
pub fn files_name(name: &Name) -> String {
    format!("{name}-files")
}

impl Volumes<'_> {
    /// The name of the pod's volume for a mount.
    fn of(&mut self, m: &Mount) -> String {
        let n = self.list.len();
        let (name, source) = match m.kind {
            MountKind::Volume if m.source.is_empty() => (format!("own-{n}"), json!({ "emptyDir": {} })),
            // A claim of the template is there by its name.
            MountKind::Volume if self.stateful && self.model.volumes.contains_key(&m.source) => return m.source.clone(),
            MountKind::Volume => (m.source.clone(), json!({ "persistentVolumeClaim": { "claimName": m.source } })),
            MountKind::Tmpfs => {
                let mut empty = Fields::default();
                empty.put("medium", "Memory");
                empty.put("sizeLimit", if m.size_bytes > 0 { of_bytes(m.size_bytes) } else { String::new() });
                (format!("tmpfs-{n}"), json!({ "emptyDir": Value::from(empty) }))
            }
            MountKind::Scratch => {
                let mut empty = Fields::default();
                empty.put("sizeLimit", if m.size_bytes > 0 { of_bytes(m.size_bytes) } else { String::new() });
                (m.source.clone(), json!({ "emptyDir": Value::from(empty) }))
            }
            MountKind::Bind => (format!("host-{n}"), json!({ "hostPath": { "path": m.source } })),
            MountKind::Nfs => {
                let (server, path) = m.source.split_once(':').unwrap_or((&m.source, "/"));
                (format!("nfs-{n}"), json!({ "nfs": { "server": server, "path": path } }))
            }
        };
        self.add(name, source)
    }

    fn add(&mut self, name: String, source: Value) -> String {
        let mut volume = source;
        volume["name"] = name.clone().into();
        if !self.list.iter().any(|v| v["name"] == volume["name"]) {
            self.list.push(volume);
        }
        name
    }

    /// Files of one folder as one volume, which a cluster brings up to date while containers run.
    fn folder(&mut self, folder: &str, files: &[&File]) -> Value {
        let mut sources: BTreeMap<(bool, String), Vec<Item<'_>>> = BTreeMap::new();
        for f in files {
            let Some((config, key)) = f.source.split_once('/') else { continue };
            let secret = self.model.configs.get(config).map_or(f.secret, |c| c.secret);
            let path = f.path.strip_prefix(folder).unwrap_or(&f.path).trim_start_matches('/');
            let mode = if f.mode == 0 { 0o444 } else { f.mode };
            let item = Item { key, path, mode, whole: f.all_keys && path == key, added: f.added };
            sources.entry((secret, storage::plain(config).to_owned())).or_default().push(item);
        }
        // One mode of the volume counts for what is not listed key by key.
        let standard = sources.values().find(|items| items.iter().all(|i| i.whole)).and_then(|items| Some(items.first()?.mode));
        // `secret` in a projected volume calls it by `name`, too.
        let source = |((secret, name), items): ((bool, String), Vec<Item<'_>>)| {
            let kind = if secret { "secret" } else { "configMap" };
            if items.iter().all(|i| i.whole && Some(i.mode) == standard) {
                // Keys that come to it are shown, too.
                return json!({ kind: { "name": name } });
            }
            // A pod is not made anew for a key that came while it runs.
            let listed: Vec<Value> = items.iter().filter(|i| !i.added).map(|i| json!({ "key": i.key, "path": i.path, "mode": i.mode })).collect();
            json!({ kind: { "name": name, "items": listed } })
        };
        let all: Vec<Value> = sources.into_iter().map(source).collect();
        let mut projected = json!({ "sources": all });
        if let Some(mode) = standard {
            projected["defaultMode"] = mode.into();
        }
        let volume = self.add(format!("folder-{}", self.list.len()), json!({ "projected": projected }));
        json!({ "name": volume, "mountPath": folder, "readOnly": true })
    }

    /// One file as a volume with one item, mounted by `subPath`.
    fn file(&mut self, n: usize, f: &File) -> Value {
        let (config, key) = f.source.split_once('/').map_or((self.files.clone(), format!("file-{n}")), |(c, k)| (c.to_owned(), k.to_owned()));
        let secret = self.model.configs.get(&config).map_or(f.secret, |c| c.secret);
        let own = storage::plain(&config).to_owned();
        // As in a folder: 0 is nobody's to read.
        let mode = if f.mode == 0 { 0o444 } else { f.mode };
        let (kind, field) = if secret { ("secret", "secretName") } else { ("configMap", "name") };
        let volume = self.add(format!("file-{}-{n}", self.list.len()), json!({ kind: { field: own, "items": [{ "key": key, "path": key, "mode": mode }] } }));
        json!({ "name": volume, "mountPath": f.path, "subPath": key })
    }
}

/// One key of a config in a folder.
struct Item<'a> {
    key: &'a str,
    path: &'a str,
    mode: u32,
    /// One of all keys, under its own name.
    whole: bool,
    added: bool,
}

fn container(c: &Container, of: &Workload, volumes: &mut Volumes<'_>) -> Value {
    let mut out = Fields::default();
    out.put("name", c.name.as_str());
    out.put("image", c.image.as_str());
    // `$$` is one `$` in Kubernetes and `$(` begins a variable; ours are texts, except those that the engine fills.
    let safe = |text: &str| {
        let mut text = text.replace('$', "$$");
        for name in c.env_facts.keys().chain(c.env_sources.keys()) {
            text = text.replace(&format!("$$({name})"), &format!("$({name})"));
        }
        text
    };
    out.put("command", c.command.iter().map(|t| Value::from(safe(t))).collect::<Vec<_>>());
    out.put("args", c.args.iter().map(|t| Value::from(safe(t))).collect::<Vec<_>>());
    out.put("workingDir", c.working_dir.as_str());
    out.put("env", env(c, &safe));
    let mut resources = Fields::default();
    resources.put("requests", amounts(&c.requests, &BTreeMap::new()));
    resources.put("limits", amounts(&c.limits, &c.extended));
    out.put("resources", resources);
    let port = |p: &u16| {
        let mut out = Fields::default();
        out.put("containerPort", *p);
        out.put("name", of.port_names.iter().find(|(_, port)| *port == p).map_or("", |(name, _)| name.as_str()));
        Value::from(out)
    };
    out.put("ports", c.ports.iter().map(port).collect::<Vec<_>>());
    let mut mounts = Vec::new();
    for m in &c.mounts {
        let mut f = Fields::default();
        f.put("name", volumes.of(m));
        f.put("mountPath", m.target.as_str());
        f.put("readOnly", m.read_only);
        f.put("subPath", m.sub_path.as_str());
        f.put("mountPropagation", propagation(&m.propagation, c.privileged));
        mounts.push(Value::from(f));
    }
    let mut folders: BTreeMap<&str, Vec<&File>> = BTreeMap::new();
    for (n, f) in c.files.iter().enumerate() {
        // Files that come from no config have no place in a projected volume.
        if f.folder.is_empty() || c.files.iter().any(|other| other.folder == f.folder && other.source.is_empty()) {
            if !f.added {
                mounts.push(volumes.file(n, f));
            }
        } else {
            folders.entry(&f.folder).or_default().push(f);
        }
    }
    mounts.extend(folders.into_iter().map(|(folder, files)| volumes.folder(folder, &files)));
    out.put("volumeMounts", mounts);
    for (key, purpose) in [("startupProbe", Purpose::Startup), ("livenessProbe", Purpose::Live), ("readinessProbe", Purpose::Ready)] {
        out.put(key, c.probes.iter().find(|p| p.purpose == purpose).map_or(Value::Null, probe));
    }
    let mut lifecycle = Fields::default();
    lifecycle.put("postStart", c.hooks.post_start.first().map_or(Value::Null, hook));
    lifecycle.put("preStop", c.hooks.pre_stop.first().map_or(Value::Null, hook));
    lifecycle.put("stopSignal", c.stop_signal.as_str());
    out.put("lifecycle", lifecycle);
    out.put("securityContext", security(c));
    out.put("tty", c.tty);
    out.put("stdin", c.stdin);
    out.put(
        "imagePullPolicy",
        match c.pull.as_str() {
            "always" => "Always",
            "missing" => "IfNotPresent",
            "never" => "Never",
            _ => "",
        },
    );
    out.put("restartPolicy", c.keeps_running.then_some("Always"));
    out.into()
}

fn env(c: &Container, safe: &impl Fn(&str) -> String) -> Vec<Value> {
    let mut out = Vec::new();
    // Facts first: later variables may name them.
    for (name, fact) in &c.env_facts {
        let field = |path: &str| json!({ "fieldRef": { "fieldPath": path } });
        let resource = |name: &str| json!({ "resourceFieldRef": { "resource": name } });
        let from = match fact {
            EnvFact::Instance | EnvFact::Workload | EnvFact::Application => field("metadata.name"),
            EnvFact::InstanceId => field("metadata.uid"),
            EnvFact::Number => field("metadata.labels['apps.kubernetes.io/pod-index']"),
            EnvFact::Address => field("status.podIP"),
            EnvFact::Node => field("spec.nodeName"),
            EnvFact::NodeAddress => field("status.hostIP"),
            EnvFact::Space => field("metadata.namespace"),
            EnvFact::ServiceAccount => field("spec.serviceAccountName"),
            EnvFact::CpuLimit => resource("limits.cpu"),
            EnvFact::MemoryLimit => resource("limits.memory"),
            EnvFact::CpuRequest => resource("requests.cpu"),
            EnvFact::MemoryRequest => resource("requests.memory"),
            EnvFact::Label(label) => field(&format!("metadata.labels['{label}']")),
            EnvFact::Annotation(name) => field(&format!("metadata.annotations['{name}']")),
        };
        out.push(json!({ "name": name, "valueFrom": from }));
    }
    for (name, value) in &c.env {
        match c.env_sources.get(name).and_then(|s| s.split_once('/')) {
            Some((config, key)) => {
                let kind = if config.ends_with(".secret") { "secretKeyRef" } else { "configMapKeyRef" };
                out.push(json!({ "name": name, "valueFrom": { kind: { "name": storage::plain(config), "key": key } } }));
            }
            None => out.push(json!({ "name": name, "value": safe(value) })),
        }
    }
    out
}

fn amounts(r: &Resources, extended: &BTreeMap<String, u64>) -> Value {
    let mut out = Fields::default();
    out.put("cpu", if r.cpu_millis > 0 { of_millis(r.cpu_millis) } else { String::new() });
    out.put("memory", if r.memory_bytes > 0 { of_bytes(r.memory_bytes) } else { String::new() });
    out.put("ephemeral-storage", if r.storage_bytes > 0 { of_bytes(r.storage_bytes) } else { String::new() });
    for (name, count) in extended {
        out.put(name, *count);
    }
    out.into()
}

fn headers(headers: &BTreeMap<String, String>) -> Vec<Value> {
    headers.iter().map(|(n, v)| json!({ "name": n, "value": v })).collect()
}

fn http(path: &str, port: u16, https: bool, host: &str, more: &BTreeMap<String, String>) -> Value {
    let mut out = Fields::default();
    out.put("path", path);
    out.put("port", port);
    out.put("scheme", https.then_some("HTTPS"));
    out.put("host", host);
    out.put("httpHeaders", headers(more));
    out.into()
}

fn probe(p: &Probe) -> Value {
    let mut out = Fields::default();
    match &p.check {
        Check::Http { path, port, https, host, headers } => out.put("httpGet", http(path, *port, *https, host, headers)),
        Check::Tcp { port } => out.put("tcpSocket", json!({ "port": port })),
        Check::Grpc { port, service } => {
            let mut grpc = Fields::default();
            grpc.put("port", *port);
            grpc.put("service", service.as_str());
            out.put("grpc", grpc);
        }
        Check::Command { command } => out.put("exec", json!({ "command": command })),
    }
    out.put("periodSeconds", p.period_ms.div_ceil(1000));
    out.put("timeoutSeconds", p.timeout_ms.div_ceil(1000));
    out.put("failureThreshold", p.failure_threshold);
    // Of the others the API takes no number but one.
    out.put("successThreshold", if p.purpose == Purpose::Ready { p.success_threshold } else { p.success_threshold.min(1) });
    out.put("initialDelaySeconds", p.initial_delay_ms / 1000);
    out.into()
}

fn hook(hook: &Hook) -> Value {
    match hook {
        Hook::Command { command, .. } => json!({ "exec": { "command": command } }),
        Hook::Http { path, port, https, host, headers } => json!({ "httpGet": http(path, *port, *https, host, headers) }),
        Hook::Sleep { seconds } => json!({ "sleep": { "seconds": seconds } }),
    }
}

fn security(c: &Container) -> Value {
    let mut s = Fields::default();
    let (user, group) = c.user.split_once(':').unwrap_or((&c.user, ""));
    for (key, id) in [("runAsUser", user), ("runAsGroup", group)] {
        if let Ok(id) = id.parse::<u32>() {
            s.set(key, id);
        }
    }
    s.put("runAsNonRoot", c.run_as_non_root);
    s.put("privileged", c.privileged);
    s.put("readOnlyRootFilesystem", c.read_only_root);
    if let Some(flag) = c.no_new_privileges {
        s.set("allowPrivilegeEscalation", !flag);
    }
    let mut caps = Fields::default();
    caps.put("add", json!(c.cap_add));
    caps.put("drop", json!(c.cap_drop));
    s.put("capabilities", caps);
    for (key, text) in [("seccompProfile", &c.seccomp), ("appArmorProfile", &c.apparmor)] {
        s.put(
            key,
            match text.strip_prefix("localhost/") {
                Some(profile) => json!({ "type": "Localhost", "localhostProfile": profile }),
                None if text == "unconfined" => json!({ "type": "Unconfined" }),
                None if text == "runtime/default" => json!({ "type": "RuntimeDefault" }),
                None => Value::Null,
            },
        );
    }
    if !c.selinux.is_empty() && c.selinux != "disable" {
        let mut options = Fields::default();
        for (key, value) in ["user", "role", "type", "level"].into_iter().zip(c.selinux.splitn(4, ':')) {
            options.put(key, value);
        }
        s.put("seLinuxOptions", options);
    }
    s.into()
}

fn operator(operator: Operator) -> &'static str {
    match operator {
        Operator::In => "In",
        Operator::NotIn => "NotIn",
        Operator::Exists => "Exists",
        Operator::NotExists => "DoesNotExist",
        Operator::Above => "Gt",
        Operator::Below => "Lt",
    }
}

pub fn expressions(matches: &[Match], key: impl Fn(&str) -> String) -> Vec<Value> {
    let one = |m: &Match| {
        let mut out = Fields::default();
        out.put("key", key(&m.attribute));
        out.put("operator", operator(m.operator));
        out.put("values", json!(m.values));
        Value::from(out)
    };
    matches.iter().map(one).collect()
}

/// `labels`: of the pods themselves, which a rule without a selector is about.
fn placement(w: &Workload, labels: &BTreeMap<String, String>, spec: &mut Fields) {
    let p = &w.placement;
    let (equal, other): (Vec<_>, Vec<_>) = p.rules.iter().partition(|r| r.equals);
    spec.put("nodeSelector", equal.iter().map(|r| (placing::label(&r.attribute), r.value.clone().into())).collect::<Map<_, _>>());
    let not = other.iter().map(|r| Match { attribute: r.attribute.clone(), operator: Operator::NotIn, values: vec![r.value.clone()] }).collect::<Vec<_>>();
    let mut terms: Vec<Vec<Match>> = if p.any_of.is_empty() && !not.is_empty() { vec![Vec::new()] } else { p.any_of.clone() };
    terms.iter_mut().for_each(|t| t.extend(not.iter().cloned()));
    let mut nodes = Fields::default();
    if !terms.is_empty() {
        let terms: Vec<Value> = terms.iter().map(|t| json!({ "matchExpressions": expressions(t, placing::label) })).collect();
        nodes.put("requiredDuringSchedulingIgnoredDuringExecution", json!({ "nodeSelectorTerms": terms }));
    }
    let preferred = p.preferences.iter().map(|f| json!({ "weight": f.weight, "preference": { "matchExpressions": expressions(&f.matches, placing::label) } }));
    nodes.put("preferredDuringSchedulingIgnoredDuringExecution", preferred.collect::<Vec<_>>());
    let mut affinity = Fields::default();
    affinity.put("nodeAffinity", nodes);
    for (key, apart) in [("podAffinity", false), ("podAntiAffinity", true)] {
        let of = || p.affinity.iter().filter(move |a| a.apart == apart);
        let term = |a: &crate::domain::model::Affinity| json!({ "topologyKey": placing::label(&a.topology), "labelSelector": selector(&a.selector) });
        let mut pods = Fields::default();
        pods.put("requiredDuringSchedulingIgnoredDuringExecution", of().filter(|a| a.weight.is_none()).map(term).collect::<Vec<_>>());
        let soft = of().filter_map(|a| Some(json!({ "weight": a.weight?, "podAffinityTerm": term(a) })));
        pods.put("preferredDuringSchedulingIgnoredDuringExecution", soft.collect::<Vec<_>>());
        affinity.put(key, pods);
    }
    spec.put("affinity", affinity);
    let spread = p.spread.iter().map(|s| {
        let mut out = Fields::default();
        out.put("topologyKey", placing::label(&s.topology));
        out.put("maxSkew", s.max_skew);
        out.put("whenUnsatisfiable", if s.hard { "DoNotSchedule" } else { "ScheduleAnyway" });
        // None would count no pod at all.
        let own = s.selector.labels.is_empty() && s.selector.matches.is_empty();
        out.put("labelSelector", if own { json!({ "matchLabels": labels }) } else { selector(&s.selector) });
        // The API refuses it of what is only wished.
        out.put("minDomains", if s.hard { s.min_places } else { 0 });
        Value::from(out)
    });
    spec.put("topologySpreadConstraints", spread.collect::<Vec<_>>());
    let tolerated = p.tolerations.iter().map(|t| {
        let mut out = Fields::default();
        out.put("key", t.key.as_str());
        out.put("operator", if t.value.is_none() { "Exists" } else { "" });
        out.put("value", t.value.as_deref());
        out.put("effect", t.effect.as_str());
        if let Some(seconds) = t.seconds {
            out.set("tolerationSeconds", seconds);
        }
        Value::from(out)
    });
    spec.put("tolerations", tolerated.collect::<Vec<_>>());
}
