//! A pod's template into a workload.

use std::collections::BTreeMap;

use gantry_kernel::Name;

use super::container::{self, Shared};
use super::{Known, placing, quantity, storage};
use crate::domain::fields::{At, Fields};
use crate::domain::model::{Container, Model, Mount, MountKind, Nic, Restart, Workload};

/// What a pod's containers start from.
#[derive(Clone, Default)]
struct Common {
    user: String,
    non_root: bool,
    seccomp: String,
    apparmor: String,
    selinux: String,
}

/// `metadata` and `spec` of the template into `w`.
pub fn read(template: &Fields<'_>, name: &Name, w: &mut Workload, model: &mut Model, known: &mut Known) {
    if let Some(metadata) = template.below("metadata") {
        w.labels = metadata.map("labels");
        w.annotations = metadata.map("annotations");
        metadata.skip(&["creationTimestamp", "name", "namespace"]);
    }
    match template.take("spec") {
        Some(spec) => spec_of(&spec, name, w, model, known),
        None => template.remarks.wrong(&template.path, template.line, "needs `spec`"),
    }
}

/// The spec alone, for pods without a template.
pub fn spec_of(at: &At<'_>, name: &Name, w: &mut Workload, model: &mut Model, known: &mut Known) {
    let f = at.fields();
    let here = |part: &str| format!("workloads.{name}.{part}");
    let mut common = Common::default();
    if let Some(security) = f.take("securityContext") {
        security.place(here("fs_group"));
        pod_security(&security, &mut common, w);
    }
    let mut volumes = storage::volumes(&f, model);
    for (claim, volume) in &known.claims {
        // A template counts more than a volume of its name among the pod's.
        volumes.insert(claim.clone(), storage::Source::Mount(Mount::new(MountKind::Volume, volume, "")));
    }
    containers(&f, name, &common, &volumes, w, model, known);
    w.stop_grace_seconds = f.number("terminationGracePeriodSeconds", 1 << 20).unwrap_or(30);
    if let Some(policy) = f.take("restartPolicy") {
        w.restart = match policy.one_of(&["Always", "OnFailure", "Never"]) {
            Some(1) => Restart::OnFailure,
            Some(2) => Restart::Never,
            _ => Restart::Always,
        };
    }
    for (key, part) in [("hostNetwork", "host_network"), ("hostPID", "host_pid"), ("hostIPC", "host_ipc"), ("shareProcessNamespace", "processes")] {
        let Some(flag) = f.take(key) else { continue };
        flag.place(here(&format!("sharing.{part}")));
        let into = match part {
            "host_network" => &mut w.sharing.host_network,
            "host_pid" => &mut w.sharing.host_pid,
            "host_ipc" => &mut w.sharing.host_ipc,
            _ => &mut w.sharing.processes,
        };
        *into = flag.flag();
    }
    names(&f, name, w);
    placing::read(&f, name, w);
    if let Some(class) = f.take("runtimeClassName") {
        class.place(here("runtime_class"));
        w.runtime_class = class.text();
    }
    for key in ["priorityClassName", "priority"] {
        let Some(priority) = f.take(key) else { continue };
        priority.place(here("priority"));
        match key {
            "priority" => match priority.node.integer().and_then(|n| i32::try_from(n).ok()) {
                Some(number) => w.priority = number,
                None => priority.wrong("must be a whole number"),
            },
            _ => w.priority_class = priority.text(),
        }
    }
    for key in ["serviceAccount", "serviceAccountName"] {
        if let Some(account) = f.take(key) {
            account.place(here("service_account"));
            w.service_account = account.text();
        }
    }
    if let Some(token) = f.take("automountServiceAccountToken") {
        token.place(here("service_token"));
        w.service_token = Some(token.flag());
    }
    w.pull_secrets = f.list("imagePullSecrets").iter().map(|at| at.fields().text("name")).collect();
    if let Some(os) = f.below("os")
        && let Some(at) = os.take("name")
        && at.text() != "linux"
    {
        at.unsupported("nodes run Linux");
    }
    if let Some(at) = f.take("activeDeadlineSeconds") {
        at.place(here("job.deadline_seconds"));
        w.job.get_or_insert_with(Default::default).deadline_seconds = at.number(u32::MAX).unwrap_or(0);
    }
    f.note(&["enableServiceLinks", "preemptionPolicy", "schedulerName"], "has no effect here");
    if let Some(users) = f.take("hostUsers")
        && !users.flag()
    {
        users.unsupported("instances have no user namespace of their own");
    }
    f.unsupported(
        &["overhead", "resourceClaims", "readinessGates", "schedulingGates", "ephemeralContainers", "setHostnameAsFQDN", "resources"],
        "is not supported",
    );
    bandwidth(name, w, at);
}

fn pod_security(at: &At<'_>, common: &mut Common, w: &mut Workload) {
    let s = at.fields();
    container::identity(&s, &mut common.user, &mut common.non_root);
    container::profiles(&s, &mut common.seccomp, &mut common.apparmor, &mut common.selinux);
    w.fs_group = s.take("fsGroup").and_then(|at| at.number(u32::MAX));
    w.groups = s.list("supplementalGroups").iter().filter_map(|at| at.number(u32::MAX)).collect();
    for at in s.list("sysctls") {
        let f = at.fields();
        w.sysctls.insert(f.text("name"), f.text("value"));
    }
    s.note(&["fsGroupChangePolicy", "supplementalGroupsPolicy", "seLinuxChangePolicy"], "has no effect here");
    s.unsupported(&["windowsOptions"], "nodes run Linux");
}

fn containers(f: &Fields<'_>, name: &Name, common: &Common, volumes: &BTreeMap<String, storage::Source>, w: &mut Workload, model: &Model, known: &mut Known) {
    let shared = Shared { configs: &model.configs, volumes };
    let here = |part: &str| format!("workloads.{name}.{part}");
    let one = |at: &At<'_>| {
        let (mut c, ports) = container::read(at, &shared);
        // What the container says of itself counts more than what its pod says.
        let uses = |own: &mut String, of_pod: &String| {
            if own.is_empty() {
                own.clone_from(of_pod);
            }
        };
        let (uid, gid) = common.user.split_once(':').unwrap_or((&common.user, ""));
        let (own_uid, own_gid) = c.user.split_once(':').map_or((c.user.clone(), String::new()), |(u, g)| (u.to_owned(), g.to_owned()));
        let (uid, gid) = (if own_uid.is_empty() { uid.to_owned() } else { own_uid }, if own_gid.is_empty() { gid.to_owned() } else { own_gid });
        c.user = if gid.is_empty() { uid } else { format!("{uid}:{gid}") };
        c.run_as_non_root |= common.non_root && at.node.nearest(&["securityContext", "runAsNonRoot"]).boolean() != Some(false);
        uses(&mut c.seccomp, &common.seccomp);
        uses(&mut c.apparmor, &common.apparmor);
        uses(&mut c.selinux, &common.selinux);
        (c, ports)
    };
    let list = f.list("containers");
    if list.is_empty() {
        f.remarks.wrong(&format!("{}.containers", f.path), f.line, "needs at least one container");
    }
    let wanted = w.annotations.get("kubectl.kubernetes.io/default-container").cloned();
    let main = list.iter().position(|at| wanted.is_some() && at.node.get("name").and_then(|n| n.scalar()) == wanted).unwrap_or(0);
    for (n, at) in list.iter().enumerate() {
        let (mut c, ports) = one(at);
        called(w, &c, &ports);
        known.port_names.entry(name.clone()).or_default().extend(ports);
        if n != main {
            at.place(here("sidecars"));
            w.sidecars.push(c);
            continue;
        }
        if c.name != name.as_str() {
            w.annotations.insert("kubectl.kubernetes.io/default-container".into(), c.name.clone());
        }
        for (key, part) in PARTS {
            let (path, line) = (format!("{}.{key}", at.path), at.node.nearest(&key.split('.').collect::<Vec<_>>()));
            let line = at.node.entries().unwrap_or_default().iter().find(|e| e.key == key.split('.').next().unwrap_or(key)).map_or(line.line, |e| e.line);
            f.remarks.place(here(part), &path, line);
        }
        c.name.clear();
        w.adopt(c);
    }
    for at in f.list("initContainers") {
        let (c, ports) = one(&at);
        called(w, &c, &ports);
        known.port_names.entry(name.clone()).or_default().extend(ports);
        at.place(here("init"));
        w.init.push(c);
    }
}

/// What network policies may call ports of the workload.
fn called(w: &mut Workload, c: &Container, names: &BTreeMap<String, u16>) {
    let own = names.iter().filter(|(_, port)| c.ports.contains(*port));
    w.port_names.extend(own.map(|(name, port)| (name.clone(), *port)));
}

/// Fields of a container and the parts of the model that come of them.
const PARTS: [(&str, &str); 11] = [
    ("image", "image"),
    ("env", "env"),
    ("env", "env_facts"),
    ("resources", "requests"),
    ("resources", "extended"),
    ("volumeMounts", "mounts"),
    ("volumeMounts", "files"),
    ("livenessProbe", "probes"),
    ("lifecycle", "hooks"),
    ("securityContext", "run_as_non_root"),
    ("ports", "ports"),
];

fn names(f: &Fields<'_>, name: &Name, w: &mut Workload) {
    let here = |part: &str| format!("workloads.{name}.{part}");
    w.hostname = f.text("hostname");
    f.note(&["subdomain"], "services' names find instances");
    for at in f.list("hostAliases") {
        let alias = at.fields();
        let address = alias.text("ip");
        for host in alias.texts("hostnames") {
            match w.extra_hosts.get(&host) {
                Some(first) if *first != address => at.unsupported(format!("`{host}` has one address here: {first}, not {address}")),
                _ => drop(w.extra_hosts.insert(host, address.clone())),
            }
        }
    }
    if let Some(at) = f.take("dnsPolicy") {
        at.place(here("dns.policy"));
        w.dns.policy = match at.one_of(&["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]) {
            Some(2) => "default".into(),
            Some(3) => "none".into(),
            _ => String::new(),
        };
    }
    if let Some(config) = f.below("dnsConfig") {
        (w.dns.servers, w.dns.searches) = (config.texts("nameservers"), config.texts("searches"));
        for at in config.list("options") {
            let option = at.fields();
            let (name, value) = (option.text("name"), option.text("value"));
            w.dns.options.push(if value.is_empty() { name } else { format!("{name}:{value}") });
        }
    }
}

/// The annotations that CNI's bandwidth plug-in is known by.
fn bandwidth(name: &Name, w: &mut Workload, at: &At<'_>) {
    let mut nic = w.nics.first().cloned().unwrap_or_default();
    for (key, up) in [("kubernetes.io/egress-bandwidth", true), ("kubernetes.io/ingress-bandwidth", false)] {
        let Some(text) = w.annotations.remove(key) else { continue };
        match quantity::whole(&text) {
            Some(bps) if up => nic.up_bps = bps,
            Some(bps) => nic.down_bps = bps,
            None => at.wrong(format!("the annotation `{key}` must be a quantity such as 10M")),
        }
    }
    if nic != Nic::default() {
        at.place(format!("workloads.{name}.nics"));
        w.nics = vec![nic];
    }
}
