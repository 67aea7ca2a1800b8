//! A model as a Compose file.

use std::collections::BTreeMap;

use gantry_kernel::Name;
use serde_json::{Map, Value, json};

use crate::domain::document::Document;
use crate::domain::export::Fields;
use crate::domain::model::{
    Check, Condition, File, Hook, Model, Mount, MountKind, Network, Probe, Protocol, Purpose, Restart, Service, Volume, Workload, WorkloadKind,
};
use crate::domain::own::escape;
use crate::domain::{patch, yaml};

pub fn export(name: &str, model: &Model) -> String {
    let mut root = document(name, model);
    let read = super::read(&Document::alone(&yaml::to_yaml(&escaped(&root)))).model;
    if let Some(change) = patch::between(&read, model) {
        root["x-gantry"] = json!({ "model": change });
    }
    yaml::to_yaml(&escaped(&root))
}

fn escaped(root: &Value) -> Value {
    let mut root = root.clone();
    escape(&mut root);
    root
}

fn document(name: &str, model: &Model) -> Value {
    let mut out = Fields::default();
    out.put("name", name);
    let services = model.workloads.iter().map(|(name, w)| (name.to_string(), service(name, w, model)));
    out.put("services", Value::Object(services.collect()));
    let mounted = model.workloads.values().flat_map(|w| &w.mounts).filter(|m| m.kind == MountKind::Volume && !m.source.is_empty());
    let mut volumes: Map<String, Value> = mounted.map(|m| (m.source.clone(), json!({}))).collect();
    volumes.extend(model.volumes.iter().map(|(n, v)| (n.clone(), volume(v))));
    out.put("volumes", volumes);
    out.put("networks", Value::Object(model.networks.iter().map(|(n, v)| (n.clone(), network(v))).collect()));
    let (configs, secrets) = contents(model);
    out.put("configs", configs);
    out.put("secrets", secrets);
    out.into()
}

/// (is it a secret, its name in Compose) of a config's key, or of a file of its own.
fn place(file: &File, model: &Model, name: &Name, n: usize) -> (bool, String) {
    match file.source.split_once('/') {
        Some((config, key)) => {
            let secret = model.configs.get(config).is_some_and(|c| c.secret);
            let own = config.strip_suffix(".secret").unwrap_or(config);
            if model.configs.get(config).is_some_and(|c| c.external.is_some()) {
                return (secret, own.to_owned());
            }
            (secret, if key == "content" { own.to_owned() } else { format!("{own}.{key}") })
        }
        None => (file.secret, format!("{name}-file-{n}")),
    }
}

/// The sections `configs` and `secrets`: what files use, and whole configs.
fn contents(model: &Model) -> (Value, Value) {
    let mut found: [BTreeMap<String, Value>; 2] = Default::default();
    for (name, w) in &model.workloads {
        let of_space = |f: &File| f.source.split_once('/').and_then(|(c, _)| model.configs.get(c)).is_some_and(|c| c.external.is_some());
        for (n, file) in w.files.iter().enumerate().filter(|(_, f)| !f.base64 && !of_space(f)) {
            let (secret, own) = place(file, model, name, n);
            found[usize::from(secret)].insert(own, json!({ "content": file.content }));
        }
    }
    for (name, config) in &model.configs {
        if let Some(external) = &config.external {
            let of = config.version.map_or_else(|| external.clone(), |version| format!("{external}@{version}"));
            let own = name.strip_suffix(".secret").unwrap_or(name).to_owned();
            found[usize::from(config.secret)].insert(own, json!({ "external": true, "name": of }));
        } else if let Some((content, false)) = config.get("content") {
            found[usize::from(config.secret)].insert(name.strip_suffix(".secret").unwrap_or(name).to_owned(), json!({ "content": content }));
        }
    }
    let [configs, secrets] = found.map(|m| Value::Object(m.into_iter().collect()));
    (configs, secrets)
}

fn service(name: &Name, w: &Workload, model: &Model) -> Value {
    let mut s = Fields::default();
    let own: Vec<&Service> = model.services.iter().filter(|s| s.workload == *name && s.name == *name).collect();
    s.put("image", w.image.as_str());
    s.put("entrypoint", json!(w.command));
    s.put("command", json!(w.args));
    s.put("environment", json!(w.env));
    s.put("working_dir", w.working_dir.as_str());
    s.put("user", w.user.as_str());
    s.put("group_add", w.groups.iter().map(|g| Value::from(g.to_string())).collect::<Vec<_>>());
    container(w, &mut s);
    let published = own.iter().filter(|s| s.publish.is_some()).map(|s| port(s));
    s.put("ports", published.collect::<Vec<_>>());
    let exposed = own.iter().filter(|s| s.publish.is_none() && s.port > 0 && s.routes.is_empty());
    s.put("expose", exposed.map(|s| Value::from(if s.protocol == Protocol::Udp { format!("{}/udp", s.port) } else { s.port.to_string() })).collect::<Vec<_>>());
    s.put("volumes", w.mounts.iter().filter_map(mount).collect::<Vec<_>>());
    for (section, secret) in [("configs", false), ("secrets", true)] {
        let of = w.files.iter().enumerate().filter(|(_, f)| !f.base64).map(|(n, f)| (place(f, model, name, n), f));
        let list = of.filter(|((s, _), _)| *s == secret).map(|((_, own), f)| {
            let mut out = Fields::default();
            out.put("source", own);
            out.put("target", f.path.as_str());
            out.put("mode", format!("0{:o}", f.mode));
            out.put("uid", f.uid.map(|u| u.to_string()));
            out.put("gid", f.gid.map(|g| g.to_string()));
            Value::from(out)
        });
        s.put(section, list.collect::<Vec<_>>());
    }
    s.put("healthcheck", health(w));
    s.put("depends_on", depends(w));
    s.put("networks", networks(w, &own));
    s.put("deploy", deploy(w, own.iter().any(|s| s.headless)));
    s.put("x-gantry", extension(w, &own));
    s.into()
}

fn container(w: &Workload, s: &mut Fields) {
    match (w.restart, w.restart_attempts) {
        (Restart::Always, _) => {}
        (Restart::OnFailure, Some(attempts)) => s.put("restart", format!("on-failure:{attempts}")),
        (Restart::OnFailure, None) => s.put("restart", "on-failure"),
        (Restart::Never, _) => s.put("restart", "no"),
    }
    if w.stop_grace_seconds != 10 {
        s.set("stop_grace_period", format!("{}s", w.stop_grace_seconds));
    }
    s.put("stop_signal", w.stop_signal.as_str());
    s.put("privileged", w.privileged);
    s.put("read_only", w.read_only_root);
    s.put("cap_add", json!(w.cap_add));
    s.put("cap_drop", json!(w.cap_drop));
    s.put("sysctls", json!(w.sysctls));
    s.put("runtime", w.runtime_class.as_str());
    s.put("storage_opt", (w.limits.storage_bytes > 0).then(|| json!({ "size": w.limits.storage_bytes.to_string() })));
    s.put("init", w.init_process);
    s.put("tty", w.tty);
    s.put("stdin_open", w.stdin);
    s.put("pull_policy", Some(w.pull.as_str()).filter(|pull| matches!(*pull, "always" | "missing" | "never")));
    s.put("hostname", w.hostname.as_str());
    s.put("labels", json!(w.labels));
    s.put("annotations", json!(w.annotations));
    s.put("dns", json!(w.dns.servers));
    s.put("dns_search", json!(w.dns.searches));
    s.put("dns_opt", json!(w.dns.options));
    s.put("extra_hosts", json!(w.extra_hosts));
    s.put("devices", w.devices.iter().map(|d| Value::from(format!("{}:{}:{}", d.source, d.target, d.permissions))).collect::<Vec<_>>());
    let mut limits = Map::new();
    for limit in &w.ulimits {
        if let Some((name, (soft, hard))) = limit.split_once('=').and_then(|(n, v)| Some((n, v.split_once(':')?))) {
            limits.insert(name.to_owned(), json!({ "soft": soft, "hard": hard }));
        }
    }
    s.put("ulimits", limits);
    let mut security = Vec::new();
    for (kind, text) in [("seccomp", &w.seccomp), ("apparmor", &w.apparmor)] {
        match text.strip_prefix("localhost") {
            Some(profile) if kind == "seccomp" => security.push(format!("seccomp:{profile}")),
            Some(profile) => security.push(format!("apparmor:{}", profile.trim_start_matches('/'))),
            None if text == "unconfined" => security.push(format!("{kind}:unconfined")),
            None => {}
        }
    }
    match w.selinux.as_str() {
        "" => {}
        "disable" => security.push("label:disable".into()),
        label => {
            security.extend(label.splitn(4, ':').zip(["user", "role", "type", "level"]).filter(|(v, _)| !v.is_empty()).map(|(v, k)| format!("label:{k}:{v}")))
        }
    }
    security.extend(w.no_new_privileges.map(|flag| format!("no-new-privileges:{flag}")));
    s.put("security_opt", json!(security));
    if w.sharing.host_network {
        s.put("network_mode", "host");
    } else if let Some(other) = &w.sharing.network_of {
        s.put("network_mode", format!("service:{other}"));
    }
    s.put("pid", w.sharing.host_pid.then_some("host"));
    s.put("ipc", w.sharing.host_ipc.then_some("host"));
    if let [architecture] = w.placement.architectures.iter().collect::<Vec<_>>()[..] {
        s.put("platform", format!("linux/{architecture}"));
    }
    s.put("post_start", w.hooks.post_start.iter().filter_map(hook).collect::<Vec<_>>());
    s.put("pre_stop", w.hooks.pre_stop.iter().filter_map(hook).collect::<Vec<_>>());
}

fn hook(hook: &Hook) -> Option<Value> {
    let Hook::Command { command, user, working_dir, env, privileged } = hook else { return None };
    let mut out = Fields::default();
    out.put("command", json!(command));
    out.put("user", user.as_str());
    out.put("working_dir", working_dir.as_str());
    out.put("environment", json!(env));
    out.put("privileged", *privileged);
    Some(out.into())
}

fn port(s: &Service) -> Value {
    let mut out = Fields::default();
    out.put("target", s.port);
    out.put("published", s.publish.filter(|p| p.wanted > 0).map(|p| p.wanted.to_string()));
    out.put("name", s.port_name.as_str());
    match s.protocol {
        Protocol::Udp => out.put("protocol", "udp"),
        Protocol::Http if s.routes.is_empty() => out.put("app_protocol", "http"),
        Protocol::Http | Protocol::Tcp => {}
    }
    out.into()
}

fn mount(m: &Mount) -> Option<Value> {
    let mut out = Fields::default();
    let kind = match m.kind {
        MountKind::Volume => "volume",
        MountKind::Bind => "bind",
        MountKind::Tmpfs => "tmpfs",
        MountKind::Scratch | MountKind::Nfs => return None,
    };
    out.put("type", kind);
    out.put("source", m.source.as_str());
    out.put("target", m.target.as_str());
    out.put("read_only", m.read_only);
    if m.kind == MountKind::Tmpfs && m.size_bytes > 0 {
        out.put("tmpfs", json!({ "size": m.size_bytes }));
    }
    if m.kind == MountKind::Volume && !m.sub_path.is_empty() {
        out.put("volume", json!({ "subpath": m.sub_path }));
    }
    if m.kind == MountKind::Bind && !m.propagation.is_empty() {
        // As Kubernetes says it, in Docker's words.
        let said = match m.propagation.as_str() {
            "HostToContainer" => "rslave",
            "Bidirectional" => "rshared",
            other => other,
        };
        out.put("bind", json!({ "propagation": said }));
    }
    Some(out.into())
}

/// The check by which a container is restarted; Compose has no other.
fn health(w: &Workload) -> Value {
    let command = |p: &Probe| match &p.check {
        Check::Command { command } => Some(command.clone()),
        _ => None,
    };
    let Some((live, command)) = w.probes.iter().filter(|p| p.purpose == Purpose::Live).find_map(|p| Some((p, command(p)?))) else { return Value::Null };
    let mut out = Fields::default();
    out.put("test", std::iter::once("CMD".to_owned()).chain(command).collect::<Vec<_>>());
    out.put("interval", format!("{}ms", live.period_ms));
    out.put("timeout", format!("{}ms", live.timeout_ms));
    out.put("retries", live.failure_threshold);
    if live.initial_delay_ms > 0 {
        out.put("start_period", format!("{}ms", live.initial_delay_ms));
    }
    out.into()
}

fn depends(w: &Workload) -> Value {
    let one = |(name, condition): (&Name, &Condition)| {
        let mut out = Fields::default();
        let word = match condition {
            Condition::Started => "service_started",
            Condition::Healthy => "service_healthy",
            Condition::Completed => "service_completed_successfully",
        };
        out.put("condition", word);
        if w.optional_dependencies.contains(name) {
            out.set("required", false);
        }
        out.put("restart", w.restart_with.contains(name));
        (name.to_string(), Value::from(out))
    };
    Value::Object(w.depends_on.iter().map(one).collect())
}

fn networks(w: &Workload, own: &[&Service]) -> Value {
    let aliases: Vec<String> = own.first().map(|s| s.aliases.iter().filter(|a| **a != w.hostname).cloned().collect()).unwrap_or_default();
    let mut out = Map::new();
    for (n, nic) in w.nics.iter().enumerate() {
        let mut f = Fields::default();
        f.put("ipv4_address", nic.address4.as_str());
        f.put("ipv6_address", nic.address6.as_str());
        f.put("mac_address", nic.mac.as_str());
        f.put("interface_name", nic.interface.as_str());
        f.put("priority", nic.priority);
        if n == 0 {
            f.put("aliases", json!(aliases));
        }
        out.insert(if nic.network.is_empty() { "default".into() } else { nic.network.clone() }, f.into());
    }
    if out.is_empty() && !aliases.is_empty() {
        out.insert("default".into(), json!({ "aliases": aliases }));
    }
    Value::Object(out)
}

fn deploy(w: &Workload, headless: bool) -> Value {
    let mut d = Fields::default();
    match w.kind {
        WorkloadKind::Global => d.put("mode", "global"),
        WorkloadKind::Job => d.put("mode", "replicated-job"),
        WorkloadKind::Stateless | WorkloadKind::Stateful | WorkloadKind::CronJob => {}
    }
    if w.replicas != 1 {
        d.set("replicas", w.replicas);
    }
    d.put("endpoint_mode", headless.then_some("dnsrr"));
    let mut resources = Fields::default();
    for (key, r) in [("limits", &w.limits), ("reservations", &w.requests)] {
        let mut out = Fields::default();
        if r.cpu_millis > 0 {
            out.put("cpus", format!("{}.{:03}", r.cpu_millis / 1000, r.cpu_millis % 1000));
        }
        out.put("memory", (r.memory_bytes > 0).then(|| r.memory_bytes.to_string()));
        out.put("pids", r.pids);
        resources.put(key, out);
    }
    d.put("resources", resources);
    let u = &w.update;
    let mut update = Fields::default();
    update.set("parallelism", u.surge.max(u.max_unavailable));
    update.put("order", if u.surge > 0 { "start-first" } else { "stop-first" });
    update.put("failure_action", if u.rollback { "rollback" } else { "pause" });
    update.put("monitor", format!("{}s", u.progress_deadline_seconds));
    update.put("delay", (u.delay_seconds > 0).then(|| format!("{}s", u.delay_seconds)));
    d.put("update_config", update);
    let mut placement = Fields::default();
    let swarm = |attribute: &str| match attribute {
        "node.name" => "node.hostname".to_owned(),
        "node.arch" => "node.platform.arch".to_owned(),
        "node.os" => "node.platform.os".to_owned(),
        other => other.to_owned(),
    };
    let rules = w.placement.rules.iter().map(|r| Value::from(format!("{} {} {}", swarm(&r.attribute), if r.equals { "==" } else { "!=" }, r.value)));
    placement.put("constraints", rules.collect::<Vec<_>>());
    placement.put("max_replicas_per_node", w.placement.max_per_node);
    placement.put("preferences", w.placement.spread.iter().filter(|s| !s.hard).map(|s| json!({ "spread": swarm(&s.topology) })).collect::<Vec<_>>());
    d.put("placement", placement);
    d.into()
}

fn extension(w: &Workload, own: &[&Service]) -> Value {
    let mut x = Fields::default();
    x.put("kind", (w.kind == WorkloadKind::Stateful).then_some("stateful"));
    let balance = own.first().map(|s| s.balance.as_str()).filter(|b| *b != "roundrobin");
    x.put("balance", balance);
    x.put("access", own.first().map(|s| json!(s.access)));
    let address = own.iter().find_map(|s| s.address.as_ref());
    x.put("address", address.map(|a| json!({ "pool": a.pool, "ip": a.ip })).map(without_nothing));
    let routes = own.iter().flat_map(|s| s.routes.iter().map(|r| (s.port, r))).filter(|(_, r)| !r.host.is_empty());
    x.put("routes", routes.map(|(port, r)| json!({ "host": r.host, "path": r.path, "port": port })).collect::<Vec<_>>());
    let ready = w.probes.iter().find(|p| p.purpose == Purpose::Ready);
    x.put(
        "ready",
        match ready.map(|p| (&p.check, p.period_ms)) {
            Some((Check::Tcp { port }, ms)) => json!({ "tcp": port, "period": format!("{ms}ms") }),
            Some((Check::Http { path, port, .. }, ms)) => json!({ "http": path, "port": port, "period": format!("{ms}ms") }),
            _ => Value::Null,
        },
    );
    x.into()
}

fn without_nothing(mut map: Value) -> Value {
    if let Some(map) = map.as_object_mut() {
        map.retain(|_, value| !value.is_null() && value != "");
    }
    map
}

fn volume(v: &Volume) -> Value {
    let mut out = Fields::default();
    out.put("driver", v.driver.as_str());
    out.put("driver_opts", json!(v.options));
    out.put("labels", json!(v.labels));
    if let Some(name) = &v.external {
        out.set("external", true);
        out.put("name", name.as_str());
    }
    out.into()
}

fn network(n: &Network) -> Value {
    let mut out = Fields::default();
    out.put("driver", n.driver.as_str());
    out.put("driver_opts", json!(n.options));
    out.put("internal", n.internal);
    out.put("enable_ipv6", n.ipv6);
    if let Some(name) = &n.external {
        out.set("external", true);
        out.put("name", name.as_str());
    }
    let subnets = n.subnets.iter().map(|s| {
        let mut out = Fields::default();
        out.put("subnet", s.subnet.as_str());
        out.put("gateway", s.gateway.as_str());
        out.put("ip_range", s.range.as_str());
        Value::from(out)
    });
    let subnets: Vec<Value> = subnets.collect();
    if !subnets.is_empty() {
        out.put("ipam", json!({ "config": subnets }));
    }
    out.into()
}
