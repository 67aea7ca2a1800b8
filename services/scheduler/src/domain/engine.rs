//! What the scheduler and an engine say to each other. An engine runs instances on nodes: agents with containerd now, a
//! Kubernetes cluster later. It is told the whole wanted state of a node and reports what it sees; nothing else crosses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use gantry_kernel::{AppId, InstanceId, Name, SpaceId};
use serde::{Deserialize, Serialize};

use super::app::Home;
use super::made::Made;
use super::model::{Access, HeaderMatch, Network, Protocol, Resources, Route, Workload};
use super::placement::Guard;

/// What a node is; changes rarely.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Facts {
    pub architecture: String,
    pub os: String,
    pub kernel: String,
    pub virtual_machine: bool,
    pub cpu_millis: u64,
    pub memory_bytes: u64,
    pub storage_bytes: u64,
    pub runtime: String,
    pub runtime_classes: Vec<String>,
    pub zone: String,
    pub labels: BTreeMap<String, String>,
    /// Where other nodes reach it, and the network of its pods (`10.88.0.0/16`); empty: they are reached from itself only.
    pub address: String,
    pub pod_network: String,
}

impl Facts {
    pub fn capacity(&self) -> Resources {
        Resources {
            cpu_millis: u32::try_from(self.cpu_millis).unwrap_or(u32::MAX),
            memory_bytes: self.memory_bytes,
            storage_bytes: self.storage_bytes,
            pids: 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Starting,
    Running,
    Unhealthy,
    Stopping,
    Exited,
    /// The engine gave up on it.
    Failed,
}

/// One instance as its node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    pub seen: Seen,
    pub ready: bool,
    pub address: String,
    pub restarts: u32,
    pub exit_code: i32,
    pub reason: String,
}

/// All that a node reports.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The generation of the wanted state that it has taken in.
    pub generation: u64,
    pub instances: BTreeMap<InstanceId, Observation>,
    /// Which instances each balanced service sends requests to.
    pub rotation: BTreeMap<String, BTreeSet<InstanceId>>,
    /// Services without any instance for which requests are held.
    pub waiting: BTreeSet<String>,
    /// How the images stand that it was to fetch ahead, by name.
    pub images: BTreeMap<String, ImageSeen>,
    /// What was found in instances that an intruder would do; none without any.
    pub signs: BTreeMap<InstanceId, Vec<Sign>>,
    /// Instances out of rotation whose requests are not all answered yet.
    pub draining: BTreeSet<InstanceId>,
}

/// Something that an intruder would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    pub container: String,
    /// program | privilege | connection
    pub sign: String,
    pub detail: String,
    /// What followed.
    pub action: String,
}

/// An image that a node was to fetch before an instance needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ImageSeen {
    /// waiting | pulling | present | failed
    pub state: String,
    pub reason: String,
}

impl Report {
    /// Images that are there already.
    pub fn images_present(&self) -> impl Iterator<Item = &String> {
        self.images.iter().filter(|(_, seen)| seen.state == "present").map(|(name, _)| name)
    }
}

/// One instance that shall be on a node.
#[derive(Clone, Debug)]
pub struct WantedInstance {
    pub id: InstanceId,
    /// "<app>-<workload>-<n>"
    pub name: String,
    pub app: AppId,
    pub app_name: Name,
    pub home: Home,
    pub workload: Name,
    pub revision: u64,
    pub spec: Arc<Workload>,
    /// The networks of the nodes that its interfaces are in, by name.
    pub networks: BTreeMap<String, Network>,
    pub stopping: bool,
}

/// One balanced name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedService {
    pub id: String,
    pub name: Name,
    pub app: AppId,
    pub app_name: Name,
    pub home: Home,
    pub workload: Name,
    pub revision: u64,
    pub protocol: Protocol,
    pub balance: String,
    /// 0: none.
    pub listen: u16,
    pub routes: Vec<Route>,
    /// Under the name; 0: that of the backends.
    pub port: u16,
    /// More names.
    pub aliases: BTreeSet<String>,
    pub backends: Vec<Backend>,
    /// Requests with one of these headers go to another service's backends: the header and the service's id.
    pub headers: Vec<(HeaderMatch, String)>,
    /// Requests are held while it has no backend.
    pub hold: bool,
    /// Who may connect from outside, and how much.
    pub access: Access,
    /// The public address and the port there; on the node alone that has it.
    pub public: Option<(Ipv4Addr, u16)>,
    /// Of one that is headless: its instances that have an address, which its name leads to.
    pub singles: Vec<Single>,
    /// For how long requests of one client go to one instance; 0: not so.
    pub sticky_seconds: u32,
    /// Instances speak HTTP/2, without encryption.
    pub h2: bool,
    /// Of hosts that are served over HTTPS.
    pub certificates: Vec<RouteCertificate>,
}

/// One instance of a headless service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Single {
    /// `<workload>-<number>`, and the instance's own.
    pub names: Vec<String>,
    pub address: String,
    pub ready: bool,
}

/// The certificate of one host of a service's routes.
#[derive(Clone, PartialEq, Eq)]
pub struct RouteCertificate {
    pub host: String,
    /// Chain and key in PEM; none: the platform's own authority gives one.
    pub pem: Option<(Vec<u8>, Vec<u8>)>,
    /// Plain HTTP is answered as well, and not led to HTTPS.
    pub plain_http: bool,
}

/// Without the key.
impl std::fmt::Debug for RouteCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RouteCertificate({})", self.host)
    }
}

/// A name for what runs elsewhere, which instances of the space have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideName {
    pub name: Name,
    /// A host name, which the node looks up, or an address.
    pub address: String,
    pub app: AppId,
    pub app_name: Name,
    pub home: Home,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    pub instance: InstanceId,
    pub port: u16,
    pub address: String,
    /// Its share against the others', 1 to 256.
    pub weight: u32,
}

/// Without anything said.
pub const PLAIN_WEIGHT: u32 = 100;

/// By which node a network of pods is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRoute {
    pub node: Name,
    pub address: String,
    pub pod_network: String,
}

#[derive(Clone, Debug, Default)]
pub struct WantedNode {
    /// What all of it is made of; `None`: it is not compared by that.
    pub made: Option<Made>,
    pub instances: Vec<WantedInstance>,
    pub services: Vec<WantedService>,
    pub outside: Vec<OutsideName>,
    /// What is watched for, by space; reports only where nothing is said.
    pub guards: BTreeMap<SpaceId, Guard>,
    /// What of the network its instances are given, by [`super::isolation::id`]; those without reach and are reached by all.
    pub isolations: BTreeMap<String, Isolation>,
    /// Instances anywhere that do not take in everything.
    pub guarded: BTreeSet<IpAddr>,
    /// Where nodes are: what their balancers pass on comes from there. Empty where nothing is isolated.
    pub node_addresses: BTreeSet<String>,
}

/// What instances may send and take in. An answer is part of what was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Isolation {
    /// The policies that select them, `<application>/<name>`.
    pub policies: Vec<String>,
    /// Only this comes in, besides what the node itself sends; anything if there is none.
    pub ingress: Option<Vec<Opening>>,
    /// Only this goes out, besides questions for names; anything if there is none.
    pub egress: Option<Vec<Opening>>,
    /// What guarded instances take in from them. Nothing else is sent to those.
    pub opened: Vec<Opening>,
    /// The balanced names that they may ask, by id, if not everything goes out.
    pub services: BTreeSet<String>,
    /// Those that they may not ask, if everything else goes out.
    pub refused: BTreeSet<String>,
}

/// Any of the ports of any of the addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    pub everywhere: bool,
    /// Addresses and blocks of them.
    pub networks: BTreeSet<String>,
    pub except: BTreeSet<String>,
    pub ports: BTreeSet<PortRange>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    /// tcp | udp | sctp; empty: whatever it is, also what has no ports.
    pub protocol: &'static str,
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    pub const ALL: Self = Self { protocol: "", first: 0, last: u16::MAX };

    pub fn one(protocol: &'static str, port: u16) -> Self {
        Self { protocol, first: port, last: port }
    }

    pub fn holds(&self, protocol: &str, port: u16) -> bool {
        (self.protocol.is_empty() || self.protocol == protocol) && (self.first..=self.last).contains(&port)
    }
}
