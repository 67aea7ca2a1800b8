//! Asks the running containers how they are, each probe on a task of its own, and keeps what they answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_cri::Cri;
use gantry_kernel::InstanceId;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::adapters::probe::ask;
use crate::domain::health::{Health, Probe, Purpose};

/// Until a container is ready for the first time it is asked this often whether it has started and is ready, whatever its period, so that
/// releases are quick. What fails counts once in a period all the same: a slow start has the time that its probes give it.
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
        let mut failed_at: Option<Instant> = None;
        loop {
            if lock(&self.health).due(self.index) && !self.stands_still() {
                let began = Instant::now();
                let answer = ask(&self.cri, &self.container, &self.address, &self.probe.check, self.probe.timeout).await;
                if self.stands_still() {
                    continue;
                }
                let mut health = lock(&self.health);
                let before = (health.ready(), health.alive(), health.started());
                match answer {
                    Err(why) if !counts(failed_at, began, self.probe.period) => health.failed_early(self.index, why),
                    answer => {
                        failed_at = answer.is_err().then_some(began);
                        health.answer(self.index, answer);
                    }
                }
                ready_once |= health.ready();
                if before != (health.ready(), health.alive(), health.started()) {
                    self.changed.notify_one();
                }
            }
            tokio::time::sleep(pause(&self.probe, ready_once)).await;
        }
    }
}

/// Until the next question. Whether it is alive is not asked sooner: nothing waits for the answer.
fn pause(probe: &Probe, ready_once: bool) -> Duration {
    if ready_once || probe.purpose == Purpose::Live { probe.period } else { probe.period.min(EAGER) }
}

/// Whether a failure of now is one more: not within a period of the last that was counted, by when they were asked. Nearly a period is one,
/// since pauses are not kept to the millisecond.
fn counts(last: Option<Instant>, now: Instant, period: Duration) -> bool {
    last.is_none_or(|last| now.saturating_duration_since(last) + EAGER / 2 >= period)
}

fn lock(health: &Mutex<Health>) -> std::sync::MutexGuard<'_, Health> {
    health.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Uuid;

    use super::*;
    use crate::domain::health::Check;

    fn probe(purpose: Purpose, check: Check, period: Duration) -> Probe {
        Probe { purpose, check, period, timeout: Duration::from_secs(3600), initial_delay: Duration::ZERO, failures: 3, successes: 1 }
    }

    #[test]
    fn what_is_slow_to_start_has_the_time_that_its_probes_give_it() {
        let ten = Duration::from_secs(10);
        let of = |purpose| probe(purpose, Check::Tcp { port: 1 }, ten);
        for (purpose, ready_once, expected) in [
            (Purpose::Startup, false, EAGER),
            (Purpose::Ready, false, EAGER),
            (Purpose::Live, false, ten),
            (Purpose::Live, true, ten),
            (Purpose::Ready, true, ten),
        ] {
            assert_eq!(pause(&of(purpose), ready_once), expected, "{purpose:?}");
        }
        // Asked five times a second for half a minute, and dead after three failures: ten seconds apart.
        let (began, mut last, mut counted) = (Instant::now(), None, 0);
        for n in 0..150 {
            let now = began + EAGER * n;
            if counts(last, now, ten) {
                (last, counted) = (Some(now), counted + 1);
            }
        }
        assert_eq!(counted, 3);
        // One that is asked as often as it says counts each time.
        assert!(counts(Some(began), began + Duration::from_millis(100), Duration::from_millis(100)));
        assert!(counts(Some(began), began + ten, ten));
    }

    #[tokio::test]
    async fn an_engine_that_hangs_at_one_containers_command_keeps_no_other_probe_from_its_answer() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("sock");
        // Connections come in, and nobody answers.
        let _deaf = tokio::net::UnixListener::bind(&socket).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (changed, tracker, cancel) = (Arc::new(Notify::new()), TaskTracker::new(), CancellationToken::new());
        let held = watch::Sender::new(BTreeSet::new());
        let mut probing = Probing::new(Cri::lazy(socket), changed.clone(), held.subscribe(), tracker.clone(), cancel.clone());
        let id = |n: u128| InstanceId(Uuid::from_u128(n));
        let period = Duration::from_millis(100);
        let subject = |n: u128, probes| Subject {
            instance: id(n),
            name: String::new(),
            container: n.to_string(),
            address: "127.0.0.1".into(),
            probes,
            ready_before: false,
        };
        let hangs = || probe(Purpose::Ready, Check::Command(vec!["true".into()]), period);
        let mut subjects: Vec<Subject> = (1..=200).map(|n| subject(n, vec![hangs()])).collect();
        subjects.push(subject(1000, vec![probe(Purpose::Ready, Check::Tcp { port }, period)]));
        probing.watch(subjects);
        let ready = |n: u128| probing.health(id(n), "", &n.to_string()).is_some_and(|h| h.ready());
        let answered = async {
            while !ready(1000) {
                changed.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), answered).await.expect("it is answered");
        assert!(!ready(1));
        cancel.cancel();
        tracker.close();
        tokio::time::timeout(Duration::from_secs(30), tracker.wait()).await.expect("nobody is waited for");
    }
}
