//! One container of a pod.

use std::collections::BTreeMap;

use super::objects::TEMPLATE;
use super::quantity;
use crate::domain::fields::{At, Fields};
use crate::domain::model::{Check, Config, Container, EnvFact, Hook, Mount, Probe, Purpose, Resources};

use super::storage::{self, Source};

/// What containers of one pod share.
pub struct Shared<'a> {
    pub configs: &'a BTreeMap<String, Config>,
    pub volumes: &'a BTreeMap<String, Source>,
}

/// The container, and the names of its ports.
pub fn read(at: &At<'_>, shared: &Shared<'_>) -> (Container, BTreeMap<String, u16>) {
    let f = at.fields();
    let mut c = Container { name: f.text("name"), image: f.text("image"), ..Container::default() };
    if c.name.is_empty() || c.image.is_empty() {
        at.wrong("a container needs `name` and `image`");
    }
    if c.image.contains("{{") {
        at.wrong(TEMPLATE);
    }
    c.working_dir = f.text("workingDir");
    let ports = ports(&f, &mut c);
    env(&f, shared, &mut c);
    // `$(NAME)` means a variable; what is not known stays as it is.
    c.command = f.texts("command").iter().map(|t| expanded(t, &c.env)).collect();
    c.args = f.texts("args").iter().map(|t| expanded(t, &c.env)).collect();
    if let Some(resources) = f.below("resources") {
        self::resources(&resources, "requests", &mut c.requests, &mut c.extended);
        self::resources(&resources, "limits", &mut c.limits, &mut c.extended);
        resources.unsupported(&["claims"], "dynamic resources are not known");
    }
    mounts(&f, shared, &mut c);
    for (key, purpose) in [("startupProbe", Purpose::Startup), ("livenessProbe", Purpose::Live), ("readinessProbe", Purpose::Ready)] {
        if let Some(at) = f.take(key) {
            c.probes.extend(probe(&at, purpose, &ports));
        }
    }
    if let Some(lifecycle) = f.below("lifecycle") {
        c.hooks.post_start = lifecycle.take("postStart").map(|at| hook(&at, &ports)).unwrap_or_default();
        c.hooks.pre_stop = lifecycle.take("preStop").map(|at| hook(&at, &ports)).unwrap_or_default();
        c.stop_signal = lifecycle.text("stopSignal");
    }
    if let Some(security) = f.take("securityContext") {
        security_context(&security, &mut c);
    }
    (c.tty, c.stdin) = (f.flag("tty"), f.flag("stdin"));
    c.pull = match f.take("imagePullPolicy").and_then(|at| at.one_of(&["Always", "IfNotPresent", "Never"])) {
        Some(0) => "always".into(),
        Some(1) => "missing".into(),
        Some(2) => "never".into(),
        _ => String::new(),
    };
    if let Some(policy) = f.take("restartPolicy") {
        c.keeps_running = policy.text() == "Always";
        if !c.keeps_running {
            policy.unsupported("is `Always`, of an init container that runs along: all others are started again as their pod says");
        }
    }
    f.note(&["terminationMessagePath", "terminationMessagePolicy", "stdinOnce", "resizePolicy"], "has no effect here");
    f.unsupported(&["volumeDevices"], "block devices are not given to containers");
    (c, ports)
}

fn ports(f: &Fields<'_>, c: &mut Container) -> BTreeMap<String, u16> {
    let mut names = BTreeMap::new();
    for at in f.list("ports") {
        let p = at.fields();
        let port = p.number("containerPort", 65_535).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
        let protocol = p.text("protocol");
        if let Some(port) = port {
            match protocol.as_str() {
                "" | "TCP" => {
                    c.ports.insert(port);
                }
                "UDP" => {}
                _ => at.unsupported(format!("{protocol} is not balanced")),
            }
            if let Some(name) = p.take("name") {
                names.insert(name.text(), port);
            }
        } else if !p.has("containerPort") {
            at.wrong("needs `containerPort`");
        }
        p.unsupported(&["hostPort", "hostIP"], "ports of the node are given by a Service of type NodePort or LoadBalancer");
    }
    names
}

fn env(f: &Fields<'_>, shared: &Shared<'_>, c: &mut Container) {
    for at in f.list("envFrom") {
        let from = at.fields();
        let prefix = from.text("prefix");
        for (key, secret) in [("configMapRef", false), ("secretRef", true)] {
            let Some(reference) = from.below(key) else { continue };
            let name = storage::config_name(&reference.text("name"), secret);
            let optional = reference.flag("optional");
            match shared.configs.get(&name) {
                Some(config) => {
                    for (key, value) in &config.entries {
                        // What the space keeps is not known yet: a text that names it is filled in where it runs.
                        if config.external.is_none() {
                            c.env.insert(format!("{prefix}{key}"), value.clone());
                        }
                        c.env_sources.insert(format!("{prefix}{key}"), format!("{name}/{key}"));
                    }
                }
                None if optional => at.note(format!("`{}` is not there and need not be", storage::plain(&name))),
                None => at.unsupported(format!(
                    "`{}` is neither in the document nor kept by the space (`gantry config|secret set`): its variables are not set",
                    storage::plain(&name)
                )),
            }
        }
    }
    for at in f.list("env") {
        let e = at.fields();
        let name = e.text("name");
        if name.is_empty() {
            at.wrong("needs `name`");
            continue;
        }
        // A later one of the same name takes its place whole.
        c.env.remove(&name);
        c.env_sources.remove(&name);
        c.env_facts.remove(&name);
        match e.take("valueFrom") {
            Some(from) => value_from(&from, name, shared, c),
            None => {
                let value = e.take("value").map(|v| v.text()).unwrap_or_default();
                let value = expanded(&value, &c.env);
                c.env.insert(name, value);
            }
        }
    }
}

fn value_from(at: &At<'_>, name: String, shared: &Shared<'_>, c: &mut Container) {
    let from = at.fields();
    for (kind, secret) in [("configMapKeyRef", false), ("secretKeyRef", true)] {
        let Some(reference) = from.below(kind) else { continue };
        let (config, key, optional) = (storage::config_name(&reference.text("name"), secret), reference.text("key"), reference.flag("optional"));
        let of_space = shared.configs.get(&config).is_some_and(|c| c.external.is_some());
        match shared.configs.get(&config).and_then(|c| c.get(&key)) {
            Some((value, false)) => {
                if !of_space {
                    c.env.insert(name.clone(), value.to_owned());
                }
                c.env_sources.insert(name.clone(), format!("{config}/{key}"));
            }
            Some((_, true)) => at.wrong(format!("`{key}` of `{}` is no text", storage::plain(&config))),
            None if optional => at.note(format!("`{key}` of `{}` is not there and need not be", storage::plain(&config))),
            None => at.unsupported(format!(
                "`{key}` of `{}` is neither in the document nor kept by the space (`gantry config|secret set`): the variable is not set",
                storage::plain(&config)
            )),
        }
    }
    if let Some(reference) = from.below("fieldRef") {
        reference.skip(&["apiVersion"]);
        if let Some(path) = reference.take("fieldPath") {
            match fact(&path.text()) {
                Some(fact) => drop(c.env_facts.insert(name.clone(), fact)),
                None => path.unsupported(format!("`{}` is not known to instances", path.text())),
            }
        }
    }
    if let Some(reference) = from.below("resourceFieldRef") {
        if let Some(at) = reference.take("resource") {
            match at.text().as_str() {
                "limits.cpu" => drop(c.env_facts.insert(name, EnvFact::CpuLimit)),
                "limits.memory" => drop(c.env_facts.insert(name, EnvFact::MemoryLimit)),
                "requests.cpu" => drop(c.env_facts.insert(name, EnvFact::CpuRequest)),
                "requests.memory" => drop(c.env_facts.insert(name, EnvFact::MemoryRequest)),
                other => at.unsupported(format!("`{other}` is not known to instances")),
            }
        }
        // The usual ones, which a cluster writes into every object.
        if let Some(at) = reference.take("divisor")
            && !matches!(at.text().as_str(), "0" | "1")
        {
            at.unsupported("the number is given in cores or bytes");
        }
        if let Some(at) = reference.take("containerName")
            && at.text() != c.name
        {
            at.unsupported("the number is that of this container");
        }
    }
}

fn fact(path: &str) -> Option<EnvFact> {
    let quoted = |prefix: &str| Some(path.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']")?.to_owned());
    Some(match path {
        "metadata.name" => EnvFact::Instance,
        "metadata.uid" => EnvFact::InstanceId,
        "metadata.namespace" => EnvFact::Space,
        "spec.nodeName" => EnvFact::Node,
        "spec.serviceAccountName" => EnvFact::ServiceAccount,
        "status.podIP" | "status.podIPs" => EnvFact::Address,
        "status.hostIP" | "status.hostIPs" => EnvFact::NodeAddress,
        _ => match quoted("metadata.labels") {
            Some(label) if label == "apps.kubernetes.io/pod-index" || label == "batch.kubernetes.io/job-completion-index" => EnvFact::Number,
            Some(label) => EnvFact::Label(label),
            None => EnvFact::Annotation(quoted("metadata.annotations")?),
        },
    })
}

/// `$(NAME)` by its value, `$$(` as `$(`.
fn expanded(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match env.get(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

pub fn resources(f: &Fields<'_>, side: &str, into: &mut Resources, extended: &mut BTreeMap<String, u64>) {
    let Some(side) = f.below(side) else { return };
    for (key, at) in side.rest() {
        let whole = || at.parsed(quantity::whole, "a quantity such as 512Mi");
        match key {
            "cpu" => into.cpu_millis = at.parsed(quantity::millis, "a quantity such as 500m").unwrap_or(0),
            "memory" => into.memory_bytes = whole().unwrap_or(0),
            "ephemeral-storage" => into.storage_bytes = whole().unwrap_or(0),
            _ => {
                extended.insert(key.to_owned(), whole().unwrap_or(0));
            }
        }
    }
}

fn mounts(f: &Fields<'_>, shared: &Shared<'_>, c: &mut Container) {
    for at in f.list("volumeMounts") {
        let m = at.fields();
        let (name, target, sub_path, read_only) = (m.text("name"), m.text("mountPath"), m.text("subPath"), m.flag("readOnly"));
        let propagation = m.text("mountPropagation");
        m.unsupported(&["subPathExpr"], "is not supported: use `subPath`");
        m.note(&["recursiveReadOnly"], "has no effect here");
        match shared.volumes.get(&name) {
            None => at.wrong(format!("there is no volume `{name}`")),
            Some(Source::Left) => {}
            Some(Source::Files(files)) => {
                let of_space =
                    |f: &crate::domain::model::File| f.source.split_once('/').and_then(|(c, _)| shared.configs.get(c)).is_some_and(|c| c.external.is_some());
                let whole = sub_path.is_empty() && files.iter().any(|(_, f)| of_space(f));
                let folder = if whole { target.trim_end_matches('/').to_owned() } else { String::new() };
                let (chosen, above) = (sub_path.trim_matches('/'), target.trim_end_matches('/'));
                let mut any = files.is_empty();
                for (path, file) in files {
                    let path = match path.strip_prefix(chosen) {
                        _ if chosen.is_empty() => format!("{above}/{path}"),
                        Some("") => target.clone(),
                        // A folder of it.
                        Some(rest) if rest.starts_with('/') => format!("{above}{rest}"),
                        _ => continue,
                    };
                    any = true;
                    c.files.push(crate::domain::model::File { path, folder: folder.clone(), all_keys: file.all_keys && sub_path.is_empty(), ..file.clone() });
                }
                if !any {
                    at.unsupported(format!("there is no `{chosen}` in the volume `{name}`: nothing is mounted"));
                }
            }
            Some(Source::Mount(mount)) => {
                let propagation = if propagation == "None" { String::new() } else { propagation };
                c.mounts.push(Mount { target, sub_path, read_only: read_only || mount.read_only, propagation, ..mount.clone() });
            }
        }
    }
}

pub fn port_of(at: &At<'_>, names: &BTreeMap<String, u16>) -> Option<u16> {
    let text = at.text();
    let found = text.parse::<u16>().ok().filter(|p| *p > 0).or_else(|| names.get(&text).copied());
    if found.is_none() {
        at.wrong(format!("`{text}` is neither a port nor the name of one"));
    }
    found
}

fn headers(f: &Fields<'_>) -> BTreeMap<String, String> {
    let pair = |at: At<'_>| {
        let h = at.fields();
        (h.text("name"), h.text("value"))
    };
    f.list("httpHeaders").into_iter().map(pair).collect()
}

fn probe(at: &At<'_>, purpose: Purpose, names: &BTreeMap<String, u16>) -> Option<Probe> {
    let p = at.fields();
    // Zero is the same as nothing said.
    let seconds = |key: &str, otherwise: u32| p.number(key, 1_000_000).filter(|n| *n > 0).unwrap_or(otherwise) * 1000;
    let (initial_delay_ms, period_ms, timeout_ms) = (seconds("initialDelaySeconds", 0), seconds("periodSeconds", 10), seconds("timeoutSeconds", 1));
    let (failures, successes) = (p.number("failureThreshold", 100_000), p.number("successThreshold", 100_000));
    let mut found = None;
    if let Some(get) = p.below("httpGet") {
        let port = get.take("port").and_then(|at| port_of(&at, names));
        let path = get.take("path").map_or_else(|| "/".to_owned(), |at| at.text());
        let https = get.take("scheme").is_some_and(|s| s.text().eq_ignore_ascii_case("https"));
        let (host, headers) = (get.text("host"), headers(&get));
        found = port.map(|port| Check::Http { path: if path.starts_with('/') { path } else { format!("/{path}") }, port, https, host, headers });
    }
    if let Some(tcp) = p.below("tcpSocket") {
        found = tcp.take("port").and_then(|at| port_of(&at, names)).map(|port| Check::Tcp { port });
        tcp.unsupported(&["host"], "the instance itself is asked");
    }
    if let Some(grpc) = p.below("grpc") {
        let service = grpc.text("service");
        found = grpc.take("port").and_then(|at| port_of(&at, names)).map(|port| Check::Grpc { port, service });
    }
    if let Some(exec) = p.below("exec") {
        found = Some(Check::Command { command: exec.texts("command") });
    }
    p.unsupported(&["terminationGracePeriodSeconds"], "an instance has one time to end: `terminationGracePeriodSeconds` of the pod");
    match found {
        None => {
            at.wrong("needs one of httpGet, tcpSocket, grpc, exec");
            None
        }
        Some(check) => Some(Probe {
            purpose,
            check,
            period_ms: period_ms.max(1000),
            timeout_ms: timeout_ms.max(1000),
            failure_threshold: failures.filter(|n| *n > 0).unwrap_or(3),
            success_threshold: successes.filter(|n| *n > 0).unwrap_or(1),
            initial_delay_ms,
        }),
    }
}

fn hook(at: &At<'_>, names: &BTreeMap<String, u16>) -> Vec<Hook> {
    let h = at.fields();
    let mut out = Vec::new();
    if let Some(exec) = h.below("exec") {
        out.push(Hook::Command { command: exec.texts("command"), user: String::new(), working_dir: String::new(), env: BTreeMap::new(), privileged: false });
    }
    if let Some(get) = h.below("httpGet") {
        let path = get.take("path").map_or_else(|| "/".to_owned(), |at| at.text());
        let https = get.take("scheme").is_some_and(|s| s.text().eq_ignore_ascii_case("https"));
        let (host, headers) = (get.text("host"), headers(&get));
        if let Some(port) = get.take("port").and_then(|at| port_of(&at, names)) {
            out.push(Hook::Http { path, port, https, host, headers });
        }
    }
    if let Some(sleep) = h.below("sleep") {
        out.extend(sleep.number("seconds", 86_400).map(|seconds| Hook::Sleep { seconds }));
    }
    h.unsupported(&["tcpSocket"], "is not supported: use exec, httpGet or sleep");
    out
}

/// Of a container; what its pod says has been put in before.
pub fn security_context(at: &At<'_>, c: &mut Container) {
    let s = at.fields();
    identity(&s, &mut c.user, &mut c.run_as_non_root);
    if let Some(at) = s.take("privileged") {
        c.privileged = at.flag();
    }
    if let Some(at) = s.take("readOnlyRootFilesystem") {
        c.read_only_root = at.flag();
    }
    if let Some(at) = s.take("allowPrivilegeEscalation") {
        c.no_new_privileges = Some(!at.flag());
    }
    if let Some(caps) = s.below("capabilities") {
        (c.cap_add, c.cap_drop) = (caps.texts("add"), caps.texts("drop"));
    }
    profiles(&s, &mut c.seccomp, &mut c.apparmor, &mut c.selinux);
    if let Some(at) = s.take("procMount")
        && at.text() != "Default"
    {
        at.unsupported("only `Default` is known");
    }
    s.unsupported(&["windowsOptions"], "nodes run Linux");
}

/// User, group and whether root is refused, over what is known.
pub fn identity(s: &Fields<'_>, user: &mut String, non_root: &mut bool) {
    let number = |key: &str| s.take(key).and_then(|at| at.number(u32::MAX));
    let (uid, gid) = (number("runAsUser"), number("runAsGroup"));
    let (old_uid, old_gid) = user.split_once(':').map_or((user.as_str(), ""), |(u, g)| (u, g));
    let uid = uid.map_or_else(|| old_uid.to_owned(), |u| u.to_string());
    let gid = gid.map_or_else(|| old_gid.to_owned(), |g| g.to_string());
    *user = if gid.is_empty() { uid } else { format!("{uid}:{gid}") };
    if let Some(at) = s.take("runAsNonRoot") {
        *non_root = at.flag();
    }
}

pub fn profiles(s: &Fields<'_>, seccomp: &mut String, apparmor: &mut String, selinux: &mut String) {
    for (key, into) in [("seccompProfile", seccomp), ("appArmorProfile", apparmor)] {
        let Some(profile) = s.below(key) else { continue };
        let local = profile.text("localhostProfile");
        if let Some(at) = profile.take("type") {
            match at.one_of(&["RuntimeDefault", "Unconfined", "Localhost"]) {
                Some(0) => *into = "runtime/default".into(),
                Some(1) => *into = "unconfined".into(),
                Some(2) if local.is_empty() => at.wrong("needs `localhostProfile`"),
                Some(2) => *into = format!("localhost/{}", local.trim_start_matches('/')),
                _ => {}
            }
        }
    }
    if let Some(options) = s.below("seLinuxOptions") {
        let parts = ["user", "role", "type", "level"].map(|key| options.text(key));
        *selinux = parts.join(":");
    }
}
