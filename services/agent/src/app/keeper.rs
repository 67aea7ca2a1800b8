//! The loop that keeps this machine as wanted: look, balance, plan, act, tell. Woken by a new word from the scheduler, by a
//! probe, by a finished step, by the end of a container's process, and by a timer as the last resort.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use gantry_contract::proto::scheduler as wire;
use gantry_cri::{Cri, CriError, PodStatus};
use gantry_kernel::{Env, InstanceId};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod bounds;
mod contents;
mod evicting;
mod health;
mod letting_go;
mod looking;
mod remembering;
mod stepping;
mod telling;
#[cfg(test)]
mod tests;
mod words;

use self::remembering::{CRASHES_FILE, Crashed};
use super::acts::Acts;
use super::balancer::Balancer;
use super::lease::{self, Lease};
use super::probing::Probing;
use super::steps::fetching::Fetching;
use super::steps::{Done, StepError, Steps};
use crate::adapters::asking::Asking;
use crate::adapters::disk::Disk;
use crate::adapters::executions::Figures;
use crate::adapters::exits::{Exits, Hearing};
use crate::adapters::holder::Holder;
use crate::adapters::machine::Sleep;
use crate::adapters::runtime::{Runtime, TOLD_WITHIN};
use crate::domain::acts::Act;
use crate::domain::actual::Pod;
use crate::domain::balance::Layout;
use crate::domain::plan::{Action, Facts};
use crate::domain::restart::LAST_DELAY_MS;
use crate::domain::routes::Routes;
use crate::domain::status::Memory;
use crate::domain::wanted::Wanted;

/// Looked at least this often, for what nobody tells (a pod removed by hand, HAProxy gone).
const LOOK: Duration = Duration::from_secs(1);
/// The same while the end of a container would not be heard.
const DEAF_LOOK: Duration = Duration::from_millis(250);
/// A container's process has ended, and the runtime is about to say so.
const OVERDUE_LOOK: Duration = Duration::from_millis(50);
/// While requests are being drained the sessions are counted this often.
const DRAIN_LOOK: Duration = Duration::from_millis(100);
/// A machine without pods has nothing that could change by itself.
const IDLE_LOOK: Duration = Duration::from_secs(2);
/// While every end is heard, a look that nothing has asked for takes what the engine had last, no older than this: to list all pods and
/// containers costs the engine and the agent the more, the more there are.
const RELIST: Duration = Duration::from_secs(5);
/// What is finished or told in quick succession is looked at together.
const CALM: Duration = Duration::from_millis(20);
/// A step under way at shutdown gets this long to end by itself; one cut off is taken up by the next agent.
const LAST_STEP: Duration = Duration::from_secs(5);
/// After the agent's start, instances are made after those they depend on for so long; then in any order.
const IN_ORDER_MS: i64 = 120_000;
const READY_FILE: &str = "ready.json";

/// How many words were followed since this agent began, and how many of them are on disk.
#[derive(Clone, Copy, Debug, Default)]
struct Saved {
    followed: u64,
    on_disk: u64,
}

/// What the keeper shares with the control stream, the log shipper and the metrics.
#[derive(Clone)]
pub struct Shared {
    /// The scheduler's word; `None` until there was one.
    pub wanted: watch::Sender<Option<Arc<Wanted>>>,
    /// Steps begin by a word only when it is on disk, so that a restart never falls behind what was begun.
    saved: watch::Sender<Saved>,
    /// What the scheduler is told.
    pub status: watch::Sender<wire::Status>,
    /// Running pods, for metrics and logs.
    pub pods: watch::Sender<Arc<Vec<Pod>>>,
    /// What HAProxy does.
    pub layout: watch::Sender<Layout>,
    /// How long the scheduler takes the node for alive.
    pub lease: watch::Sender<Lease>,
    pub sleep: Sleep,
    /// Images to be fetched before an instance needs them, and how each stands, by name.
    pub prepull: watch::Sender<Vec<wire::WantedImage>>,
    pub images: watch::Sender<BTreeMap<String, wire::ImageStatus>>,
    /// Signs of an intrusion by instance, and instances that are stopped because of them.
    pub signs: watch::Sender<BTreeMap<InstanceId, Vec<wire::Sign>>>,
    pub halted: watch::Sender<BTreeSet<InstanceId>>,
    /// Instances that are being moved: they are left as they are.
    pub held: watch::Sender<BTreeSet<InstanceId>>,
    /// How programs that begin to run are seen.
    pub executions: Arc<Figures>,
    /// The ways to other nodes' pods; `None` until the scheduler has said them.
    pub routes: watch::Sender<Option<Routes>>,
    /// How hard instances are pressed, in percent; of services that are balanced by it.
    pub pressed: watch::Sender<BTreeMap<InstanceId, u8>>,
    /// Why an instance is to be ended for what it has written, by its main container.
    pub excess: watch::Sender<BTreeMap<String, String>>,
    /// Where the host names lead that names for what runs elsewhere stand for.
    pub elsewhere: watch::Sender<BTreeMap<String, IpAddr>>,
    /// Instances that wait long for an image.
    pub fetching: Fetching,
    /// What is done to the engine, for the record.
    pub acts: Acts,
    pub wake: Arc<Notify>,
}

impl Shared {
    pub fn new(wanted: Option<Wanted>) -> Self {
        Self {
            wanted: watch::Sender::new(wanted.map(Arc::new)),
            saved: watch::Sender::new(Saved::default()),
            status: watch::Sender::new(wire::Status::default()),
            pods: watch::Sender::new(Arc::default()),
            layout: watch::Sender::new(Layout::default()),
            lease: watch::Sender::new(Lease::first()),
            sleep: Sleep::new(),
            prepull: watch::Sender::new(Vec::new()),
            images: watch::Sender::new(BTreeMap::new()),
            signs: watch::Sender::new(BTreeMap::new()),
            halted: watch::Sender::new(BTreeSet::new()),
            held: watch::Sender::new(BTreeSet::new()),
            executions: Arc::default(),
            routes: watch::Sender::new(None),
            pressed: watch::Sender::new(BTreeMap::new()),
            excess: watch::Sender::new(BTreeMap::new()),
            elsewhere: watch::Sender::new(BTreeMap::new()),
            fetching: Fetching::default(),
            acts: Acts::new(),
            wake: Arc::default(),
        }
    }

    /// A word is followed, and not on disk yet; gives its number.
    pub fn saving(&self) -> u64 {
        self.saved.send_modify(|saved| saved.followed += 1);
        self.saved.borrow().followed
    }

    /// The word of this number is on disk, and those before it are of no use any more, or nobody tries to write it any more.
    pub fn has_saved(&self, number: u64) {
        self.saved.send_modify(|saved| saved.on_disk = saved.on_disk.max(number));
    }

    /// Until the word that is followed now is on disk; not one that comes later, since they may come faster than the disk takes them. What must
    /// not run twice does not wait longer than the lease lasts: a disk that hangs must not keep it from being stopped, and nothing of it is
    /// started after that.
    pub(crate) async fn until_saved(&self, fenced: bool) {
        let mut told = self.saved.subscribe();
        let word = told.borrow().followed;
        let saved = async {
            // Only fails when nobody saves any more.
            drop(told.wait_for(|saved| saved.on_disk >= word).await);
        };
        tokio::select! {
            () = saved => {}
            () = lease::over(&self.lease, &self.sleep), if fenced => {}
        }
    }

    /// The node is no part of the platform any more: nothing is wanted of it, and it leads to no other node's pods.
    pub fn part(&self) {
        self.wanted.send_replace(Some(Arc::default()));
        self.routes.send_replace(Some(Routes::new()));
    }
}

pub struct Keeper {
    env: Env,
    shared: Shared,
    runtime: Runtime,
    /// The addresses of pods.
    asking: Asking<PodStatus>,
    steps: Steps,
    probing: Probing,
    exits: Exits,
    balancer: Balancer,
    holder: Holder,
    disk: Disk,
    tracker: TaskTracker,
    cancel: CancellationToken,
    memory: BTreeMap<InstanceId, Memory>,
    facts: Facts,
    failures: BTreeMap<InstanceId, u32>,
    /// How often each was ended for what it had written.
    evictions: BTreeMap<InstanceId, u32>,
    /// Containers whose end was counted.
    counted: BTreeSet<String>,
    /// By instance the containers that were last ready, with blanks between them; on disk, for the next agent.
    ready: BTreeMap<InstanceId, String>,
    finished: (mpsc::UnboundedSender<Finished>, mpsc::UnboundedReceiver<Finished>),
    runtime_away: bool,
    /// The engine has said once what there is; before that nothing is known by which requests could be led.
    looked: bool,
    /// The lease is over.
    fencing: bool,
    /// What the engine had, and when it was asked.
    seen: Option<(Vec<Pod>, Instant)>,
    /// The hosts file of each instance as it was last written.
    hosts: BTreeMap<InstanceId, String>,
    /// The word by which an instance's changing files were last brought up to date.
    refreshed: BTreeMap<InstanceId, u64>,
    /// Those that were there when it was last looked whether others have left something, and when that was.
    kept_for: Option<(BTreeSet<InstanceId>, Instant)>,
    /// The pods that were there when it was last looked whether others have left interfaces.
    connected: Option<BTreeSet<String>>,
    /// Some have left interfaces, which are looked for again then.
    interfaces_again: Option<Instant>,
}

/// After a look.
struct Next {
    /// Until the next one if nothing happens.
    pause: Duration,
    /// It would be a look for what nobody tells: nothing falls due then.
    nothing_due: bool,
}

type Finished = (Action, Result<Done, StepError>);

/// What a keeper is made of.
pub struct Parts {
    pub env: Env,
    pub shared: Shared,
    pub cri: Cri,
    pub steps: Steps,
    pub balancer: Balancer,
    pub disk: Disk,
    pub tracker: TaskTracker,
    pub cancel: CancellationToken,
}

impl Keeper {
    pub async fn new(parts: Parts) -> Self {
        let Parts { env, shared, cri, steps, balancer, disk, tracker, cancel } = parts;
        let probing = Probing::new(cri.clone(), shared.wake.clone(), shared.held.subscribe(), tracker.clone(), cancel.clone());
        let exits = Exits::new(cri.clone(), shared.wake.clone(), tracker.clone(), cancel.clone());
        let holder = Holder::new(shared.layout.subscribe(), shared.wake.clone(), tracker.clone(), cancel.clone());
        let ready = disk.load(READY_FILE).await;
        let Crashed { crashes, counted } = disk.load(CRASHES_FILE).await;
        let now_ms = i64::try_from(env.now().unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        Self {
            runtime: Runtime::new(cri, steps.node.clone()),
            asking: Asking::new(TOLD_WITHIN),
            env,
            shared,
            steps,
            probing,
            exits,
            balancer,
            holder,
            disk,
            tracker,
            cancel,
            ready,
            memory: BTreeMap::new(),
            facts: Facts { order_until_ms: now_ms.saturating_add(IN_ORDER_MS), crashes, ..Facts::default() },
            failures: BTreeMap::new(),
            evictions: BTreeMap::new(),
            counted,
            // Bounded by one step per instance.
            finished: mpsc::unbounded_channel(),
            runtime_away: false,
            looked: false,
            fencing: false,
            seen: None,
            hosts: BTreeMap::new(),
            refreshed: BTreeMap::new(),
            kept_for: None,
            connected: None,
            interfaces_again: None,
        }
    }

    /// Works until cancelled. Containers and HAProxy go on without it.
    pub async fn run(mut self) {
        let cancel = self.cancel.clone();
        let mut wanted = self.shared.wanted.subscribe();
        let mut anew = true;
        loop {
            let began = Instant::now();
            let next = match self.round(anew).await {
                Ok(next) => next,
                Err(error) => {
                    if !std::mem::replace(&mut self.runtime_away, true) {
                        tracing::error!(error = %chain(&error), "the container runtime does not answer; containers go on, but nothing can be changed");
                        self.shared.acts.record(Act::of_node("engine.lost", &self.steps.node, Some(chain(&error))));
                    }
                    self.balance_as_seen().await;
                    Next { pause: Duration::from_secs(1), nothing_due: false }
                }
            };
            anew = true;
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.shared.wake.notified() => {}
                changed = wanted.changed() => if changed.is_err() { return },
                Some(finished) = self.finished.1.recv() => self.take_in(finished),
                () = tokio::time::sleep(next.pause) => anew = !next.nothing_due,
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep_until(began + CALM) => {}
            }
            while let Ok(finished) = self.finished.1.try_recv() {
                self.take_in(finished);
            }
        }
    }

    /// A clock that is set back must not make any pause longer than it is meant to be.
    fn shorten_pauses(&mut self) {
        let longest = self.facts.now_ms.saturating_add(LAST_DELAY_MS);
        self.facts.not_before_ms.values_mut().for_each(|at| *at = (*at).min(longest));
        self.facts.order_until_ms = self.facts.order_until_ms.min(self.facts.now_ms.saturating_add(IN_ORDER_MS));
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.env.now().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
    }

    /// One look and what follows from it; gives how long to wait for the next if nothing happens. `anew`: something has, or may have.
    async fn round(&mut self, anew: bool) -> Result<Next, CriError> {
        let word = self.shared.wanted.borrow().clone();
        let Some(word) = word else {
            self.balancer.give_away_public(&Wanted::default()).await;
            return Ok(Next { pause: LOOK, nothing_due: false });
        };
        let within = self.within_lease(&word);
        self.balancer.give_away_public(&self.without_halted(within)).await;
        let known = self.seen.take().filter(|(_, at)| !anew && at.elapsed() < RELIST);
        let (pods, at) = match known {
            Some(known) => known,
            None => (self.look().await?, Instant::now()),
        };
        // That may have taken long: there may be another word, or the lease may be over.
        let word = self.shared.wanted.borrow().clone().unwrap_or(word);
        let within = self.within_lease(&word);
        let wanted = self.without_halted(within);
        if std::mem::take(&mut self.runtime_away) {
            tracing::info!("the container runtime answers again");
            self.shared.acts.record(Act::of_node("engine.returned", &self.steps.node, None));
        }
        self.facts.now_ms = self.now_ms();
        self.shorten_pauses();
        self.end_fenced(&wanted, &pods);
        self.remember(&wanted, &pods).await;
        self.watch_health(&wanted, &pods);
        self.note_excess(&pods);
        self.let_go_of_interfaces(&pods).await;
        self.balancer.assign(&wanted).await;
        self.begin_new(&wanted, &pods);
        self.balance(&wanted, &pods).await;
        self.facts.in_use = self.balancer.in_use(self.facts.now_ms);
        if self.fencing {
            // Unanswered requests are not waited for.
            self.facts.in_use.retain(|id| !wanted.instances.get(id).is_some_and(|i| i.fenced));
        }
        self.facts.in_use.retain(|id| !self.shared.halted.borrow().contains(id));
        let ready = self.ready.keys().copied();
        // Whoever depends on one asks it where the balancer listens for it.
        let in_order = self.facts.now_ms < self.facts.order_until_ms;
        self.facts.ready = if in_order { self.balancer.served(&wanted, ready) } else { ready.collect() };
        let plan = self.planned(&wanted, &pods);
        for action in plan.actions {
            self.begin(action, &wanted);
        }
        // Steps are under way meanwhile.
        self.update_hosts(&wanted, &pods).await;
        self.update_files(&wanted, &pods).await;
        self.let_go_of_others(&wanted, &pods).await;
        self.tell(&wanted, &pods);
        let pause = match self.exits.watch(pods.iter().filter(|p| p.running()).flat_map(Pod::running_ids)) {
            Hearing::Overdue => OVERDUE_LOOK,
            _ if self.balancer.layout().draining() => DRAIN_LOOK,
            Hearing::Deaf => DEAF_LOOK,
            Hearing::Good if pods.is_empty() => IDLE_LOOK,
            Hearing::Good => LOOK,
        };
        self.seen = Some((pods, at));
        let until = |at: i64| Duration::from_millis(u64::try_from(at - self.facts.now_ms).unwrap_or(0).max(5));
        let due = plan.wake_ms.map(until).filter(|due| *due < pause);
        Ok(Next { pause: due.unwrap_or(pause), nothing_due: due.is_none() && pause >= LOOK })
    }
}

/// The whole chain of causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next.filter(|e| !e.is::<tonic::Status>()) {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}
