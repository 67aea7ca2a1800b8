//! The record of what was done to the container engine: written down on the node first, then told to the audit trail, where it is searched
//! like every other record (`kind=engine.*`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_bus::{Bus, BusError, streams};
use gantry_contract::audit::AuditFact;
use gantry_kernel::Env;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::keeper::chain;
use crate::adapters::journal::Journal;
use crate::domain::acts::Act;

/// Deeds that wait for the disk. There is one step of an instance at a time.
const WAITING: usize = 4096;
/// Of deeds that come together, so many are written at once.
const TOGETHER: usize = 256;
const RETRY: Duration = Duration::from_secs(5);

/// Where deeds are told. Cheap to clone.
#[derive(Clone)]
pub struct Acts {
    sender: mpsc::Sender<Act>,
    receiver: Arc<Mutex<Option<mpsc::Receiver<Act>>>>,
    lost: Arc<AtomicU64>,
}

impl Acts {
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self { sender, receiver: Arc::new(Mutex::new(Some(receiver))), lost: Arc::default() }
    }

    /// Waits for nobody: the record must not hold up what keeps containers right.
    pub fn record(&self, act: Act) {
        if self.sender.try_send(act).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// For the one who writes them down; nothing the second time.
    pub fn take(&self) -> Option<mpsc::Receiver<Act>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

impl Default for Acts {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes deeds down until cancelled.
pub struct Keeping {
    pub acts: Acts,
    pub journal: Journal,
    pub node: String,
    pub env: Env,
    /// Told when something was written.
    pub written: Arc<Notify>,
}

impl Keeping {
    pub async fn run(self, cancel: CancellationToken) {
        let Some(mut acts) = self.acts.take() else { return };
        let (mut together, mut facts, mut failing) = (Vec::new(), Vec::<AuditFact>::new(), false);
        loop {
            let again = async {
                if failing {
                    tokio::time::sleep(RETRY).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                biased;
                count = acts.recv_many(&mut together, TOGETHER) => if count == 0 { return },
                () = cancel.cancelled() => return,
                () = again => {}
            }
            // What a full disk has not taken waits in memory, within bounds.
            let room = WAITING.saturating_sub(facts.len());
            let lost = self.acts.lost() + together.len().saturating_sub(room) as u64;
            facts.extend(together.drain(..).take(room).map(|act| self.fact(act)));
            if lost > 0 {
                tracing::error!(count = lost, "more was done to the engine than could be written down");
            }
            match self.journal.append(&facts).await {
                Ok(()) => {
                    facts.clear();
                    failing = false;
                    self.written.notify_one();
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(%error, "what was done to the engine cannot be written down; it is tried again");
                    }
                }
            }
        }
    }

    fn fact(&self, act: Act) -> AuditFact {
        AuditFact {
            id: self.env.uuid(),
            at: self.env.now(),
            service: "agent".into(),
            actor: "service:agent".into(),
            action: act.kind.into(),
            object: act.object,
            org: act.org,
            result: if act.failure.is_some() { "failed" } else { "ok" }.into(),
            reason: act.failure.unwrap_or_default(),
            from: self.node.clone(),
            trace_id: None,
            before: None,
            after: Some(act.detail),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Untold {
    #[error("the journal of the engine")]
    Journal(#[from] std::io::Error),
    #[error("the audit stream")]
    Bus(#[from] BusError),
}

/// Tells the audit trail what was written down, each once, until cancelled.
pub struct Telling {
    pub journal: Journal,
    pub bus: Bus,
    pub written: Arc<Notify>,
}

impl Telling {
    pub async fn run(self, cancel: CancellationToken) {
        let (mut stream_is_there, mut away) = (false, false);
        loop {
            let told = tokio::select! {
                () = cancel.cancelled() => return,
                told = self.round(stream_is_there) => told,
            };
            stream_is_there = told.is_ok();
            let pause = match told {
                Ok(0) => {
                    away = false;
                    None
                }
                Ok(_) => continue,
                Err(error) => {
                    if !std::mem::replace(&mut away, true) {
                        tracing::warn!(error = %chain(&error), "what was done to the engine waits on disk for the audit stream");
                    }
                    Some(RETRY)
                }
            };
            let later = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => self.written.notified().await,
                }
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                () = later => {}
            }
        }
    }

    /// One part; gives the number of records.
    async fn round(&self, stream_is_there: bool) -> Result<usize, Untold> {
        let (facts, mark) = self.journal.next().await?;
        if !stream_is_there && !facts.is_empty() {
            self.bus.sample_stream(streams::AUDIT).await?;
        }
        for fact in &facts {
            // Told twice after a crash, it is dropped by its id.
            let body = serde_json::to_vec(fact).unwrap_or_default();
            gantry_bus::publish(&self.bus, streams::AUDIT, "agent", fact.id, body).await?;
        }
        if !facts.is_empty() {
            self.journal.taken(mark).await?;
        }
        Ok(facts.len())
    }
}
