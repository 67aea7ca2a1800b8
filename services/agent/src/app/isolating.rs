//! Keeps what instances may send and take in as the network policies have it: a table of the packet filter in each one's network
//! namespace, there before anything runs in it, and exchanged as a whole when the word or what stands around it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use gantry_contract::proto::scheduler as wire;
use gantry_cri::{Cri, CriError};
use gantry_kernel::InstanceId;
use tokio_util::sync::CancellationToken;

use super::keeper::{Shared, chain};
use crate::adapters::guarding;
use crate::adapters::machine::CommandError;
use crate::adapters::processes::Remembered;
use crate::adapters::tables::Tables;
use crate::domain::actual::Pod;
use crate::domain::isolation::{Ground, OPEN, asked_at, table};
use crate::domain::wanted::Wanted;

/// After a failure.
const AGAIN: Duration = Duration::from_secs(2);
/// Tables that are set side by side.
const AT_ONCE: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum IsolationError {
    #[error("the process that holds its network is not known")]
    Runtime(#[from] CriError),
    #[error("its table cannot be set")]
    Table(#[from] CommandError),
    #[error("that it has a table cannot be written down")]
    Note(#[from] std::io::Error),
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Isolating {
    cri: Cri,
    shared: Shared,
    tables: Tables,
    services: Option<Ipv4Addr>,
    resolvers: Arc<Vec<String>>,
    /// By pod.
    held: Arc<Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Held>>>>>,
}

/// What is known of one pod.
#[derive(Default)]
struct Held {
    /// It holds its namespaces.
    process: Option<Remembered>,
    gateway: Option<Ipv4Addr>,
    table: Table,
}

#[derive(Default, PartialEq, Eq)]
enum Table {
    /// What an agent before this one has left.
    #[default]
    Unknown,
    None,
    Set(String),
}

impl Isolating {
    /// `services`: the network of the node's balanced names.
    pub fn new(cri: Cri, shared: Shared, tables: Tables, services: Option<Ipv4Addr>, resolvers: Vec<String>) -> Self {
        Self { cri, shared, tables, services, resolvers: Arc::new(resolvers), held: Arc::default() }
    }

    /// Until cancelled; the tables stay.
    pub async fn run(self, cancel: CancellationToken) {
        let (mut pods, mut wanted, mut layout) = (self.shared.pods.subscribe(), self.shared.wanted.subscribe(), self.shared.layout.subscribe());
        let mut before: BTreeSet<String> = self.tables.all().await.into_iter().collect();
        let (mut told, mut failing) = (false, BTreeSet::new());
        loop {
            wanted.mark_unchanged();
            layout.mark_unchanged();
            let now = pods.borrow_and_update().clone();
            // An empty list may be from before the first look.
            told |= !now.is_empty();
            if told {
                let there: BTreeSet<String> = now.iter().map(|p| p.id.clone()).collect();
                for pod in before.difference(&there) {
                    self.forget(pod).await;
                }
                before = there;
            }
            let failed = tokio::select! {
                () = cancel.cancelled() => return,
                failed = self.round(&now, &mut failing) => failed,
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = pods.changed() => if changed.is_err() { return },
                changed = wanted.changed() => if changed.is_err() { return },
                changed = layout.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(AGAIN), if failed => {}
            }
        }
    }

    /// True if some could not be brought up to date. `failing`: those that could not be before; each is told in the log once.
    async fn round(&self, pods: &[Pod], failing: &mut BTreeSet<String>) -> bool {
        failing.retain(|id| pods.iter().any(|p| p.id == *id));
        let ready: Vec<&Pod> = pods.iter().filter(|p| p.ready).collect();
        for some in ready.chunks(AT_ONCE) {
            let results = join_all(some.iter().map(|pod| self.enclose(pod.instance, &pod.id))).await;
            for (pod, result) in some.iter().zip(results) {
                match result {
                    Ok(()) => drop(failing.remove(&pod.id)),
                    Err(error) => {
                        if failing.insert(pod.id.clone()) {
                            tracing::warn!(instance.id = %pod.instance, error = chain(&error), "what an instance may send and take in is not as its policies have it; it is tried again");
                        }
                    }
                }
            }
        }
        !failing.is_empty()
    }

    /// Brings one pod to what is wanted now. Nothing is done to what is as it shall be, or is not wanted any more.
    ///
    /// # Errors
    /// [`IsolationError`]; what was before stays whole.
    pub async fn enclose(&self, instance: InstanceId, pod: &str) -> Result<(), IsolationError> {
        let cell = self.cell(pod);
        let mut held = cell.lock().await;
        // Read only now: of two that come together the later word counts.
        let Some(wanted) = self.shared.wanted.borrow().clone() else { return Ok(()) };
        let Some(instance) = wanted.instances.get(&instance) else { return Ok(()) };
        match wanted.isolations.get(&instance.isolation) {
            Some(isolation) => self.close(pod, isolation, &wanted, &mut held).await,
            None => self.open(pod, &mut held).await,
        }
    }

    async fn close(&self, pod: &str, isolation: &wire::Isolation, wanted: &Wanted, held: &mut Held) -> Result<(), IsolationError> {
        let pid = self.find(pod, held).await?;
        let asked_at = asked_at(&self.shared.layout.borrow(), self.services);
        let ground = Ground {
            gateway: held.gateway,
            nodes: &wanted.nodes,
            guarded: &wanted.guarded,
            services: self.services,
            resolvers: &self.resolvers,
            asked_at: &asked_at,
        };
        let next = Table::Set(table(isolation, &ground));
        if held.table == next {
            return Ok(());
        }
        self.tables.note(pod).await?;
        if let Table::Set(script) = &next {
            guarding::filter(pid, script).await?;
        }
        held.table = next;
        tracing::debug!(pod, isolation = isolation.id, policies = isolation.policies.join(" "), "what an instance may send and take in is set");
        Ok(())
    }

    async fn open(&self, pod: &str, held: &mut Held) -> Result<(), IsolationError> {
        if held.table == Table::Unknown && !self.tables.has(pod).await {
            held.table = Table::None;
        }
        if held.table == Table::None {
            return Ok(());
        }
        let pid = self.find(pod, held).await?;
        guarding::filter(pid, OPEN).await?;
        self.tables.forget(pod).await;
        held.table = Table::None;
        Ok(())
    }

    /// The process that holds the pod's namespaces. A number of one that has ended may be a program's of the node by now, whose network would
    /// be closed.
    async fn find(&self, pod: &str, held: &mut Held) -> Result<u32, CriError> {
        let pid = match held.process.and_then(Remembered::pid) {
            Some(pid) => pid,
            None => {
                let pid = self.cri.pod_pid(pod).await?;
                held.process = Remembered::of(pid);
                pid
            }
        };
        if held.gateway.is_none() {
            held.gateway = guarding::gateway(pid).await;
        }
        Ok(pid)
    }

    fn cell(&self, pod: &str) -> Arc<tokio::sync::Mutex<Held>> {
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(pod.to_owned()).or_default().clone()
    }

    /// Its table has gone with its namespace.
    async fn forget(&self, pod: &str) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(pod);
        self.tables.forget(pod).await;
    }
}
