//! From a wanted instance to what the runtime is asked for.

use std::collections::BTreeMap;
use std::path::Path;

use gantry_contract::proto::scheduler as wire;
use gantry_cri::{ContainerSpec, Device, Dns, Limits, Mount, PodSpec, Seccomp};
use gantry_kernel::InstanceId;
use sha2::{Digest, Sha256};

use super::tuning;

/// Labels on pods and containers; by them a restarted agent finds what is its own.
pub mod label {
    pub const NODE: &str = "gantry.io/node";
    pub const INSTANCE: &str = "gantry.io/instance";
    pub const SPEC: &str = "gantry.io/spec";
    pub const GRACE: &str = "gantry.io/stop-grace-seconds";
    pub const ORG: &str = "gantry.io/org";
    pub const PROJECT: &str = "gantry.io/project";
    pub const SPACE: &str = "gantry.io/space";
    pub const APP: &str = "gantry.io/app";
    pub const APP_ID: &str = "gantry.io/app-id";
    pub const WORKLOAD: &str = "gantry.io/workload";
    /// Name of a container that is not the main one.
    pub const BESIDE: &str = "gantry.io/beside";
    pub const REVISION: &str = "gantry.io/revision";
}

/// Namespace of our pods in the runtime.
pub const NAMESPACE: &str = "gantry";

/// Changes exactly when the container would have to be made anew. Not in it: what can change under a running container.
pub fn fingerprint(instance: &wire::WantedInstance) -> String {
    let fixed = wire::WantedInstance {
        credential: None,
        labels: None,
        probes: Vec::new(),
        // Looked at when it is started, and unknown to schedulers before: a newer one's word remakes no container.
        run_as_non_root: false,
        fs_group: None,
        restart_policy: String::new(),
        restarts_and_one: 0,
        fenced: false,
        guard: None,
        isolation: String::new(),
        after: Vec::new(),
        stop_grace_seconds: 0,
        stop_signal: String::new(),
        stopping: false,
        ports: Vec::new(),
        // The order of a hash map is not the same in two processes.
        sysctls: Default::default(),
        // Read when it is stopped, and written into the hosts file while it runs.
        pre_stop: Vec::new(),
        extra_hosts: Default::default(),
        files: fixed_files(&instance.files),
        init: instance.init.iter().map(plain).collect(),
        sidecars: instance.sidecars.iter().map(plain).collect(),
        ..instance.clone()
    };
    let sysctls: BTreeMap<_, _> = instance.sysctls.iter().collect();
    let mut hash = Sha256::new();
    // As on the wire: fields of later versions that are not set change nothing, so an upgrade remakes no container.
    hash.update(prost::Message::encode_to_vec(&fixed));
    hash.update(format!("{sysctls:?}"));
    hex::encode(&hash.finalize()[..16])
}

/// A further container without what changes under it.
fn plain(of: &wire::WantedInstance) -> wire::WantedInstance {
    let files = fixed_files(&of.files);
    let (probes, pre_stop, sysctls) = Default::default();
    wire::WantedInstance { credential: None, probes, pre_stop, sysctls, files, run_as_non_root: false, fs_group: None, ..of.clone() }
}

/// Of files that may change only where they are shown; of none whose it is.
fn fixed_files(files: &[wire::FileContent]) -> Vec<wire::FileContent> {
    let mut out: Vec<wire::FileContent> = Vec::new();
    for file in files {
        let fixed = match (file.live, file.folder.is_empty()) {
            (false, _) => wire::FileContent { uid: 0, gid: 0, ..file.clone() },
            (true, true) => wire::FileContent { content: Vec::new(), uid: 0, gid: 0, ..file.clone() },
            (true, false) => wire::FileContent { folder: file.folder.clone(), live: true, ..Default::default() },
        };
        if !(file.live && out.contains(&fixed)) {
            out.push(fixed);
        }
    }
    out
}

pub fn labels(node: &str, id: InstanceId, instance: &wire::WantedInstance) -> BTreeMap<String, String> {
    let of = instance.labels.clone().unwrap_or_default();
    let pairs = [
        (label::NODE, node.to_owned()),
        (label::INSTANCE, id.to_string()),
        (label::SPEC, fingerprint(instance)),
        (label::GRACE, instance.stop_grace_seconds.to_string()),
        (label::ORG, of.org),
        (label::PROJECT, of.project),
        (label::SPACE, of.space),
        (label::APP, of.app),
        (label::APP_ID, of.app_id),
        (label::WORKLOAD, of.workload),
        (label::REVISION, of.revision.to_string()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The cgroup of everything in one pod.
pub fn cgroup(id: InstanceId) -> String {
    format!("/gantry/{id}")
}

/// `dns` = the resolvers to use when the instance brings search names.
pub fn pod(node: &str, id: InstanceId, instance: &wire::WantedInstance, attempt: u32, logs: &Path, resolvers: &[String]) -> PodSpec {
    let limits = instance.limits.unwrap_or_default();
    PodSpec {
        name: format!("{}-{}", instance.name, &id.to_string()[24..]),
        namespace: NAMESPACE.into(),
        uid: id.to_string(),
        attempt,
        hostname: hostname_of(instance),
        labels: labels(node, id, instance),
        log_directory: logs.to_owned(),
        dns: dns(instance, resolvers),
        sysctls: instance.sysctls.clone().into_iter().collect(),
        cgroup_parent: cgroup(id),
        runtime_class: instance.runtime_class.clone(),
        privileged: instance.privileged,
        host_pid: instance.host_pid,
        host_ipc: instance.host_ipc,
        up_bps: if instance.up_bps > 0 { instance.up_bps } else { limits.bandwidth_bps },
        down_bps: if instance.down_bps > 0 { instance.down_bps } else { limits.bandwidth_bps },
        ..PodSpec::default()
    }
}

/// Resolvers: the node's unless the instance names its own.
fn dns(instance: &wire::WantedInstance, resolvers: &[String]) -> Option<Dns> {
    let (searches, servers, options) = (&instance.dns_search, &instance.dns_servers, &instance.dns_options);
    if searches.is_empty() && servers.is_empty() && options.is_empty() {
        return None;
    }
    let servers = if servers.is_empty() { resolvers.to_vec() } else { servers.clone() };
    let options = if options.is_empty() { vec!["ndots:2".into()] } else { options.clone() };
    Some(Dns { servers, searches: searches.clone(), options })
}

/// The instance's own host name, or its name as one.
pub fn hostname_of(instance: &wire::WantedInstance) -> String {
    hostname(if instance.hostname.is_empty() { &instance.name } else { &instance.hostname })
}

/// With the variables that only the node can fill. `$(NAME)` of these is filled in command, arguments and other variables.
/// `node`: its name and its address.
pub fn with_facts(instance: &wire::WantedInstance, node: (&str, &str), address: &str) -> wire::WantedInstance {
    let mut out = instance.clone();
    let labels = out.labels.clone().unwrap_or_default();
    let (limits, requests) = (out.limits.unwrap_or_default(), out.requests.unwrap_or_default());
    // Whole cores and bytes, as Kubernetes gives them.
    let cores = |millis: u64| millis.div_ceil(1000).to_string();
    let mut filled = Vec::new();
    for fact in std::mem::take(&mut out.env_facts) {
        let value = match fact.fact.as_str() {
            "instance" => out.name.clone(),
            "instance_id" => out.instance_id.clone(),
            "number" => out.name.rsplit_once('-').map(|(_, n)| n.to_owned()).unwrap_or_default(),
            "address" => address.to_owned(),
            "node" => node.0.to_owned(),
            "node_address" => node.1.to_owned(),
            "application" => labels.app.clone(),
            "workload" => labels.workload.clone(),
            "space" => labels.space.clone(),
            "cpu_limit" => cores(limits.cpu_millis),
            "cpu_request" => cores(requests.cpu_millis),
            "memory_limit" => limits.memory_bytes.to_string(),
            "memory_request" => requests.memory_bytes.to_string(),
            _ => continue,
        };
        filled.push(wire::KeyValue { name: fact.name, value });
    }
    for fact in &filled {
        let written = format!("$({})", fact.name);
        let texts = out.env.iter_mut().map(|e| &mut e.value).chain(&mut out.command).chain(&mut out.args);
        texts.filter(|t| t.contains(&written)).for_each(|t| *t = t.replace(&written, &fact.value));
    }
    out.env.extend(filled);
    out
}

/// Host names have at most 63 characters, of letters, digits and `-`.
pub fn hostname(name: &str) -> String {
    let clean: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).take(63).collect();
    clean.trim_matches('-').to_owned()
}

/// `image` is the runtime's reference after the pull; `mounts` are ready on the host.
pub fn container(node: &str, id: InstanceId, instance: &wire::WantedInstance, attempt: u32, image: &str, mounts: Vec<Mount>) -> ContainerSpec {
    let limits = instance.limits.unwrap_or_default();
    let requests = instance.requests.unwrap_or_default();
    let tuned = instance.tuning.clone().unwrap_or_default();
    ContainerSpec {
        name: "main".into(),
        attempt,
        image: image.to_owned(),
        command: instance.command.clone(),
        args: instance.args.clone(),
        env: instance.env.iter().map(|e| (e.name.clone(), e.value.clone())).collect(),
        working_dir: instance.working_dir.clone(),
        user: instance.user.clone(),
        mounts,
        labels: labels(node, id, instance),
        log_path: format!("{attempt}.log"),
        limits: Limits {
            cpu_millis: limits.cpu_millis,
            cpu_request_millis: requests.cpu_millis,
            memory_bytes: limits.memory_bytes,
            memory_swap_bytes: tuned.memory_swap_bytes,
            oom_score_adj: tuning::oom_score_adj(instance),
        },
        cpuset: tuned.cpuset,
        cpuset_memory: tuned.cpuset_memory,
        privileged: instance.privileged,
        read_only_root: instance.read_only_root,
        cap_add: instance.cap_add.clone(),
        cap_drop: instance.cap_drop.clone(),
        no_new_privileges: match instance.new_privileges.as_str() {
            "yes" => false,
            "no" => true,
            _ => !instance.privileged && instance.cap_add.is_empty(),
        },
        seccomp: seccomp(&instance.seccomp),
        apparmor: (!instance.apparmor.is_empty()).then(|| apparmor(&instance.apparmor)),
        selinux: instance.selinux.clone(),
        groups: instance.groups.iter().copied().chain(instance.fs_group).collect(),
        devices: instance.devices.iter().map(|d| Device { host: d.source.clone(), container: d.target.clone(), permissions: d.permissions.clone() }).collect(),
        tty: instance.tty,
        stdin: instance.stdin,
        ..ContainerSpec::default()
    }
}

/// More than any container is ever started.
const APART: u32 = 100_000;

/// Log files are called by numbers: those of the main container by its attempt, those of a further one by more than any main
/// container is ever started.
pub fn log_number(instance: &wire::WantedInstance, container: &str, attempt: u32) -> u32 {
    let place = instance.init.iter().chain(&instance.sidecars).position(|c| c.name == container).unwrap_or_default();
    u32::try_from(place + 1).unwrap_or(1).saturating_mul(APART).saturating_add(attempt)
}

/// The reverse: which further container (nothing: the main one) has the log file of a number, and of which attempt it is.
pub fn of_log_number(instance: &wire::WantedInstance, number: u32) -> Option<(Option<&str>, u32)> {
    let attempt = number % APART;
    let Some(place) = (number / APART).checked_sub(1) else { return Some((None, attempt)) };
    let of = instance.init.iter().chain(&instance.sidecars).nth(usize::try_from(place).ok()?)?;
    Some((Some(of.name.as_str()), attempt))
}

/// A further container of the instance's pod: `of` is its part of the word, `instance` the whole.
pub fn beside(
    node: &str,
    id: InstanceId,
    instance: &wire::WantedInstance,
    of: &wire::WantedInstance,
    attempt: u32,
    image: &str,
    mounts: Vec<Mount>,
) -> ContainerSpec {
    let mut labels = labels(node, id, instance);
    labels.insert(label::BESIDE.to_owned(), of.name.clone());
    let log_path = format!("{}.log", log_number(instance, &of.name, attempt));
    ContainerSpec { name: of.name.clone(), labels, log_path, ..container(node, id, of, attempt, image, mounts) }
}

fn seccomp(text: &str) -> Seccomp {
    match text.split_once('/') {
        Some(("localhost", path)) => Seccomp::Localhost(Path::new("/").join(path)),
        _ if text == "unconfined" => Seccomp::Unconfined,
        _ => Seccomp::RuntimeDefault,
    }
}

/// As [`seccomp`], but a profile of AppArmor is a name instead of a file.
fn apparmor(text: &str) -> Seccomp {
    match text.split_once('/') {
        Some(("localhost", name)) => Seccomp::Localhost(name.into()),
        _ => seccomp(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_node_knows_is_filled_in() {
        let fact = |name: &str, fact: &str| wire::EnvFact { name: name.into(), fact: fact.into() };
        let wanted = wire::WantedInstance {
            name: "shop-web-3".into(),
            args: vec!["--ip=$(IP)".into(), "$(OTHER)".into()],
            env: vec![wire::KeyValue { name: "URL".into(), value: "http://$(IP):80".into() }],
            env_facts: vec![
                fact("IP", "address"),
                fact("N", "number"),
                fact("MEM", "memory_limit"),
                fact("HOST", "node_address"),
                fact("X", "from the future"),
            ],
            limits: Some(wire::Resources { memory_bytes: 1 << 20, ..Default::default() }),
            ..instance()
        };
        let got = with_facts(&wanted, ("n1", "192.168.1.2"), "10.0.0.7");
        let env: Vec<_> = got.env.iter().map(|e| format!("{}={}", e.name, e.value)).collect();
        assert_eq!(env, ["URL=http://10.0.0.7:80", "IP=10.0.0.7", "N=3", "MEM=1048576", "HOST=192.168.1.2"]);
        assert_eq!(got.args, ["--ip=10.0.0.7", "$(OTHER)"]);
    }

    #[test]
    fn what_a_document_asks_of_the_container_reaches_the_runtime() {
        let wanted = wire::WantedInstance {
            hostname: "db.example".into(),
            apparmor: "localhost/strict".into(),
            selinux: "::svirt_t:s0".into(),
            groups: vec![7],
            fs_group: Some(9),
            devices: vec![wire::Device { source: "/dev/fuse".into(), target: "/dev/fuse".into(), permissions: "rw".into() }],
            new_privileges: "no".into(),
            privileged: true,
            tty: true,
            up_bps: 5,
            dns_options: vec!["ndots:1".into()],
            ..instance()
        };
        let id = InstanceId(gantry_kernel::Uuid::from_u128(1));
        let made = container("n1", id, &wanted, 0, "x", Vec::new());
        assert_eq!(
            (made.apparmor, made.selinux.as_str(), made.groups, made.tty),
            (Some(Seccomp::Localhost("strict".into())), "::svirt_t:s0", vec![7, 9], true)
        );
        assert!(made.no_new_privileges && made.devices.len() == 1);
        let pod = pod("n1", id, &wanted, 0, Path::new("/logs"), &["10.0.0.1".into()]);
        assert_eq!((pod.hostname.as_str(), pod.up_bps, pod.down_bps), ("db-example", 5, 0));
        assert_eq!(pod.dns, Some(Dns { servers: vec!["10.0.0.1".into()], searches: vec![], options: vec!["ndots:1".into()] }));
    }

    fn instance() -> wire::WantedInstance {
        wire::WantedInstance { name: "shop-web-1".into(), image: "r/x@sha256:1".into(), ..Default::default() }
    }

    #[test]
    fn a_new_password_or_a_stop_does_not_remake_the_container_and_a_new_image_does() {
        let before = fingerprint(&instance());
        let same = wire::WantedInstance { stopping: true, credential: Some(wire::ImageCredential::default()), stop_grace_seconds: 9, ..instance() };
        assert_eq!(fingerprint(&same), before);
        assert_ne!(fingerprint(&wire::WantedInstance { image: "r/x@sha256:2".into(), ..instance() }), before);
        let newer = wire::WantedInstance { run_as_non_root: true, fs_group: Some(0), ..instance() };
        assert_eq!(fingerprint(&newer), before, "of a scheduler that is newer than the container");
        let env = vec![wire::KeyValue { name: "A".into(), value: "1".into() }];
        assert_ne!(fingerprint(&wire::WantedInstance { env, ..instance() }), before);
    }

    #[test]
    fn contents_that_may_change_make_no_container_anew() {
        let with = |path: &str, content: &str, folder: &str, live: bool| {
            let file = wire::FileContent { path: path.into(), content: content.into(), mode: 0o400, folder: folder.into(), live, ..Default::default() };
            fingerprint(&wire::WantedInstance { files: vec![file], ..instance() })
        };
        assert_eq!(with("/s/a", "1", "/s", true), with("/s/a", "2", "/s", true));
        assert_eq!(with("/s/a", "1", "/s", true), with("/s/b", "1", "/s", true), "a new key is no new container");
        assert_eq!(with("/a", "1", "", true), with("/a", "2", "", true));
        assert_ne!(with("/a", "1", "", true), with("/b", "1", "", true));
        assert_ne!(with("/a", "1", "", false), with("/a", "2", "", false));
    }

    #[test]
    fn the_pod_carries_what_a_restarted_agent_needs() {
        let id: InstanceId = "0190b3e0-0000-7000-8000-00000000abcd".parse().unwrap();
        let pod = pod("node-1", id, &instance(), 3, Path::new("/logs"), &[]);
        assert_eq!(pod.name, "shop-web-1-00000000abcd");
        assert_eq!(pod.labels[label::INSTANCE], id.to_string());
        assert_eq!(pod.labels[label::SPEC], fingerprint(&instance()));
    }

    #[test]
    fn a_long_or_odd_name_becomes_a_host_name() {
        assert_eq!(hostname("Shop_Web.1-"), "shop-web-1");
        assert_eq!(hostname(&"x".repeat(100)).len(), 63);
    }
}
