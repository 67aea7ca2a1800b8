//! The Kubernetes engine: clients of API servers made from the access that is stored, and one engine per cluster while this
//! process decides. All in memory: a new leader sees all of it again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gantry_host::{Host, reach};
use gantry_kernel::{AppId, InstanceId, Name, OrgId, Uuid};
use gantry_kubernetes::{Access, Client, Engine, Options, Trouble};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::cluster_health::{self, Health};
use crate::config;
use crate::domain::cluster::{ClusterSettings, Drift, node_name, observed};
use crate::domain::engine::Report;
use crate::store::Cluster;

/// A client; nothing is connected yet. `private`: may it be at a private address?
///
/// # Errors
/// When the access cannot be used, or leads where it may not.
pub async fn client(host: &Host, settings: &config::Kubernetes, access: Access, private: bool) -> Result<Client, Trouble> {
    let private = private || settings.private_addresses;
    let unusable = |e: reach::ReachError| Trouble::Access(e.to_string());
    let url = reqwest::Url::parse(&access.server).map_err(|_| Trouble::Access(format!("`{}` is no address", access.server)))?;
    reach::check_url(&url, private).map_err(unusable)?;
    let mut options = Options::new(host.env.clone());
    options.plugins.clone_from(&settings.plugins);
    if access.tls_server_name.is_some() {
        options.addresses = reach::resolve(url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(443), private).await.map_err(unusable)?;
    } else {
        options.resolver = Some(Arc::new(reach::Guarded { private }));
    }
    Client::new(access, options)
}

/// One cluster that is looked after.
#[derive(Clone)]
pub struct Running {
    pub id: Uuid,
    /// [`Cluster::scope`]
    pub scope: String,
    pub org: Option<OrgId>,
    pub settings: ClusterSettings,
    /// It is taken for lost: nothing that it last showed counts.
    pub lost: bool,
    pub health: Health,
    pub engine: Engine,
    /// The sealed access that it was made with.
    access: String,
    cancel: CancellationToken,
}

impl Running {
    /// When it is not looked after any more.
    pub fn ended(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// What it shows is what is there now.
    pub fn is_seen(&self) -> bool {
        let connection = self.engine.connection();
        !self.lost && connection.synced && connection.found.is_some() && self.health.pulse().trouble().is_none()
    }
}

/// A service's id among reports, and the workload behind it.
pub type Serving = Vec<(String, Name)>;

#[derive(Default)]
struct Inner {
    running: BTreeMap<String, Running>,
    /// What each application serves, by cluster.
    serving: BTreeMap<AppId, BTreeMap<String, Serving>>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Clusters {
    inner: Arc<Mutex<Inner>>,
    changed: Arc<watch::Sender<u64>>,
}

impl Default for Clusters {
    fn default() -> Self {
        Self { inner: Arc::default(), changed: Arc::new(watch::channel(0).0) }
    }
}

impl Clusters {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves when something on a cluster has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub fn get(&self, cluster: &str) -> Option<Running> {
        self.lock().running.get(cluster).cloned()
    }

    pub fn all(&self) -> Vec<(String, Running)> {
        self.lock().running.iter().map(|(name, one)| (name.clone(), one.clone())).collect()
    }

    /// Is it running with this very access?
    pub fn is_current(&self, row: &Cluster) -> bool {
        self.lock().running.get(&row.name).is_some_and(|one| one.id == row.id && one.scope == row.scope.to_string() && one.access == row.access.0)
    }

    /// Starts to look after it, instead of with an older access if there was one.
    pub fn start(&self, host: &Host, row: &Cluster, settings: ClusterSettings, client: Client) {
        let cancel = host.cancel.child_token();
        let scope = row.scope.to_string();
        let engine = Engine::start(client, scope.clone(), settings.drift == Drift::Correct, &cancel, &host.tracker);
        let (mut moves, changed, ended) = (engine.changes(), self.changed.clone(), cancel.clone());
        host.tracker.spawn(async move {
            loop {
                tokio::select! {
                    () = ended.cancelled() => return,
                    moved = moves.changed() => if moved.is_err() { return },
                }
                changed.send_modify(|n| *n += 1);
            }
        });
        let (health, own, name) = (Health::default(), self.clone(), row.name.clone());
        let grace = move || own.get(&name).map_or(Duration::from_secs(60), |one| Duration::from_secs(one.settings.grace_seconds.into()));
        let changed = self.changed.clone();
        let moved = move || changed.send_modify(|n| *n += 1);
        host.tracker.spawn(cluster_health::follow(engine.client().clone(), host.env.clone(), health.clone(), grace, moved, cancel.clone()));
        let one = Running { id: row.id, scope, org: row.org, settings, lost: row.lost.is_some(), health, engine, access: row.access.0.clone(), cancel };
        if let Some(before) = self.lock().running.insert(row.name.clone(), one) {
            before.cancel.cancel();
        }
    }

    pub fn set(&self, cluster: &str, settings: ClusterSettings, lost: bool) {
        if let Some(one) = self.lock().running.get_mut(cluster) {
            one.engine.correct(settings.drift == Drift::Correct);
            (one.settings, one.lost) = (settings, lost);
        }
    }

    pub fn stop(&self, cluster: &str) {
        if let Some(one) = self.lock().running.remove(cluster) {
            one.cancel.cancel();
        }
    }

    pub fn stop_all(&self) {
        let mut inner = self.lock();
        std::mem::take(&mut inner.running).into_values().for_each(|one| one.cancel.cancel());
        inner.serving.clear();
    }

    /// An application is on a cluster, and serves this.
    pub fn serves(&self, app: AppId, cluster: &str, serving: Serving) {
        self.lock().serving.entry(app).or_default().insert(cluster.to_owned(), serving);
    }

    /// It is on none but these.
    pub fn is_only_on(&self, app: AppId, clusters: &BTreeSet<&str>) {
        if let Some(on) = self.lock().serving.get_mut(&app) {
            on.retain(|name, _| clusters.contains(name.as_str()));
        }
    }

    pub fn left(&self, app: AppId) {
        self.lock().serving.remove(&app);
    }

    pub fn has(&self, app: AppId) -> bool {
        self.lock().serving.contains_key(&app)
    }

    /// The clusters that an application is on.
    pub fn of(&self, app: AppId) -> Vec<(String, Running)> {
        let inner = self.lock();
        let names = inner.serving.get(&app).into_iter().flat_map(|on| on.keys());
        names.filter_map(|name| Some((name.clone(), inner.running.get(name)?.clone()))).collect()
    }

    /// Adds what clusters show to what nodes have reported: their pods as instances, by node; ready ones are in rotation.
    pub fn report(&self, all: &mut BTreeMap<Name, Arc<Report>>) {
        let inner = self.lock();
        let mut ready: BTreeMap<(AppId, String), Vec<InstanceId>> = BTreeMap::new();
        for (name, one) in inner.running.iter().filter(|(_, one)| !one.lost) {
            one.engine.each_pod(|pod| {
                let (Ok(id), Some(node)) = (pod.uid.parse::<InstanceId>(), node_name(name, &pod.node)) else { return };
                if pod.node.is_empty() {
                    return;
                }
                if let Some(app) = pod.owner.parse::<AppId>().ok().filter(|_| pod.ready) {
                    ready.entry((app, pod.workload.clone())).or_default().push(id);
                }
                Arc::make_mut(all.entry(node).or_default()).instances.insert(id, observed(pod));
            });
        }
        // Each balances its own; whoever is ready on one of them is in rotation, also where several are one service's.
        for name in inner.running.iter().filter(|(_, one)| !one.lost).map(|(name, _)| name) {
            let Ok(balancer) = Name::parse(name) else { continue };
            let rotation = &mut Arc::make_mut(all.entry(balancer).or_default()).rotation;
            for (app, serving) in inner.serving.iter().filter_map(|(app, on)| Some((app, on.get(name)?))) {
                for (service, workload) in serving {
                    let of = ready.get(&(*app, workload.to_string()));
                    rotation.insert(service.clone(), of.into_iter().flatten().copied().collect());
                }
            }
        }
    }
}
