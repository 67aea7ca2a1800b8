//! The loop: what decisions depend on is watched, decisions are made as fast as they come, and many are written at a time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use gantry_kernel::Env;
use gantry_kubernetes::{Client, Kind, NAMESPACE, NODE, POD, Seen, Sink, Trouble, follow};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::desk::{Decision, Desk, place_of};
use crate::lease::{Lease, RENEW};
use crate::report::Reports;
use crate::storage::At;
use crate::write::Writer;

/// Writes at a time.
const AT_ONCE: usize = 64;
/// Those that found no place are looked at again so often even if nothing is seen to have moved.
const AGAIN: Duration = Duration::from_secs(30);

const fn kind(group: &'static str, kind: &'static str, plural: &'static str, namespaced: bool) -> Kind {
    Kind { group, version: "v1", kind, plural, namespaced, optional: false }
}

pub static CLAIM: Kind = kind("", "PersistentVolumeClaim", "persistentvolumeclaims", true);
pub static VOLUME: Kind = kind("", "PersistentVolume", "persistentvolumes", false);
static CLASS: Kind = kind("storage.k8s.io", "StorageClass", "storageclasses", false);
static LIMIT: Kind = kind("storage.k8s.io", "CSINode", "csinodes", false);
static BUDGET: Kind = kind("policy", "PodDisruptionBudget", "poddisruptionbudgets", true);
static SPACE: Kind = NAMESPACE;

/// What has to be known before a pod is.
static BEFORE: [&Kind; 7] = [&NODE, &CLAIM, &VOLUME, &CLASS, &LIMIT, &BUDGET, &SPACE];

pub struct Options {
    /// `spec.schedulerName` of the pods that are its own.
    pub scheduler: String,
    /// Of the Lease.
    pub namespace: String,
    pub env: Env,
}

pub struct Shared {
    desk: Mutex<Desk>,
    wake: Notify,
    /// Plurals of the kinds that have been listed, or may not be.
    listed: watch::Sender<BTreeSet<&'static str>>,
    /// Moves when a volume or a claim does.
    moved: watch::Sender<u64>,
}

impl Shared {
    fn new(scheduler: &str) -> Self {
        Self { desk: Mutex::new(Desk::new(scheduler)), wake: Notify::new(), listed: watch::channel(BTreeSet::new()).0, moved: watch::channel(0).0 }
    }

    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop looks again.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    pub fn moved(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    fn known(&self, kind: &Kind) {
        self.listed.send_if_modified(|listed| listed.insert(kind.plural));
    }
}

impl Desk {
    fn there(&mut self, kind: &Kind, object: &Value) {
        match kind.plural {
            "nodes" => self.node(object),
            "pods" => self.pod(object),
            "persistentvolumeclaims" => self.claim(object),
            "persistentvolumes" => self.volume(object),
            "storageclasses" => self.class(object),
            "csinodes" => self.limit(object),
            "poddisruptionbudgets" => self.budget(object),
            _ => self.namespace(object),
        }
    }

    fn gone(&mut self, kind: &Kind, at: &At) {
        match kind.plural {
            "nodes" => self.node_gone(&at.1),
            "pods" => self.pod_gone(at),
            "persistentvolumeclaims" => self.claim_gone(at),
            "persistentvolumes" => self.volume_gone(&at.1),
            "storageclasses" => self.class_gone(&at.1),
            "csinodes" => self.limit_gone(&at.1),
            "poddisruptionbudgets" => self.budget_gone(at),
            _ => self.namespace_gone(&at.1),
        }
    }

    fn all(&mut self, kind: &Kind, objects: &[Value]) {
        match kind.plural {
            "nodes" => self.all_nodes(objects),
            "pods" => self.all_pods(objects),
            _ => {
                self.others(kind.plural, objects).iter().for_each(|at| self.gone(kind, at));
                objects.iter().for_each(|object| self.there(kind, object));
            }
        }
    }
}

impl Sink for Shared {
    fn asked(&self, kind: &Kind) {
        if *kind == CLAIM {
            self.desk().claims_asked();
        }
    }

    fn see(&self, kind: &Kind, seen: Seen) {
        let mut desk = self.desk();
        match seen {
            Seen::All(all) => desk.all(kind, &all),
            Seen::There(object) => desk.there(kind, &object),
            Seen::Gone(object) => desk.gone(kind, &place_of(&object)),
        }
        drop(desk);
        self.known(kind);
        if *kind == CLAIM || *kind == VOLUME {
            self.moved.send_modify(|n| *n += 1);
        }
        self.wake();
    }

    fn trouble(&self, kind: &Kind, trouble: Option<&Trouble>) {
        let Some(trouble) = trouble else { return };
        tracing::warn!(kind = kind.plural, error = %trouble, "a kind cannot be watched now and will be tried again");
        // An account with fewer rights binds what needs no more; nodes and pods are needed.
        if matches!(trouble, Trouble::Forbidden(_) | Trouble::NotFound(_)) && *kind != NODE && *kind != POD {
            self.known(kind);
        }
    }
}

/// Works until cancelled, whenever it holds the lease.
pub async fn run(client: Client, options: Options, cancel: CancellationToken) {
    let identity = format!("gantry-{}", options.env.uuid());
    let mut lease = Lease::new(client.clone(), options.env.clone(), options.namespace.clone(), options.scheduler.clone(), identity.clone());
    while !cancel.is_cancelled() {
        if !lease.hold().await {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(RENEW / 2) => {}
            }
            continue;
        }
        tracing::info!(scheduler = options.scheduler, "this scheduler binds pods");
        lead(&client, &options, &identity, &mut lease, &cancel).await;
        tracing::info!(scheduler = options.scheduler, "this scheduler binds no pods any more");
    }
    lease.give_back().await;
}

/// With a picture of its own: what an earlier lead knew is old. Everything that it has begun ends with it.
async fn lead(client: &Client, options: &Options, identity: &str, lease: &mut Lease, cancel: &CancellationToken) {
    let shared = Arc::new(Shared::new(&options.scheduler));
    let over = cancel.child_token();
    let (reports, _writers) = Reports::start(client, &options.env, &options.scheduler, identity);
    let mut watches = JoinSet::new();
    let mut watch = |kind: &'static Kind| {
        let (client, shared, over) = (client.clone(), shared.clone(), over.clone());
        watches.spawn(async move { follow(client, kind, String::new(), &*shared, over).await });
    };
    BEFORE.into_iter().for_each(&mut watch);
    let writer = Writer { client: client.clone(), shared: shared.clone(), reports, env: options.env.clone() };
    let work = async {
        let mut listed = shared.listed.subscribe();
        // Whoever holds the sender is here.
        let _ = listed.wait_for(|l| BEFORE.iter().all(|kind| l.contains(kind.plural))).await;
        watch(&POD);
        let _ = listed.wait_for(|l| l.contains(POD.plural)).await;
        decide(&shared, &writer).await;
    };
    let keep = async {
        loop {
            tokio::time::sleep(RENEW).await;
            if !lease.hold().await {
                return;
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = keep => {}
        () = cancel.cancelled() => {}
    }
    over.cancel();
}

/// For ever. A slow answer holds up nobody else.
async fn decide(shared: &Shared, writer: &Writer) {
    let mut under_way = FuturesUnordered::new();
    // Volumes take minutes to be made: these have no place among the others.
    let mut with_volumes = JoinSet::new();
    let mut again = Instant::now() + AGAIN;
    loop {
        let now = Instant::now();
        if now >= again {
            shared.desk().again();
            again = now + AGAIN;
        }
        let decisions = shared.desk().decide(AT_ONCE - under_way.len(), now);
        for decision in decisions {
            if matches!(&decision, Decision::Bind { volumes, .. } if !volumes.is_empty()) {
                let writer = writer.clone();
                with_volumes.spawn(async move { writer.carry_out(decision).await });
            } else {
                under_way.push(writer.carry_out(decision));
            }
        }
        let until = shared.desk().next().map_or(again, |rested| rested.min(again));
        tokio::select! {
            Some(()) = under_way.next(), if !under_way.is_empty() => {}
            Some(_) = with_volumes.join_next(), if !with_volumes.is_empty() => {}
            () = shared.wake.notified(), if under_way.len() < AT_ONCE => {}
            () = tokio::time::sleep_until(until.into()) => {}
        }
    }
}
