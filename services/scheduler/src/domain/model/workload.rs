//! What runs: kind, number, container, and what is asked of the node.

use std::collections::{BTreeMap, BTreeSet};

use gantry_kernel::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Budget, Constraints, Container, Device, File, Hooks, Job, Mount, Nic, Probe, Scaling, Schedule, is_default};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, JsonSchema)]
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
    /// A job at the times of a schedule.
    CronJob,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    pub kind: WorkloadKind,
    pub replicas: u32,
    /// As the document names it; `pinned` is what runs.
    pub image: String,
    /// "<registry>/<repository>@sha256:..." once resolved.
    #[serde(skip_serializing_if = "is_default")]
    pub pinned: Option<String>,
    /// Overrides the image's entry point if not empty.
    #[serde(skip_serializing_if = "is_default")]
    pub command: Vec<String>,
    /// Overrides the image's arguments if not empty.
    #[serde(skip_serializing_if = "is_default")]
    pub args: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub env: BTreeMap<String, String>,
    /// Variables that are filled from `<config>/<key>`.
    #[serde(skip_serializing_if = "is_default")]
    pub env_sources: BTreeMap<String, String>,
    /// Variables that the engine fills.
    #[serde(skip_serializing_if = "is_default")]
    pub env_facts: BTreeMap<String, EnvFact>,
    #[serde(skip_serializing_if = "is_default")]
    pub working_dir: String,
    /// `name`, `uid` or `uid:gid`; the image's if empty.
    #[serde(skip_serializing_if = "is_default")]
    pub user: String,
    /// More groups of its processes.
    #[serde(skip_serializing_if = "is_default")]
    pub groups: Vec<u32>,
    /// The group that its volumes belong to.
    #[serde(skip_serializing_if = "is_default")]
    pub fs_group: Option<u32>,
    /// What placement counts and the quota reserves.
    #[serde(skip_serializing_if = "is_default")]
    pub requests: Resources,
    /// What the kernel enforces; 0 is no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: Resources,
    /// Other things of the node, such as `nvidia.com/gpu`, and how many.
    #[serde(skip_serializing_if = "is_default")]
    pub extended: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "is_default")]
    pub tuning: Tuning,
    #[serde(skip_serializing_if = "is_default")]
    pub mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "is_default")]
    pub files: Vec<File>,
    #[serde(skip_serializing_if = "is_default")]
    pub devices: Vec<Device>,
    #[serde(skip_serializing_if = "is_default")]
    pub probes: Vec<Probe>,
    #[serde(skip_serializing_if = "is_default")]
    pub hooks: Hooks,
    pub restart: Restart,
    /// So often at most after failures; none: for ever.
    #[serde(skip_serializing_if = "is_default")]
    pub restart_attempts: Option<u32>,
    pub stop_grace_seconds: u32,
    /// `SIGTERM` if empty.
    #[serde(skip_serializing_if = "is_default")]
    pub stop_signal: String,
    #[serde(skip_serializing_if = "is_default")]
    pub privileged: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub read_only_root: bool,
    /// May a process gain rights that its parent lacks? The platform's rule if not said: not unless privileged.
    #[serde(skip_serializing_if = "is_default")]
    pub no_new_privileges: Option<bool>,
    /// Refuse to start as root.
    #[serde(skip_serializing_if = "is_default")]
    pub run_as_non_root: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub cap_add: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub cap_drop: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub sysctls: BTreeMap<String, String>,
    /// name=soft:hard
    #[serde(skip_serializing_if = "is_default")]
    pub ulimits: Vec<String>,
    /// The node's default if empty.
    #[serde(skip_serializing_if = "is_default")]
    pub runtime_class: String,
    /// `runtime/default`, `unconfined`, `localhost/<profile>`; `runtime/default` if empty.
    #[serde(skip_serializing_if = "is_default")]
    pub seccomp: String,
    /// As `seccomp`.
    #[serde(skip_serializing_if = "is_default")]
    pub apparmor: String,
    /// `user:role:type:level`, parts may be empty; `disable`.
    #[serde(skip_serializing_if = "is_default")]
    pub selinux: String,
    #[serde(skip_serializing_if = "is_default")]
    pub tty: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub stdin: bool,
    /// A small init process reaps the container's orphans.
    #[serde(skip_serializing_if = "is_default")]
    pub init_process: bool,
    /// `always`, `missing`, `never`; by digest this makes no difference.
    #[serde(skip_serializing_if = "is_default")]
    pub pull: String,
    /// Names of registry credentials.
    #[serde(skip_serializing_if = "is_default")]
    pub pull_secrets: Vec<String>,
    /// Container ports that it listens on.
    #[serde(skip_serializing_if = "is_default")]
    pub ports: BTreeSet<u16>,
    /// What ports of its containers are called, for network policies.
    #[serde(skip_serializing_if = "is_default")]
    pub port_names: BTreeMap<String, u16>,
    /// Empty: one interface in the space's network.
    #[serde(skip_serializing_if = "is_default")]
    pub nics: Vec<Nic>,
    /// The instance's name if empty.
    #[serde(skip_serializing_if = "is_default")]
    pub hostname: String,
    #[serde(skip_serializing_if = "is_default")]
    pub dns: Dns,
    /// Lines of the hosts file: name to address.
    #[serde(skip_serializing_if = "is_default")]
    pub extra_hosts: BTreeMap<String, String>,
    /// Namespaces that it has in common with others.
    #[serde(skip_serializing_if = "is_default")]
    pub sharing: Sharing,
    /// Run one after the other, each to its end, before the main container.
    #[serde(skip_serializing_if = "is_default")]
    pub init: Vec<Container>,
    /// Run beside the main container.
    #[serde(skip_serializing_if = "is_default")]
    pub sidecars: Vec<Container>,
    #[serde(skip_serializing_if = "is_default")]
    pub depends_on: BTreeMap<Name, Condition>,
    /// Of `depends_on`: those that need not be there, and those whose restart restarts this one (after them).
    #[serde(skip_serializing_if = "is_default")]
    pub optional_dependencies: BTreeSet<Name>,
    #[serde(skip_serializing_if = "is_default")]
    pub restart_with: BTreeSet<Name>,
    pub update: Update,
    /// In rotation for so long before a release or its next step counts it.
    #[serde(skip_serializing_if = "is_default")]
    pub min_ready_seconds: u32,
    #[serde(skip_serializing_if = "is_default")]
    pub placement: Constraints,
    /// Higher ones are placed first.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: i32,
    #[serde(skip_serializing_if = "is_default")]
    pub priority_class: String,
    #[serde(skip_serializing_if = "is_default")]
    pub job: Option<Job>,
    #[serde(skip_serializing_if = "is_default")]
    pub schedule: Option<Schedule>,
    #[serde(skip_serializing_if = "is_default")]
    pub scaling: Option<Scaling>,
    #[serde(skip_serializing_if = "is_default")]
    pub budget: Option<Budget>,
    /// By them policies, affinity and spread choose.
    #[serde(skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default")]
    pub annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default")]
    pub service_account: String,
    /// Whether instances on a cluster get the account's token. None: as the account says, and none of the namespace's own one.
    #[serde(skip_serializing_if = "is_default")]
    pub service_token: Option<bool>,
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
            env_sources: BTreeMap::new(),
            env_facts: BTreeMap::new(),
            working_dir: String::new(),
            user: String::new(),
            groups: Vec::new(),
            fs_group: None,
            requests: Resources::default(),
            limits: Resources::default(),
            extended: BTreeMap::new(),
            tuning: Tuning::default(),
            mounts: Vec::new(),
            files: Vec::new(),
            devices: Vec::new(),
            probes: Vec::new(),
            hooks: Hooks::default(),
            restart: Restart::Always,
            restart_attempts: None,
            stop_grace_seconds: 10,
            stop_signal: String::new(),
            privileged: false,
            read_only_root: false,
            no_new_privileges: None,
            run_as_non_root: false,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            sysctls: BTreeMap::new(),
            ulimits: Vec::new(),
            runtime_class: String::new(),
            seccomp: String::new(),
            apparmor: String::new(),
            selinux: String::new(),
            tty: false,
            stdin: false,
            init_process: false,
            pull: String::new(),
            pull_secrets: Vec::new(),
            ports: BTreeSet::new(),
            port_names: BTreeMap::new(),
            nics: Vec::new(),
            hostname: String::new(),
            dns: Dns::default(),
            extra_hosts: BTreeMap::new(),
            sharing: Sharing::default(),
            init: Vec::new(),
            sidecars: Vec::new(),
            depends_on: BTreeMap::new(),
            optional_dependencies: BTreeSet::new(),
            restart_with: BTreeSet::new(),
            update: Update::default(),
            min_ready_seconds: 0,
            placement: Constraints::default(),
            priority: 0,
            priority_class: String::new(),
            job: None,
            schedule: None,
            scaling: None,
            budget: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            service_account: String::new(),
            service_token: None,
        }
    }
}

impl Workload {
    /// How many instances there should be.
    pub fn count(&self, scaled: Option<u32>, nodes: u32) -> u32 {
        match self.kind {
            WorkloadKind::Global => nodes,
            WorkloadKind::Stateless | WorkloadKind::Stateful | WorkloadKind::Job => scaled.unwrap_or(self.replicas),
            // Its instances come and go with the schedule.
            WorkloadKind::CronJob => 0,
        }
    }
}

impl Workload {
    /// Does the instance with this number stay as it is when a release comes?
    pub fn stays(&self, number: u32) -> bool {
        let runs = matches!(self.kind, WorkloadKind::Stateless | WorkloadKind::Stateful | WorkloadKind::Global);
        runs && self.update.manual || self.is_partitioned(number)
    }

    /// Those that are replaced before it is, when it is restarted with them.
    pub fn replaced_after(&self) -> impl Iterator<Item = &Name> {
        self.restart_with.iter().filter(|&first| self.depends_on.contains_key(first))
    }

    /// Does the instance with this number belong to the revision that it had before a release, also when it is made anew?
    pub fn is_partitioned(&self, number: u32) -> bool {
        self.kind == WorkloadKind::Stateful && number < self.update.partition
    }
}

/// What an engine knows about an instance when it starts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnvFact {
    /// The instance's name, `<application>-<workload>-<number>`.
    Instance,
    InstanceId,
    Number,
    Address,
    Node,
    NodeAddress,
    Application,
    Workload,
    Space,
    ServiceAccount,
    CpuLimit,
    MemoryLimit,
    CpuRequest,
    MemoryRequest,
    Label(String),
    Annotation(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    pub cpu_millis: u32,
    pub memory_bytes: u64,
    pub storage_bytes: u64,
    pub pids: u32,
}

/// Seldom used settings of the kernel's resource control; 0 or empty: not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tuning {
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_shares: u64,
    /// `0-3,7`
    #[serde(skip_serializing_if = "is_default")]
    pub cpuset: String,
    #[serde(skip_serializing_if = "is_default")]
    pub cpuset_memory: String,
    /// Memory and swap together; -1: no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub memory_swap_bytes: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub swappiness: Option<u32>,
    #[serde(skip_serializing_if = "is_default")]
    pub oom_score_adj: i32,
    #[serde(skip_serializing_if = "is_default")]
    pub oom_kill_disable: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub block_weight: u32,
    #[serde(skip_serializing_if = "is_default")]
    pub cgroup_parent: String,
}

impl Tuning {
    /// Of an instance that says nothing.
    pub const USUAL_SHARES: u64 = 1024;

    /// Whether it asks for swap beside its memory. Bytes; a limit of 0 is none.
    pub fn takes_swap(&self, memory_bytes: u64) -> bool {
        self.memory_swap_bytes != 0 && !u64::try_from(self.memory_swap_bytes).is_ok_and(|both| both <= memory_bytes)
    }

    /// Whether it would be ended later than nodes have it when their memory runs out: at a score of 500 with a limit of memory, at 900 without.
    pub fn outlives(&self, memory_bytes: u64) -> bool {
        self.oom_score_adj != 0 && self.oom_score_adj < if memory_bytes > 0 { 500 } else { 900 }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    #[serde(skip_serializing_if = "is_default")]
    pub servers: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub searches: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub options: Vec<String>,
    /// `default` (the node's), `none` (only what is said here); the space's and these if empty.
    #[serde(skip_serializing_if = "is_default")]
    pub policy: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sharing {
    #[serde(skip_serializing_if = "is_default")]
    pub host_network: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub host_pid: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub host_ipc: bool,
    /// The containers of an instance see each other's processes.
    #[serde(skip_serializing_if = "is_default")]
    pub processes: bool,
    /// The network of another workload's instance.
    #[serde(skip_serializing_if = "is_default")]
    pub network_of: Option<Name>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    Started,
    Healthy,
    Completed,
}

/// How a release replaces instances. At least one of `surge` and `max_unavailable` is above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Pause after each step.
    #[serde(skip_serializing_if = "is_default")]
    pub delay_seconds: u32,
    /// Stateful: instances below this number keep the old revision.
    #[serde(skip_serializing_if = "is_default")]
    pub partition: u32,
    /// Nothing is replaced until somebody stops it, or restarts the workload.
    #[serde(skip_serializing_if = "is_default")]
    pub manual: bool,
    /// Stateful: all numbers at once instead of one after the other.
    #[serde(skip_serializing_if = "is_default")]
    pub parallel: bool,
}

impl Default for Update {
    fn default() -> Self {
        Self { surge: 1, max_unavailable: 0, progress_deadline_seconds: 120, rollback: true, delay_seconds: 0, partition: 0, manual: false, parallel: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_from_others_is_known() {
        let swap = |bytes: i64| Tuning { memory_swap_bytes: bytes, ..Tuning::default() }.takes_swap(1 << 20);
        assert_eq!((swap(0), swap(1 << 20), swap(2 << 20), swap(-1)), (false, false, true, true));
        let score = |score: i32, memory: u64| Tuning { oom_score_adj: score, ..Tuning::default() }.outlives(memory);
        assert_eq!((score(0, 1), score(-1, 1), score(500, 1), score(500, 0), score(1000, 0)), (false, true, false, true, false));
    }
}
