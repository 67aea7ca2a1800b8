//! Containers inside a pod.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use crate::client::{LONG, SHORT, bounded};
use crate::pod::absent_is_fine;
use crate::{Cri, CriError, PodSpec, wire};

/// What a container is to be. `name` and `attempt` must be unique in the pod.
#[derive(Clone, Debug, Default)]
pub struct ContainerSpec {
    pub name: String,
    /// Which start this is; a new container per restart, numbered from 0.
    pub attempt: u32,
    /// A name the node has, or the id given by [`Cri::pull_image`].
    pub image: String,
    /// Replaces the image's entrypoint; empty = keep it.
    pub command: Vec<String>,
    /// Replaces the image's command; empty = keep it.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub working_dir: String,
    /// Empty = the image's user; `uid`, `uid:gid` or a user name of the image.
    pub user: String,
    pub mounts: Vec<Mount>,
    pub devices: Vec<Device>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Log file below the pod's `log_directory`; empty = output is dropped.
    pub log_path: String,
    pub limits: Limits,
    /// Processors and memory nodes it runs on: `0-3,7`; all if empty.
    pub cpuset: String,
    pub cpuset_memory: String,
    pub privileged: bool,
    pub read_only_root: bool,
    /// With or without `CAP_`; `ALL` is allowed.
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    /// `None` = the runtime's own choice.
    pub apparmor: Option<Seccomp>,
    /// `user:role:type:level`, parts may be empty; empty = the runtime's own choice.
    pub selinux: String,
    /// More groups of the processes.
    pub groups: Vec<u32>,
    pub tty: bool,
    pub stdin: bool,
}

/// A folder or file of the host seen in the container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    pub host: PathBuf,
    pub container: String,
    pub read_only: bool,
    pub propagation: Propagation,
}

/// Whether what is mounted below a mount is seen on its other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    #[default]
    Private,
    /// What the host mounts is seen in the container.
    HostToContainer,
    /// Also what the container mounts on the host, for which it must be privileged.
    Bidirectional,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub host: String,
    pub container: String,
    /// Some of `rwm`.
    pub permissions: String,
}

/// Zero = unlimited. Works the same on cgroup v1 and v2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Thousandths of a core the container may use at most.
    pub cpu_millis: u64,
    /// Its weight when the node is busy, as thousandths of a core it asked for.
    pub cpu_request_millis: u64,
    /// At more it is killed. Swap is not given on top unless it is asked for.
    pub memory_bytes: u64,
    /// Memory and swap together, where the kernel counts swap; -1 = unlimited.
    pub memory_swap_bytes: i64,
    /// -1000 (never) to 1000 (first to be killed when the node is out of memory).
    pub oom_score_adj: i64,
}

/// System call filter, or another profile with the same three choices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    #[default]
    RuntimeDefault,
    Unconfined,
    /// A profile file of the host.
    Localhost(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    Created,
    Running,
    Exited,
    Unknown,
}

/// A container as the runtime lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub pod: String,
    pub name: String,
    pub attempt: u32,
    pub state: ContainerState,
    /// Image id (`sha256:...`).
    pub image_ref: String,
    /// Nanoseconds since 1970.
    pub created_at: i64,
    pub labels: HashMap<String, String>,
}

/// A container with how it ended. Times are nanoseconds since 1970; 0 = not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStatus {
    pub id: String,
    pub state: ContainerState,
    pub attempt: u32,
    pub started_at: i64,
    pub finished_at: i64,
    pub exit_code: i32,
    /// The runtime's word: "Completed", "Error", "OOMKilled", "StartError".
    pub reason: String,
    pub message: String,
    pub image_ref: String,
    pub log_path: PathBuf,
    /// Process id on the host, while it runs and if the runtime tells.
    pub pid: Option<u32>,
}

/// What a command run inside a container gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    pub exit_code: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Cri {
    /// Makes a container in a pod without starting it; gives its id. `pod_spec` must be the one the pod was made from.
    ///
    /// # Errors
    /// [`CriError::Failed`] with the runtime's words (name taken, image missing, mount source missing, ...).
    pub async fn create_container(&self, pod: &str, pod_spec: &PodSpec, spec: &ContainerSpec) -> Result<String, CriError> {
        let request = wire::CreateContainerRequest {
            pod_sandbox_id: pod.into(),
            config: Some(spec.to_wire(pod_spec.namespaces())),
            sandbox_config: Some(pod_spec.to_wire()),
        };
        Ok(bounded("create container", LONG, self.runtime.clone().create_container(request)).await?.container_id)
    }

    /// Starts a container that was made.
    ///
    /// # Errors
    /// [`CriError::Failed`], e.g. if the command is not in the image.
    pub async fn start_container(&self, container: &str) -> Result<(), CriError> {
        let request = wire::StartContainerRequest { container_id: container.into() };
        bounded("start container", LONG, self.runtime.clone().start_container(request)).await.map(drop)
    }

    /// Sends the image's stop signal and, after `grace`, kills. Zero kills at once. A container that is gone or done is fine.
    ///
    /// # Errors
    /// As every call.
    pub async fn stop_container(&self, container: &str, grace: Duration) -> Result<(), CriError> {
        let seconds = i64::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
        let request = wire::StopContainerRequest { container_id: container.into(), timeout: seconds };
        absent_is_fine(bounded("stop container", grace + LONG, self.runtime.clone().stop_container(request)).await.map(drop))
    }

    /// Removes a container, killing it if it runs. One that is gone is fine.
    ///
    /// # Errors
    /// As every call.
    pub async fn remove_container(&self, container: &str) -> Result<(), CriError> {
        let request = wire::RemoveContainerRequest { container_id: container.into() };
        absent_is_fine(bounded("remove container", LONG, self.runtime.clone().remove_container(request)).await.map(drop))
    }

    /// Containers that carry all these labels (none = every container), oldest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn list_containers(&self, labels: &BTreeMap<String, String>) -> Result<Vec<Container>, CriError> {
        let filter = wire::ContainerFilter { label_selector: labels.clone().into_iter().collect(), ..Default::default() };
        let request = wire::ListContainersRequest { filter: Some(filter) };
        let mut found = bounded("list containers", SHORT, self.runtime.clone().list_containers(request)).await?.containers;
        found.sort_by_key(|c| c.created_at);
        Ok(found.into_iter().map(Container::from).collect())
    }

    /// How a container is, or how it ended.
    ///
    /// # Errors
    /// [`CriError::NotFound`] if there is no such container.
    pub async fn container_status(&self, container: &str) -> Result<ContainerStatus, CriError> {
        let request = wire::ContainerStatusRequest { container_id: container.into(), verbose: true };
        let answer = bounded("container status", SHORT, self.runtime.clone().container_status(request)).await?;
        let pid = answer.info.get("info").and_then(|text| pid_in(text));
        let status = answer.status.ok_or(CriError::Incomplete { verb: "container status", field: "status" })?;
        Ok(ContainerStatus {
            state: status.state().into(),
            attempt: status.metadata.as_ref().map_or(0, |m| m.attempt),
            id: status.id,
            started_at: status.started_at,
            finished_at: status.finished_at,
            exit_code: status.exit_code,
            reason: status.reason,
            message: status.message,
            image_ref: status.image_ref,
            log_path: status.log_path.into(),
            pid,
        })
    }

    /// Tells the runtime that the container's log file was moved away, so that it opens a new one.
    ///
    /// # Errors
    /// As every call; the container must be running.
    pub async fn reopen_log(&self, container: &str) -> Result<(), CriError> {
        let request = wire::ReopenContainerLogRequest { container_id: container.into() };
        bounded("reopen log", SHORT, self.runtime.clone().reopen_container_log(request)).await.map(drop)
    }

    /// Runs a command in a running container and waits for its end, at most `timeout` (rounded up to seconds).
    ///
    /// # Errors
    /// [`CriError::TimedOut`] when the time is over; [`CriError::Failed`] if the command cannot be started.
    pub async fn exec_sync(&self, container: &str, command: &[String], timeout: Duration) -> Result<ExecOutput, CriError> {
        let seconds = i64::try_from(timeout.as_millis().div_ceil(1000)).unwrap_or(i64::MAX).max(1);
        let request = wire::ExecSyncRequest { container_id: container.into(), cmd: command.to_vec(), timeout: seconds };
        // The runtime kills the command at its own deadline; ours only guards against a runtime that does not.
        match bounded("exec", timeout + Duration::from_secs(5), self.runtime.clone().exec_sync(request)).await {
            Ok(answer) => Ok(ExecOutput { exit_code: answer.exit_code, stdout: answer.stdout, stderr: answer.stderr }),
            Err(CriError::Failed { source, .. }) if source.code() == tonic::Code::DeadlineExceeded => Err(CriError::TimedOut { verb: "exec", after: timeout }),
            Err(error) => Err(error),
        }
    }
}

/// containerd and CRI-O both put `"pid": n` at the top of the verbose JSON; a full parse of that page-long text is not worth it.
fn pid_in(text: &str) -> Option<u32> {
    let after = text.split_once("\"pid\":")?.1.trim_start();
    let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().filter(|pid| *pid > 0)
}

impl ContainerSpec {
    fn to_wire(&self, namespaces: wire::NamespaceOption) -> wire::ContainerConfig {
        let resources = wire::LinuxContainerResources { cpuset_cpus: self.cpuset.clone(), cpuset_mems: self.cpuset_memory.clone(), ..self.limits.to_wire() };
        let env = self.env.iter().map(|(key, value)| wire::KeyValue { key: key.clone(), value: value.clone().into_bytes() });
        wire::ContainerConfig {
            metadata: Some(wire::ContainerMetadata { name: self.name.clone(), attempt: self.attempt }),
            image: Some(wire::ImageSpec { image: self.image.clone(), ..Default::default() }),
            command: self.command.clone(),
            args: self.args.clone(),
            working_dir: self.working_dir.clone(),
            envs: env.collect(),
            mounts: self.mounts.iter().map(Mount::to_wire).collect(),
            devices: self.devices.iter().map(Device::to_wire).collect(),
            labels: self.labels.clone().into_iter().collect(),
            annotations: self.annotations.clone().into_iter().collect(),
            log_path: self.log_path.clone(),
            tty: self.tty,
            stdin: self.stdin,
            linux: Some(wire::LinuxContainerConfig { resources: Some(resources), security_context: Some(self.security(namespaces)) }),
            ..Default::default()
        }
    }

    fn security(&self, namespaces: wire::NamespaceOption) -> wire::LinuxContainerSecurityContext {
        let (uid, gid, name) = parse_user(&self.user);
        let bare = |caps: &[String]| caps.iter().map(|c| c.strip_prefix("CAP_").unwrap_or(c).to_owned()).collect();
        let paths = |list: &[&str]| if self.privileged { Vec::new() } else { list.iter().map(|p| (*p).to_owned()).collect() };
        wire::LinuxContainerSecurityContext {
            capabilities: Some(wire::Capability { add_capabilities: bare(&self.cap_add), drop_capabilities: bare(&self.cap_drop) }),
            privileged: self.privileged,
            namespace_options: Some(namespaces),
            run_as_user: uid.map(|value| wire::Int64Value { value }),
            run_as_group: gid.map(|value| wire::Int64Value { value }),
            run_as_username: name,
            readonly_rootfs: self.read_only_root,
            no_new_privs: self.no_new_privileges,
            masked_paths: paths(MASKED),
            readonly_paths: paths(READ_ONLY),
            seccomp: (!self.privileged).then(|| self.seccomp.to_wire()),
            apparmor: self.apparmor.as_ref().map(Seccomp::to_wire),
            selinux_options: selinux(&self.selinux),
            supplemental_groups: self.groups.iter().map(|g| i64::from(*g)).collect(),
        }
    }
}

/// Parts of /proc and /sys that tell or change things of the host.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn selinux(text: &str) -> Option<wire::SeLinuxOption> {
    let mut parts = text.splitn(4, ':').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    (!text.is_empty()).then(|| wire::SeLinuxOption { user: next(), role: next(), r#type: next(), level: next() })
}

/// `uid`, `uid:gid` or a name; a group name cannot be asked for by CRI and is left to the image's passwd.
fn parse_user(user: &str) -> (Option<i64>, Option<i64>, String) {
    let (who, group) = user.split_once(':').unwrap_or((user, ""));
    match who.parse::<i64>() {
        Ok(uid) => (Some(uid), group.parse().ok(), String::new()),
        Err(_) => (None, None, who.to_owned()),
    }
}

impl Mount {
    fn to_wire(&self) -> wire::Mount {
        let propagation = match self.propagation {
            Propagation::Private => wire::MountPropagation::PropagationPrivate,
            Propagation::HostToContainer => wire::MountPropagation::PropagationHostToContainer,
            Propagation::Bidirectional => wire::MountPropagation::PropagationBidirectional,
        };
        wire::Mount {
            container_path: self.container.clone(),
            host_path: self.host.display().to_string(),
            readonly: self.read_only,
            propagation: propagation.into(),
            ..Default::default()
        }
    }
}

impl Device {
    fn to_wire(&self) -> wire::Device {
        wire::Device { container_path: self.container.clone(), host_path: self.host.clone(), permissions: self.permissions.clone() }
    }
}

impl Seccomp {
    fn to_wire(&self) -> wire::SecurityProfile {
        use wire::security_profile::ProfileType;
        let (kind, path) = match self {
            Self::RuntimeDefault => (ProfileType::RuntimeDefault, String::new()),
            Self::Unconfined => (ProfileType::Unconfined, String::new()),
            Self::Localhost(path) => (ProfileType::Localhost, path.display().to_string()),
        };
        wire::SecurityProfile { profile_type: kind.into(), localhost_ref: path }
    }
}

const CPU_PERIOD_MICROS: i64 = 100_000;

impl Limits {
    fn to_wire(self) -> wire::LinuxContainerResources {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let limited = self.cpu_millis > 0;
        let asked = if self.cpu_request_millis > 0 { self.cpu_request_millis } else { self.cpu_millis };
        wire::LinuxContainerResources {
            cpu_period: if limited { CPU_PERIOD_MICROS } else { 0 },
            // The kernel refuses a quota below 1 ms.
            cpu_quota: if limited { (signed(self.cpu_millis).saturating_mul(CPU_PERIOD_MICROS) / 1000).max(1000) } else { 0 },
            // 1024 shares a core; 2 is the kernel's least.
            cpu_shares: if asked > 0 { (signed(asked).saturating_mul(1024) / 1000).clamp(2, 262_144) } else { 0 },
            memory_limit_in_bytes: signed(self.memory_bytes),
            memory_swap_limit_in_bytes: self.memory_swap_bytes,
            oom_score_adj: self.oom_score_adj,
            ..Default::default()
        }
    }
}

impl From<wire::ContainerState> for ContainerState {
    fn from(state: wire::ContainerState) -> Self {
        match state {
            wire::ContainerState::ContainerCreated => Self::Created,
            wire::ContainerState::ContainerRunning => Self::Running,
            wire::ContainerState::ContainerExited => Self::Exited,
            wire::ContainerState::ContainerUnknown => Self::Unknown,
        }
    }
}

impl From<wire::Container> for Container {
    fn from(found: wire::Container) -> Self {
        let state = found.state().into();
        let metadata = found.metadata.unwrap_or_default();
        Self {
            id: found.id,
            pod: found.pod_sandbox_id,
            name: metadata.name,
            attempt: metadata.attempt,
            state,
            image_ref: found.image_ref,
            created_at: found.created_at,
            labels: found.labels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_read_as_number_pair_or_name() {
        assert_eq!(parse_user("1000:50"), (Some(1000), Some(50), String::new()));
        assert_eq!(parse_user("0"), (Some(0), None, String::new()));
        assert_eq!(parse_user("nginx:nginx"), (None, None, "nginx".into()));
        assert_eq!(parse_user(""), (None, None, String::new()));
    }

    #[test]
    fn namespaces_are_the_hosts_only_where_that_is_said() {
        use wire::NamespaceMode::{Container, Node, Pod};
        let modes = |pod: PodSpec| {
            let of = pod.namespaces();
            (of.network(), of.pid(), of.ipc())
        };
        assert_eq!(modes(PodSpec::default()), (Pod, Container, Pod));
        assert_eq!(modes(PodSpec { host_pid: true, host_ipc: true, ..PodSpec::default() }), (Pod, Node, Node));
        assert_eq!(modes(PodSpec { host_network: true, ..PodSpec::default() }), (Node, Container, Pod));
    }

    #[test]
    fn mounts_are_private_unless_something_else_is_said() {
        let wire = |propagation| Mount { propagation, ..Mount::default() }.to_wire().propagation();
        assert_eq!(Mount::default().to_wire().propagation(), wire::MountPropagation::PropagationPrivate);
        assert_eq!(wire(Propagation::HostToContainer), wire::MountPropagation::PropagationHostToContainer);
        assert_eq!(wire(Propagation::Bidirectional), wire::MountPropagation::PropagationBidirectional);
    }

    #[test]
    fn half_a_core_becomes_half_the_period_and_half_the_shares() {
        let wire = Limits { cpu_millis: 500, memory_bytes: 1 << 20, ..Limits::default() }.to_wire();
        assert_eq!((wire.cpu_quota, wire.cpu_period, wire.cpu_shares, wire.memory_limit_in_bytes), (50_000, 100_000, 512, 1 << 20));
        assert_eq!(Limits::default().to_wire().cpu_quota, 0);
        let spec = ContainerSpec { cpuset: "0-1".into(), limits: Limits { memory_swap_bytes: -1, ..Limits::default() }, ..ContainerSpec::default() };
        let wire = spec.to_wire(PodSpec::default().namespaces()).linux.unwrap().resources.unwrap();
        assert_eq!((wire.cpuset_cpus.as_str(), wire.cpuset_mems.as_str(), wire.memory_swap_limit_in_bytes), ("0-1", "", -1));
    }

    #[test]
    fn the_pid_is_found_in_the_verbose_answer() {
        assert_eq!(pid_in(r#"{"sandboxID":"x","pid":4711,"removing":false}"#), Some(4711));
        assert_eq!(pid_in(r#"{"pid": 0}"#), None);
        assert_eq!(pid_in("{}"), None);
    }
}
