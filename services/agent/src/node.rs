//! Puts the keeper together with its folders and HAProxy; what the service and the tests start.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use gantry_cri::Cri;
use gantry_host::endless;
use gantry_kernel::Env;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::adapters::checkpoints::Checkpoints;
use crate::adapters::commands::Commands;
use crate::adapters::disk::Disk;
use crate::adapters::executions;
use crate::adapters::folders::Folders;
use crate::adapters::haproxy::Haproxy;
use crate::adapters::journal::Journal;
use crate::adapters::nics::Nics;
use crate::adapters::tables::Tables;
use crate::adapters::volumes::Volumes;
use crate::app::acts::Keeping;
use crate::app::balancer::{Balancer, Listen};
use crate::app::elsewhere::Elsewhere;
use crate::app::ephemeral::Ephemeral;
use crate::app::guard::Guard;
use crate::app::halting::Halting;
use crate::app::isolating::Isolating;
use crate::app::keeper::{Keeper, Parts, Shared};
use crate::app::lease::Lease;
use crate::app::prepull::Prepull;
use crate::app::pressure::Pressure;
use crate::app::routing;
use crate::app::steps::Steps;
use crate::domain::spec::label;
use crate::domain::wanted::Wanted;

/// All that differs between nodes.
#[derive(Clone, Debug)]
pub struct Settings {
    pub node: String,
    /// `ip:port` of the shared HTTP port.
    pub http_listen: String,
    /// `ip:port` of the shared HTTPS port.
    pub https_listen: String,
    pub service_listen: IpAddr,
    pub service_network: Option<Ipv4Addr>,
    /// Network interface that gets public addresses; empty: the one by which the machine would reach them.
    pub public_interface: String,
    pub haproxy: PathBuf,
    pub criu: PathBuf,
    pub bind_allowed: Vec<PathBuf>,
    pub default_pids: u32,
    /// Configs and secrets lie on the disk, where nothing may be mounted.
    pub files_on_disk: bool,
    /// The last word is kept in memory alone.
    pub word_in_memory: bool,
    /// What instances are told as the node's address; the one by which it reaches others if it has not been set.
    pub address: Option<Ipv4Addr>,
    /// Its pods are reached from other nodes, and theirs from it.
    pub shares_pods: bool,
    /// State is kept below; absolute, since the runtime mounts from it.
    pub home: PathBuf,
}

/// A running keeper.
pub struct Node {
    pub name: String,
    pub home: PathBuf,
    pub logs: PathBuf,
    pub shared: Shared,
    pub disk: Disk,
    pub volumes: Volumes,
    pub commands: Commands,
    pub checkpoints: Checkpoints,
    pub haproxy: Arc<Haproxy>,
    /// What was done to the engine, and whom it is told to when there is more.
    pub journal: Journal,
    pub written: Arc<Notify>,
}

impl Node {
    /// Takes up the last wanted state and keeps it from then on, until cancelled.
    ///
    /// # Errors
    /// When its folders cannot be made, or nothing can be mounted that is to be in memory.
    pub async fn start(settings: Settings, cri: Cri, env: Env, tracker: &TaskTracker, cancel: CancellationToken) -> anyhow::Result<Self> {
        let at = |name: &str| settings.home.join("agent").join(name);
        let mut disk = Disk::open(at("state")).await?;
        if settings.word_in_memory {
            disk = disk.with_word_in_memory(at("word")).await?;
        }
        let volumes = Volumes::new(settings.home.join("volumes"), at("volumes"));
        let commands = Commands::new(at("commands"));
        // What they hold is not waited for: nothing else depends on it.
        tracker.spawn(commands.left().await.end());
        let checkpoints = Checkpoints::new(cri.clone(), settings.criu, at("checkpoints"));
        checkpoints.recover().await;
        let folders = Folders {
            volumes: volumes.clone(),
            instances: at("instances"),
            logs: at("logs"),
            bind_allowed: settings.bind_allowed,
            files_on_disk: settings.files_on_disk,
        };
        volumes.recover(folders.given().await.as_ref()).await;
        tokio::fs::create_dir_all(&folders.logs).await?;
        let log = settings.home.join("log/haproxy.log");
        let haproxy = Arc::new(Haproxy::new(settings.haproxy, settings.home.join("haproxy"), log, settings.http_listen).with_https(settings.https_listen));
        let listen =
            Listen { address: settings.service_listen, service_network: settings.service_network, public_interface: settings.public_interface.clone() };
        let wanted = disk.wanted().await.map(|state| Wanted::parse(state).0);
        let shared = Shared::new(wanted);
        shared.lease.send_replace(Lease::resume(&disk).await);
        let (journal, written) = (Journal::open(at("audit")).await?, Arc::new(Notify::new()));
        let (acts, node) = (shared.acts.clone(), settings.node.clone());
        endless("journal", tracker, &cancel, Keeping { acts, journal: journal.clone(), node, env: env.clone(), written: written.clone() }.run(cancel.clone()));
        let logs = folders.logs.clone();
        let nics = Nics::new(at("nics"), shared.routes.clone());
        endless("interfaces", tracker, &cancel, nics.clone().keep_ends(cancel.clone()));
        let isolating = Isolating::new(cri.clone(), shared.clone(), Tables::new(at("tables")), settings.service_network, resolvers());
        endless("isolation", tracker, &cancel, isolating.clone().run(cancel.clone()));
        let steps = Steps {
            cri: cri.clone(),
            node: settings.node.clone(),
            address: own_address(settings.address).await,
            folders,
            resolvers: resolvers(),
            services: settings.service_network,
            nics,
            isolating,
            checkpoints: checkpoints.clone(),
            default_pids: settings.default_pids,
            wanted: shared.wanted.clone(),
            lease: shared.lease.clone(),
            sleep: shared.sleep,
            fetching: shared.fetching.clone(),
            wake: shared.wake.clone(),
        };
        if settings.shares_pods {
            routing::put_back(&disk).await;
        }
        let balancer = Balancer::open(haproxy.clone(), disk.clone(), listen, &settings.home.display().to_string()).await;
        endless("names elsewhere", tracker, &cancel, Elsewhere { shared: shared.clone() }.run(cancel.clone()));
        endless("images ahead", tracker, &cancel, Prepull { cri: cri.clone(), shared: shared.clone() }.run(cancel.clone()));
        let executions = executions::listen(shared.executions.clone(), tracker, cancel.clone());
        // Before the keeper begins: it would start them.
        let halting = Halting::open(shared.clone(), disk.clone()).await;
        let guard = Guard::new(cri.clone(), shared.clone(), settings.service_network, resolvers(), executions, halting);
        let own = own(&settings.node);
        endless(
            "local storage",
            tracker,
            &cancel,
            Ephemeral { cri: cri.clone(), shared: shared.clone(), own: own.clone(), instances: at("instances") }.run(cancel.clone()),
        );
        endless("pressure", tracker, &cancel, Pressure { cri: cri.clone(), shared: shared.clone(), own }.run(cancel.clone()));
        endless("guard", tracker, &cancel, guard.run(cancel.clone()));
        let parts = Parts { env, shared: shared.clone(), cri, steps, balancer, disk: disk.clone(), tracker: tracker.clone(), cancel: cancel.clone() };
        endless("keeper", tracker, &cancel, Keeper::new(parts).await.run());
        Ok(Self { name: settings.node, home: settings.home, logs, shared, disk, volumes, commands, checkpoints, haproxy, journal, written })
    }

    /// Labels that choose this node's pods and containers.
    pub fn own(&self) -> BTreeMap<String, String> {
        own(&self.name)
    }
}

fn own(node: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(label::NODE.to_owned(), node.to_owned())])
}

/// As it was set, or the one that the machine has on the way to others, for which nothing is sent; empty where there is no such way.
async fn own_address(set: Option<Ipv4Addr>) -> String {
    if let Some(address) = set {
        return address.to_string();
    }
    let found = async {
        let socket = tokio::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        // Nobody's (RFC 5737).
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).await?;
        socket.local_addr()
    };
    found.await.map(|own: std::net::SocketAddr| own.ip().to_string()).unwrap_or_default()
}

/// The machine's resolvers, but for those on its own loopback, which containers cannot reach.
fn resolvers() -> Vec<String> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = text.lines().filter_map(|line| line.strip_prefix("nameserver"));
    servers.map(|s| s.trim().to_owned()).filter(|s| s.parse::<IpAddr>().is_ok_and(|ip| !ip.is_loopback())).collect()
}
