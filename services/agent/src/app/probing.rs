//! Asks the running containers how they are, each probe on a task of its own, and keeps what they answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_cri::Cri;
use gantry_kernel::InstanceId;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::adapters::probe::ask;
use crate::domain::health::{Health, Probe};

/// Until a container is ready for the first time it is asked this often, whatever its period, so that releases are quick.
const EAGER: Duration = Duration::from_millis(200);

/// A running container to be asked.
#[derive(Clone, Debug)]
pub struct Subject {
    pub instance: InstanceId,
    /// Which container of it; the main one if empty.
    pub name: String,
    pub container: String,
    pub address: String,
    pub probes: Vec<Probe>,
    /// It was ready when the agent went down.
    pub ready_before: bool,
}

struct Watched {
    container: String,
    health: Arc<Mutex<Health>>,
    stop: CancellationToken,
}

/// The probes of this node.
pub struct Probing {
    cri: Cri,
    changed: Arc<Notify>,
    tracker: TaskTracker,
    cancel: CancellationToken,
    watched: BTreeMap<(InstanceId, String), Watched>,
    /// Instances that stand still for a moment: that they do not answer says nothing.
    held: watch::Receiver<BTreeSet<InstanceId>>,
}

impl Probing {
    /// `changed` is told whenever an instance becomes ready, unready, or dead.
    pub fn new(cri: Cri, changed: Arc<Notify>, held: watch::Receiver<BTreeSet<InstanceId>>, tracker: TaskTracker, cancel: CancellationToken) -> Self {
        Self { cri, changed, tracker, cancel, watched: BTreeMap::new(), held }
    }

    /// Starts asking those that are new, stops asking those that are not named.
    pub fn watch(&mut self, subjects: Vec<Subject>) {
        let mut before = std::mem::take(&mut self.watched);
        for subject in subjects {
            let key = (subject.instance, subject.name.clone());
            let known = before.remove(&key).filter(|w| w.container == subject.container);
            let watched = match known {
                Some(watched) if lock(&watched.health).probes() == subject.probes => watched,
                Some(other) => {
                    other.stop.cancel();
                    let ready = lock(&other.health).ready();
                    self.start(&subject, ready)
                }
                None => self.start(&subject, subject.ready_before),
            };
            self.watched.insert(key, watched);
        }
        for gone in before.into_values() {
            gone.stop.cancel();
        }
    }

    /// What is known of an instance's container; `None` if it is not the one being asked.
    pub fn health(&self, instance: InstanceId, name: &str, container: &str) -> Option<Health> {
        let watched = self.watched.get(&(instance, name.to_owned())).filter(|w| w.container == container)?;
        Some(lock(&watched.health).clone())
    }

    fn start(&self, subject: &Subject, ready_before: bool) -> Watched {
        let health = Arc::new(Mutex::new(Health::new(subject.probes.clone(), ready_before)));
        let stop = self.cancel.child_token();
        for (index, probe) in subject.probes.iter().cloned().enumerate() {
            let asking = Asking {
                index,
                probe,
                cri: self.cri.clone(),
                container: subject.container.clone(),
                address: subject.address.clone(),
                health: health.clone(),
                changed: self.changed.clone(),
                instance: subject.instance,
                held: self.held.clone(),
            };
            let stop = stop.clone();
            self.tracker.spawn(async move {
                tokio::select! { () = stop.cancelled() => {}, () = asking.run() => {} }
            });
        }
        Watched { container: subject.container.clone(), health, stop }
    }
}

struct Asking {
    index: usize,
    probe: Probe,
    cri: Cri,
    container: String,
    address: String,
    health: Arc<Mutex<Health>>,
    changed: Arc<Notify>,
    instance: InstanceId,
    held: watch::Receiver<BTreeSet<InstanceId>>,
}

impl Asking {
    fn stands_still(&self) -> bool {
        self.held.borrow().contains(&self.instance)
    }

    async fn run(self) {
        tokio::time::sleep(self.probe.initial_delay).await;
        let mut ready_once = false;
        loop {
            if lock(&self.health).due(self.index) && !self.stands_still() {
                let answer = ask(&self.cri, &self.container, &self.address, &self.probe.check, self.probe.timeout).await;
                if self.stands_still() {
                    continue;
                }
                let mut health = lock(&self.health);
                let before = (health.ready(), health.alive(), health.started());
                health.answer(self.index, answer);
                ready_once |= health.ready();
                if before != (health.ready(), health.alive(), health.started()) {
                    self.changed.notify_one();
                }
            }
            let pause = if ready_once { self.probe.period } else { self.probe.period.min(EAGER) };
            tokio::time::sleep(pause).await;
        }
    }
}

fn lock(health: &Mutex<Health>) -> std::sync::MutexGuard<'_, Health> {
    health.lock().unwrap_or_else(PoisonError::into_inner)
}
