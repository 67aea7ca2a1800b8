//! Pod sandboxes: the network and process house that an instance's container lives in.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use crate::client::{LONG, SHORT, bounded};
use crate::{Cri, CriError, wire};

/// What a pod is to be. `name`, `namespace`, `uid` and `attempt` together must be unique on the node.
#[derive(Clone, Debug, Default)]
pub struct PodSpec {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub attempt: u32,
    /// Empty = the pod's name. Ignored on the host's network.
    pub hostname: String,
    /// Kept by the runtime over restarts of everybody; find the pod again by them.
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Host folder below which containers write their log files. Must exist before a container starts.
    pub log_directory: PathBuf,
    /// `None` = the host's resolver settings.
    pub dns: Option<Dns>,
    pub host_ports: Vec<HostPort>,
    /// Share the host's network instead of an own one.
    pub host_network: bool,
    /// See the host's processes.
    pub host_pid: bool,
    /// Share the host's shared memory, semaphores and message queues.
    pub host_ipc: bool,
    /// Namespaced kernel settings, e.g. `net.ipv4.ip_unprivileged_port_start`.
    pub sysctls: BTreeMap<String, String>,
    /// Cgroup below which the pod's groups are made, e.g. `/gantry/<id>`; empty = the runtime's default.
    pub cgroup_parent: String,
    /// Runtime class ("runc", "crun", "kata"); empty = the default one.
    pub runtime_class: String,
    /// A pod must be privileged for one of its containers to be.
    pub privileged: bool,
    /// Network limits in bits a second, out of the pod and into it; 0 = none. Needs the CNI `bandwidth` plug-in.
    pub up_bps: u64,
    pub down_bps: u64,
}

/// Resolver settings of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    pub servers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
}

/// A port of the host forwarded into the pod (CNI `portmap`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub container: u16,
    pub host: u16,
    /// Host address to listen on; empty = all.
    pub address: String,
    pub udp: bool,
}

/// A pod as the runtime lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub id: String,
    pub name: String,
    pub namespace: String,
    pub attempt: u32,
    /// False once stopped, or when its sandbox process died.
    pub ready: bool,
    /// Nanoseconds since 1970.
    pub created_at: i64,
    pub labels: HashMap<String, String>,
}

/// A pod with its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodStatus {
    pub ready: bool,
    /// Empty on the host's network, or when the network is gone.
    pub address: String,
    pub labels: HashMap<String, String>,
}

impl PodSpec {
    pub(crate) fn to_wire(&self) -> wire::PodSandboxConfig {
        let mut annotations: HashMap<_, _> = self.annotations.clone().into_iter().collect();
        // The names every CRI runtime hands to the CNI bandwidth plug-in, which calls what comes into the pod ingress.
        for (name, bps) in [("kubernetes.io/ingress-bandwidth", self.down_bps), ("kubernetes.io/egress-bandwidth", self.up_bps)] {
            if bps > 0 {
                annotations.insert(name.into(), bps.to_string());
            }
        }
        wire::PodSandboxConfig {
            metadata: Some(wire::PodSandboxMetadata {
                name: self.name.clone(),
                uid: self.uid.clone(),
                namespace: self.namespace.clone(),
                attempt: self.attempt,
            }),
            hostname: match (self.host_network, self.hostname.is_empty()) {
                (true, _) => String::new(),
                (false, true) => self.name.clone(),
                (false, false) => self.hostname.clone(),
            },
            log_directory: self.log_directory.display().to_string(),
            dns_config: self.dns.clone().map(|d| wire::DnsConfig { servers: d.servers, searches: d.searches, options: d.options }),
            port_mappings: self.host_ports.iter().map(HostPort::to_wire).collect(),
            labels: self.labels.clone().into_iter().collect(),
            annotations,
            linux: Some(wire::LinuxPodSandboxConfig {
                cgroup_parent: self.cgroup_parent.clone(),
                security_context: Some(wire::LinuxSandboxSecurityContext {
                    namespace_options: Some(self.namespaces()),
                    privileged: self.privileged,
                    seccomp: None,
                }),
                sysctls: self.sysctls.clone().into_iter().collect(),
            }),
        }
    }
}

impl PodSpec {
    /// Of the pod or of the host; processes of one container see those of another only where they see all of the host's.
    pub(crate) fn namespaces(&self) -> wire::NamespaceOption {
        let or = |host: bool, own: wire::NamespaceMode| i32::from(if host { wire::NamespaceMode::Node } else { own });
        wire::NamespaceOption {
            network: or(self.host_network, wire::NamespaceMode::Pod),
            pid: or(self.host_pid, wire::NamespaceMode::Container),
            ipc: or(self.host_ipc, wire::NamespaceMode::Pod),
        }
    }
}

impl HostPort {
    fn to_wire(&self) -> wire::PortMapping {
        let protocol = if self.udp { wire::Protocol::Udp } else { wire::Protocol::Tcp };
        wire::PortMapping { protocol: protocol.into(), container_port: self.container.into(), host_port: self.host.into(), host_ip: self.address.clone() }
    }
}

impl Cri {
    /// Makes a pod with its network and starts its sandbox; gives the pod's id.
    ///
    /// # Errors
    /// [`CriError::Failed`] with the runtime's words (name taken, CNI refused, sandbox image missing, ...).
    pub async fn run_pod(&self, spec: &PodSpec) -> Result<String, CriError> {
        tokio::fs::create_dir_all(&spec.log_directory).await.map_err(|source| CriError::LogDirectory { path: spec.log_directory.clone(), source })?;
        let request = wire::RunPodSandboxRequest { config: Some(spec.to_wire()), runtime_handler: spec.runtime_class.clone() };
        Ok(bounded("run pod", LONG, self.runtime.clone().run_pod_sandbox(request)).await?.pod_sandbox_id)
    }

    /// Kills what still runs in the pod and gives its network back. Repeating it is harmless; a pod that is gone is fine.
    ///
    /// # Errors
    /// As every call.
    pub async fn stop_pod(&self, pod: &str) -> Result<(), CriError> {
        let request = wire::StopPodSandboxRequest { pod_sandbox_id: pod.into() };
        absent_is_fine(bounded("stop pod", LONG, self.runtime.clone().stop_pod_sandbox(request)).await.map(drop))
    }

    /// Removes a pod and its containers. A pod that is gone is fine.
    ///
    /// # Errors
    /// As every call.
    pub async fn remove_pod(&self, pod: &str) -> Result<(), CriError> {
        let request = wire::RemovePodSandboxRequest { pod_sandbox_id: pod.into() };
        absent_is_fine(bounded("remove pod", LONG, self.runtime.clone().remove_pod_sandbox(request)).await.map(drop))
    }

    /// Pods that carry all these labels (none = every pod), oldest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn list_pods(&self, labels: &BTreeMap<String, String>) -> Result<Vec<Pod>, CriError> {
        let filter = wire::PodSandboxFilter { label_selector: labels.clone().into_iter().collect(), ..Default::default() };
        let request = wire::ListPodSandboxRequest { filter: Some(filter) };
        let mut items = bounded("list pods", SHORT, self.runtime.clone().list_pod_sandbox(request)).await?.items;
        items.sort_by_key(|p| p.created_at);
        Ok(items.into_iter().map(Pod::from).collect())
    }

    /// The pod's state and address.
    ///
    /// # Errors
    /// [`CriError::NotFound`] if there is no such pod.
    pub async fn pod_status(&self, pod: &str) -> Result<PodStatus, CriError> {
        let request = wire::PodSandboxStatusRequest { pod_sandbox_id: pod.into(), verbose: false };
        let status = bounded("pod status", SHORT, self.runtime.clone().pod_sandbox_status(request)).await?.status;
        let status = status.ok_or(CriError::Incomplete { verb: "pod status", field: "status" })?;
        Ok(PodStatus {
            ready: status.state() == wire::PodSandboxState::SandboxReady,
            address: status.network.map(|n| n.ip).unwrap_or_default(),
            labels: status.labels,
        })
    }
}

impl Cri {
    /// The process that holds a pod's namespaces, as the node numbers it.
    ///
    /// # Errors
    /// [`CriError::NotFound`] if there is no such pod; [`CriError::Incomplete`] of a runtime that does not tell.
    pub async fn pod_pid(&self, pod: &str) -> Result<u32, CriError> {
        let request = wire::PodSandboxStatusRequest { pod_sandbox_id: pod.into(), verbose: true };
        let info = bounded("pod status", SHORT, self.runtime.clone().pod_sandbox_status(request)).await?.info;
        let told = info.get("info").and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        let pid = told.and_then(|t| u32::try_from(t["pid"].as_u64()?).ok()).filter(|pid| *pid > 0);
        pid.ok_or(CriError::Incomplete { verb: "pod status", field: "pid" })
    }
}

pub(crate) fn absent_is_fine(result: Result<(), CriError>) -> Result<(), CriError> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

impl From<wire::PodSandbox> for Pod {
    fn from(pod: wire::PodSandbox) -> Self {
        let ready = pod.state() == wire::PodSandboxState::SandboxReady;
        let metadata = pod.metadata.unwrap_or_default();
        Self {
            id: pod.id,
            name: metadata.name,
            namespace: metadata.namespace,
            attempt: metadata.attempt,
            ready,
            created_at: pod.created_at,
            labels: pod.labels,
        }
    }
}
