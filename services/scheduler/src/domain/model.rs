//! The one typed application model. Every input format is read into it, the planners work on it, and each engine
//! (containerd agents, Kubernetes) is given instances cut from it. Serialised as the `model` of `app.revised`: fields are
//! added with a default, never renamed.

use std::collections::{BTreeMap, BTreeSet};

use gantry_kernel::Name;
use serde::{Deserialize, Serialize};

/// An application: what runs, how it is reached, and what it keeps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub workloads: BTreeMap<Name, Workload>,
    /// Balanced ports, in the order of the document.
    #[serde(default)]
    pub services: Vec<Service>,
    /// Named volumes that workloads mount.
    #[serde(default)]
    pub volumes: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkloadKind {
    /// Any number of equal instances.
    #[default]
    Stateless,
    /// Instances with stable numbers, started and stopped in order, one of each number at a time.
    Stateful,
    /// One instance on each node.
    Global,
    /// Runs to its end; not started again after success.
    Job,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    pub kind: WorkloadKind,
    pub replicas: u32,
    /// As the document names it; [`Workload::pinned`] is what runs.
    pub image: String,
    /// "<registry>/<repository>@sha256:..." once resolved.
    pub pinned: Option<String>,
    /// Overrides the image's entry point if not empty.
    pub command: Vec<String>,
    /// Overrides the image's arguments if not empty.
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub working_dir: String,
    pub user: String,
    /// What placement counts and the quota reserves.
    pub requests: Resources,
    /// What the kernel enforces; 0 is no limit.
    pub limits: Resources,
    pub mounts: Vec<Mount>,
    pub files: Vec<File>,
    pub probes: Vec<Probe>,
    pub restart: Restart,
    pub stop_grace_seconds: u32,
    /// `SIGTERM` if empty.
    pub stop_signal: String,
    pub privileged: bool,
    pub read_only_root: bool,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub sysctls: BTreeMap<String, String>,
    /// name=soft:hard
    pub ulimits: Vec<String>,
    /// The node's default if empty.
    pub runtime_class: String,
    /// `runtime/default`, `unconfined`, `localhost/<profile>`; `runtime/default` if empty.
    pub seccomp: String,
    /// Container ports that it listens on.
    pub ports: BTreeSet<u16>,
    pub depends_on: BTreeMap<Name, Condition>,
    pub update: Update,
    pub placement: Constraints,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            kind: WorkloadKind::Stateless,
            replicas: 1,
            image: String::new(),
            pinned: None,
            command: Vec::new(),
            args: Vec::new(),
            env: BTreeMap::new(),
            working_dir: String::new(),
            user: String::new(),
            requests: Resources::default(),
            limits: Resources::default(),
            mounts: Vec::new(),
            files: Vec::new(),
            probes: Vec::new(),
            restart: Restart::Always,
            stop_grace_seconds: 10,
            stop_signal: String::new(),
            privileged: false,
            read_only_root: false,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            sysctls: BTreeMap::new(),
            ulimits: Vec::new(),
            runtime_class: String::new(),
            seccomp: String::new(),
            ports: BTreeSet::new(),
            depends_on: BTreeMap::new(),
            update: Update::default(),
            placement: Constraints::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    pub cpu_millis: u32,
    pub memory_bytes: u64,
    pub storage_bytes: u64,
    pub pids: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    Volume,
    Tmpfs,
    Bind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    pub kind: MountKind,
    /// The volume's name or the host's path; empty for tmpfs and for an unnamed volume.
    pub source: String,
    pub target: String,
    #[serde(default)]
    pub read_only: bool,
    #[serde(default)]
    pub size_bytes: u64,
}

/// A config or secret given as text and mounted as a file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub path: String,
    pub content: String,
    pub mode: u32,
    #[serde(default)]
    pub secret: bool,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({}, {} bytes)", self.path, self.content.len())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    Startup,
    Live,
    Ready,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Check {
    Http { path: String, port: u16 },
    Tcp { port: u16 },
    Grpc { port: u16 },
    Command { command: Vec<String> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    pub purpose: Purpose,
    pub check: Check,
    pub period_ms: u32,
    pub timeout_ms: u32,
    pub failure_threshold: u32,
    pub success_threshold: u32,
    pub initial_delay_ms: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    #[default]
    Always,
    OnFailure,
    Never,
}

impl Restart {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::OnFailure => "on-failure",
            Self::Never => "never",
        }
    }
}

/// What must be true of another workload before this one is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    Started,
    Healthy,
    Completed,
}

/// How a release replaces instances. At least one of `surge` and `max_unavailable` is above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Update {
    /// How many more than `replicas` may exist meanwhile.
    pub surge: u32,
    /// How many fewer than `replicas` may be in rotation meanwhile.
    pub max_unavailable: u32,
    /// Without progress for so long the release fails.
    pub progress_deadline_seconds: u32,
    /// Put the revision before back to work when the release fails.
    pub rollback: bool,
}

impl Default for Update {
    fn default() -> Self {
        Self { surge: 1, max_unavailable: 0, progress_deadline_seconds: 120, rollback: true }
    }
}

/// Where instances may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Constraints {
    /// `amd64`, `arm64`, ...: what the image has. Empty: any.
    pub architectures: BTreeSet<String>,
    pub rules: Vec<Rule>,
    /// 0: no limit.
    pub max_per_node: u32,
}

/// One hard rule on a node's attribute: `node.name`, `node.arch`, `node.os`, `node.zone` or `node.labels.<label>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub attribute: String,
    pub equals: bool,
    pub value: String,
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.attribute, if self.equals { "==" } else { "!=" }, self.value)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Http,
    #[default]
    Tcp,
    Udp,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// One container port behind one balanced name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The name that others in the space use.
    pub name: Name,
    pub workload: Name,
    pub port: u16,
    pub protocol: Protocol,
    /// roundrobin | leastconn | random | source
    #[serde(default = "round_robin")]
    pub balance: String,
    /// To be reachable from outside at a port of the node.
    #[serde(default)]
    pub publish: Option<Publish>,
    #[serde(default)]
    pub routes: Vec<Route>,
}

impl Service {
    /// What stays the same over revisions, even if the container port changes: the published port, else the first route,
    /// else the container port.
    pub fn key(&self) -> String {
        let transport = if self.protocol == Protocol::Udp { "udp" } else { "tcp" };
        match (self.publish, self.routes.first()) {
            (Some(publish), _) if publish.wanted > 0 => format!("{}.p{}.{transport}", self.name, publish.wanted),
            (_, Some(route)) => format!("{}.r-{}{}", self.name, route.host, route.path.replace(|c: char| !c.is_ascii_alphanumeric(), "-")),
            _ => format!("{}.c{}.{transport}", self.name, self.port),
        }
    }

    /// Do the nodes say which instances get its requests? They do for what people reach, but not for datagrams.
    pub fn has_rotation(&self) -> bool {
        (self.publish.is_some() || !self.routes.is_empty()) && self.protocol != Protocol::Udp
    }
}

/// `Wanted` becomes `listen` when the platform has assigned it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Publish {
    /// The port that the document asks for; 0 for any.
    pub wanted: u16,
    /// The port that the platform gave; 0 before.
    pub listen: u16,
}

/// Requests on the shared HTTP port that go to a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub host: String,
    #[serde(default = "root_path")]
    pub path: String,
}

/// Of one workload.
pub const MAX_REPLICAS: u32 = 1000;

pub const BALANCES: [&str; 4] = ["roundrobin", "leastconn", "random", "source"];

pub fn round_robin() -> String {
    "roundrobin".into()
}

pub fn root_path() -> String {
    "/".into()
}

/// What an application reserves of a project's quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    pub cpu_millis: u64,
    pub memory_bytes: u64,
    pub storage_bytes: u64,
    pub containers: u32,
    pub largest: Resources,
}

impl Model {
    /// What all instances reserve with the replicas that `scale` overrides. A workload on each node counts once per node
    /// of `nodes`.
    pub fn demand(&self, scale: &BTreeMap<Name, u32>, nodes: u32) -> Demand {
        let mut sum = Demand::default();
        for (name, workload) in &self.workloads {
            let count = workload.count(scale.get(name).copied(), nodes);
            let n = u64::from(count);
            let one = workload.requests;
            sum.cpu_millis = sum.cpu_millis.saturating_add(u64::from(one.cpu_millis).saturating_mul(n));
            sum.memory_bytes = sum.memory_bytes.saturating_add(one.memory_bytes.saturating_mul(n));
            sum.storage_bytes = sum.storage_bytes.saturating_add(one.storage_bytes.saturating_mul(n));
            sum.containers = sum.containers.saturating_add(count);
            if count > 0 {
                sum.largest.cpu_millis = sum.largest.cpu_millis.max(one.cpu_millis);
                sum.largest.memory_bytes = sum.largest.memory_bytes.max(one.memory_bytes);
                sum.largest.storage_bytes = sum.largest.storage_bytes.max(one.storage_bytes);
            }
        }
        sum
    }

    /// The images that run, sorted, each once.
    pub fn images(&self) -> Vec<String> {
        let set: BTreeSet<_> = self.workloads.values().map(|w| w.pinned.clone().unwrap_or_else(|| w.image.clone())).collect();
        set.into_iter().collect()
    }
}

impl Workload {
    /// How many instances there should be.
    pub fn count(&self, scaled: Option<u32>, nodes: u32) -> u32 {
        match self.kind {
            WorkloadKind::Global => nodes,
            WorkloadKind::Stateless | WorkloadKind::Stateful | WorkloadKind::Job => scaled.unwrap_or(self.replicas),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(kind: WorkloadKind, replicas: u32) -> Workload {
        Workload { kind, replicas, requests: Resources { cpu_millis: 100, memory_bytes: 1000, ..Resources::default() }, ..Workload::default() }
    }

    #[test]
    fn demand_counts_scaled_replicas_and_nodes() {
        let (web, each) = (Name::parse("web").unwrap(), Name::parse("each").unwrap());
        let model = Model {
            workloads: BTreeMap::from([(web.clone(), workload(WorkloadKind::Stateless, 2)), (each, workload(WorkloadKind::Global, 1))]),
            ..Model::default()
        };
        let demand = model.demand(&BTreeMap::from([(web, 5)]), 3);
        assert_eq!((demand.cpu_millis, demand.memory_bytes, demand.containers), (800, 8000, 8));
    }

    #[test]
    fn a_model_survives_json_and_older_json_gets_defaults() {
        let model: Model = serde_json::from_value(serde_json::json!({"workloads": {"web": {"image": "a/b/c"}}})).unwrap();
        let web = &model.workloads[&Name::parse("web").unwrap()];
        assert_eq!((web.replicas, web.update.surge, web.restart), (1, 1, Restart::Always));
        assert_eq!(serde_json::from_value::<Model>(serde_json::to_value(&model).unwrap()).unwrap(), model);
    }
}
