//! From a wanted instance to what the runtime is asked for.

use std::collections::BTreeMap;
use std::path::Path;

use gantry_contract::proto::scheduler as wire;
use gantry_cri::{ContainerSpec, Dns, Limits, Mount, PodSpec, Seccomp};
use gantry_kernel::InstanceId;
use sha2::{Digest, Sha256};

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
        restart_policy: String::new(),
        stop_grace_seconds: 0,
        stop_signal: String::new(),
        stopping: false,
        ports: Vec::new(),
        // The order of a hash map is not the same in two processes.
        sysctls: Default::default(),
        ..instance.clone()
    };
    let sysctls: BTreeMap<_, _> = instance.sysctls.iter().collect();
    let mut hash = Sha256::new();
    hash.update(format!("{fixed:?}{sysctls:?}"));
    hex::encode(&hash.finalize()[..16])
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
    let searches = instance.dns_search.clone();
    PodSpec {
        name: format!("{}-{}", instance.name, &id.to_string()[24..]),
        namespace: NAMESPACE.into(),
        uid: id.to_string(),
        attempt,
        hostname: hostname(&instance.name),
        labels: labels(node, id, instance),
        log_directory: logs.to_owned(),
        dns: (!searches.is_empty()).then(|| Dns { servers: resolvers.to_vec(), searches, options: vec!["ndots:2".into()] }),
        sysctls: instance.sysctls.clone().into_iter().collect(),
        cgroup_parent: cgroup(id),
        runtime_class: instance.runtime_class.clone(),
        privileged: instance.privileged,
        bandwidth_bps: limits.bandwidth_bps,
        ..PodSpec::default()
    }
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
            // Killed before the platform when the node runs out of memory, and greedy ones before those that keep a limit.
            oom_score_adj: if limits.memory_bytes > 0 { 500 } else { 900 },
        },
        privileged: instance.privileged,
        read_only_root: instance.read_only_root,
        cap_add: instance.cap_add.clone(),
        cap_drop: instance.cap_drop.clone(),
        no_new_privileges: !instance.privileged && instance.cap_add.is_empty(),
        seccomp: seccomp(&instance.seccomp),
        ..ContainerSpec::default()
    }
}

fn seccomp(text: &str) -> Seccomp {
    match text.split_once('/') {
        Some(("localhost", path)) => Seccomp::Localhost(Path::new("/").join(path)),
        _ if text == "unconfined" => Seccomp::Unconfined,
        _ => Seccomp::RuntimeDefault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance() -> wire::WantedInstance {
        wire::WantedInstance { name: "shop-web-1".into(), image: "r/x@sha256:1".into(), ..Default::default() }
    }

    #[test]
    fn a_new_password_or_a_stop_does_not_remake_the_container_and_a_new_image_does() {
        let before = fingerprint(&instance());
        let same = wire::WantedInstance { stopping: true, credential: Some(wire::ImageCredential::default()), stop_grace_seconds: 9, ..instance() };
        assert_eq!(fingerprint(&same), before);
        assert_ne!(fingerprint(&wire::WantedInstance { image: "r/x@sha256:2".into(), ..instance() }), before);
        let env = vec![wire::KeyValue { name: "A".into(), value: "1".into() }];
        assert_ne!(fingerprint(&wire::WantedInstance { env, ..instance() }), before);
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
