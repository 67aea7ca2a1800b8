//! The containerd engine: what its agents reported last and what they were told last. All in memory: an agent says all of
//! it again when it comes back, and only transitions are worth an event.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gantry_contract::proto::scheduler as proto;
use gantry_kernel::{AppId, Env, InstanceId, Name};
use tokio::sync::{mpsc, watch};
use tonic::Status;

use super::agents_words;
use super::awake::Awake;
use super::carried::{Carried, Frozen};
use crate::domain::engine::{Facts, PodRoute, Report, WantedNode};
use crate::domain::made::Made;

/// Messages that wait for a slow agent; each holds the whole state, so an old one may be dropped.
pub const WAITING: usize = 4;

pub type Outbox = mpsc::Sender<Result<proto::ControlMessage, Status>>;

struct Attached {
    session: u64,
    facts: Arc<Facts>,
    report: Option<Arc<Report>>,
    /// By [`Awake`].
    heard: Duration,
    outbox: Option<Outbox>,
    /// Reports of generations up to this one are from before this session: an agent that just started may not know yet
    /// what it has, and its silence about an instance must not be taken for the instance's end.
    since: u64,
    generation: u64,
    /// What was sent last, without generation and credentials.
    sent: Option<proto::WantedState>,
    /// What that was made of, if it is known.
    made: Option<Made>,
    /// The ways to all nodes' pods, of which those to the others' were sent last.
    routes: Arc<Vec<PodRoute>>,
    /// How many applications' credentials were sent, and until when they do.
    credentials: usize,
    credentials_until: i64,
    /// Which images it was told to fetch ahead, and until when what it was given for them does.
    ahead: BTreeSet<String>,
    ahead_until: i64,
    /// Since which generation the node knows that the instance shall run (false) or stop (true).
    told: Arc<BTreeMap<InstanceId, (bool, u64)>>,
}

impl Attached {
    /// Does what the node was given for its images still do?
    fn credentials_hold(&self, credentials: &BTreeMap<AppId, proto::ImageCredential>, now: i64) -> bool {
        credentials.len() == self.credentials && (credentials.is_empty() || now < self.credentials_until)
    }
}

/// A node as the engine knows it now. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeView {
    pub facts: Arc<Facts>,
    /// `None`: it has attached, but not yet reported on what it was told since.
    pub report: Option<Arc<Report>>,
    pub silent_for: Duration,
    pub told: Arc<BTreeMap<InstanceId, (bool, u64)>>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Agents {
    nodes: Arc<Mutex<BTreeMap<Name, Attached>>>,
    changed: Arc<watch::Sender<u64>>,
    awake: Arc<Awake>,
    env: Env,
}

impl Agents {
    pub fn new(env: Env) -> Self {
        Self { nodes: Arc::default(), changed: Arc::new(watch::channel(0).0), awake: Arc::new(Awake::new(Instant::now())), env }
    }

    /// How long this process has been able to hear nodes.
    pub fn awake(&self) -> Duration {
        self.awake.at(Instant::now())
    }

    /// Moves when a node attaches or reports something new.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Attached>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bump(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// A node's agent is there. An older session of the same node is over.
    pub fn attach(&self, node: Name, facts: Facts, outbox: Outbox) -> u64 {
        let (now, heard) = (self.env.now(), self.awake());
        let mut nodes = self.lock();
        let before = nodes.remove(&node);
        let session = before.as_ref().map_or(1, |b| b.session + 1);
        // Later than any generation of an earlier life of this process, whose numbers the agent may still hold.
        let generation = u64::try_from(now.unix_timestamp_nanos() / 1_000).unwrap_or(0);
        nodes.insert(
            node,
            Attached {
                session,
                facts: Arc::new(facts),
                report: None,
                heard,
                outbox: Some(outbox),
                since: generation,
                generation,
                sent: None,
                made: None,
                routes: Arc::default(),
                credentials: 0,
                credentials_until: 0,
                ahead: BTreeSet::new(),
                ahead_until: 0,
                told: Arc::default(),
            },
        );
        drop(nodes);
        self.bump();
        session
    }

    /// False if the session is over.
    pub fn report(&self, node: &Name, session: u64, report: Report) -> bool {
        let mut nodes = self.lock();
        let Some(attached) = nodes.get_mut(node).filter(|a| a.session == session) else { return false };
        attached.heard = self.awake();
        if report.generation <= attached.since {
            return true;
        }
        let news = attached.report.as_ref().is_none_or(|last| !same(last, &report));
        attached.report = Some(Arc::new(report));
        drop(nodes);
        if news {
            self.bump();
        }
        true
    }

    pub fn facts(&self, node: &Name, session: u64, facts: Facts) {
        if let Some(attached) = self.lock().get_mut(node).filter(|a| a.session == session) {
            attached.facts = Arc::new(facts);
        }
        self.bump();
    }

    pub fn detach(&self, node: &Name, session: u64) {
        if let Some(attached) = self.lock().get_mut(node).filter(|a| a.session == session) {
            attached.outbox = None;
        }
        self.bump();
    }

    /// Ends a node's session with what it is told last. If it takes that not now, it hears it when it comes back.
    pub fn dismiss(&self, node: &Name, told: proto::Rejected) {
        let gone = self.lock().remove(node);
        if let Some(outbox) = gone.and_then(|a| a.outbox) {
            let _ = outbox.try_send(Ok(proto::ControlMessage { message: Some(proto::control_message::Message::Rejected(told)) }));
        }
        self.bump();
    }

    /// Ends all sessions: this process is not the one that decides any more.
    pub fn detach_all(&self) {
        self.lock().clear();
        self.bump();
    }

    pub fn snapshot(&self) -> BTreeMap<Name, NodeView> {
        let now = self.awake();
        let view = |a: &Attached| NodeView { facts: a.facts.clone(), report: a.report.clone(), silent_for: now.saturating_sub(a.heard), told: a.told.clone() };
        self.lock().iter().map(|(name, a)| (name.clone(), view(a))).collect()
    }

    /// `None`: it is not attached to this process, or was sent away.
    pub fn silent_for(&self, node: &Name) -> Option<Duration> {
        let now = self.awake();
        self.lock().get(node).map(|a| now.saturating_sub(a.heard))
    }

    /// How long until the next of those that were heard lately has been silent for `timeout`, if nothing more is heard from it.
    pub fn until_silent(&self, timeout: Duration) -> Option<Duration> {
        let now = self.awake();
        let left = |a: &Attached| timeout.checked_sub(now.saturating_sub(a.heard));
        self.lock().values().filter_map(left).min()
    }

    /// Confirms what was heard. Not waited for: if the node takes nothing now, the next one is as good.
    pub fn confirm(&self, node: &Name, session: u64, lease: proto::Lease) {
        let outbox = self.lock().get(node).filter(|a| a.session == session).and_then(|a| a.outbox.clone());
        if let Some(outbox) = outbox {
            let _ = outbox.try_send(Ok(proto::ControlMessage { message: Some(proto::control_message::Message::Lease(lease)) }));
        }
    }

    /// Says something to a node that is no state. False if it is not there, or does not take it within `limit`.
    pub async fn tell(&self, node: &Name, message: proto::control_message::Message, limit: Duration) -> bool {
        let Some(outbox) = self.lock().get(node).and_then(|a| a.outbox.clone()) else { return false };
        outbox.send_timeout(Ok(proto::ControlMessage { message: Some(message) }), limit).await.is_ok()
    }

    /// The nodes that can be told something now.
    pub fn attached(&self) -> Vec<Name> {
        self.lock().iter().filter(|(_, a)| a.outbox.is_some()).map(|(name, _)| name.clone()).collect()
    }

    /// Tells a node the ways to the pods of the others, if they are not the ones it knows. `all`: with its own, shared by all nodes.
    pub fn route(&self, node: &Name, all: &Arc<Vec<PodRoute>>) {
        let mut nodes = self.lock();
        let Some(attached) = nodes.get_mut(node).filter(|a| !Arc::ptr_eq(&a.routes, all)) else { return };
        let others = || all.iter().filter(|r| r.node != *node);
        if others().eq(attached.routes.iter().filter(|r| r.node != *node)) {
            attached.routes = Arc::clone(all);
            return;
        }
        let Some(outbox) = &attached.outbox else { return };
        let routes: Vec<PodRoute> = others().cloned().collect();
        let message = proto::ControlMessage { message: Some(proto::control_message::Message::Routes(agents_words::routes(&routes))) };
        // A node that takes nothing now is told at the next round.
        if outbox.try_send(Ok(message)).is_ok() {
            attached.routes = Arc::clone(all);
        }
    }

    /// Whether a node was told already what is made of this, and can get the images of it.
    pub fn is_told(&self, node: &Name, made: &Made, credentials: &BTreeMap<AppId, proto::ImageCredential>) -> bool {
        let now = self.env.now().unix_timestamp();
        self.lock().get(node).is_some_and(|a| a.made.as_ref() == Some(made) && a.credentials_hold(credentials, now))
    }

    /// Tells a node all it shall have, if that is anything new; what it has of `frozen` applications stays as it was told.
    pub fn apply(&self, node: &Name, wanted: &WantedNode, credentials: &BTreeMap<AppId, proto::ImageCredential>, frozen: &Frozen) {
        let now = self.env.now().unix_timestamp();
        let mut plain = agents_words::wanted(wanted, &BTreeMap::new());
        let mut nodes = self.lock();
        let Some(attached) = nodes.get_mut(node) else { return };
        let Some(outbox) = &attached.outbox else { return };
        let Some(carried) = Carried::of(attached.sent.as_ref(), node, frozen) else { return };
        carried.add_to(&mut plain);
        if attached.sent.as_ref() == Some(&plain) && attached.credentials_hold(credentials, now) {
            attached.made.clone_from(&wanted.made);
            return;
        }
        let mut full = agents_words::wanted(wanted, credentials);
        carried.add_to(&mut full);
        full.generation = attached.generation + 1;
        let message = proto::ControlMessage { message: Some(proto::control_message::Message::Wanted(full)) };
        match outbox.try_send(Ok(message)) {
            Ok(()) => {
                attached.generation += 1;
                let generation = attached.generation;
                let before = std::mem::take(&mut attached.told);
                let news = wanted
                    .instances
                    .iter()
                    .map(|i| (i.id, before.get(&i.id).copied().filter(|(stopping, _)| *stopping == i.stopping).unwrap_or((i.stopping, generation))));
                let as_before = carried.ids().filter_map(|id| Some((id, *before.get(&id)?)));
                attached.told = Arc::new(news.chain(as_before).collect());
                attached.sent = Some(plain);
                attached.made.clone_from(&wanted.made);
                attached.credentials = credentials.len();
                let earliest = credentials.values().map(|c| c.expires_at_unix).min().unwrap_or(now);
                // Renewed in good time: an image may take long to come.
                attached.credentials_until = now + (earliest - now) / 2;
            }
            // It will be told at the next round: the state is whole each time.
            Err(mpsc::error::TrySendError::Full(_)) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => attached.outbox = None,
        }
    }
}

impl Agents {
    /// Tells a node which images to fetch before an instance needs them, if that is anything new: all of them, with what it needs to
    /// get those of our registry.
    pub fn ahead(&self, node: &Name, images: &BTreeMap<String, Option<proto::ImageCredential>>) {
        let now = self.env.now().unix_timestamp();
        let mut nodes = self.lock();
        let Some(attached) = nodes.get_mut(node) else { return };
        let Some(outbox) = &attached.outbox else { return };
        let same = attached.ahead.len() == images.len() && images.keys().all(|i| attached.ahead.contains(i));
        if same && (images.is_empty() || now < attached.ahead_until) {
            return;
        }
        let all = images.iter().map(|(image, credential)| proto::WantedImage { image: image.clone(), credential: credential.clone() });
        let message = proto::control_message::Message::Prepull(proto::Prepull { images: all.collect() });
        // Told at the next round if it takes nothing now.
        if outbox.try_send(Ok(proto::ControlMessage { message: Some(message) })).is_ok() {
            attached.ahead = images.keys().cloned().collect();
            let earliest = images.values().flatten().map(|c| c.expires_at_unix).min();
            attached.ahead_until = earliest.map_or(i64::MAX, |at| now + (at - now) / 2);
        }
    }
}

fn same(a: &Report, b: &Report) -> bool {
    a.generation == b.generation
        && a.instances == b.instances
        && a.rotation == b.rotation
        && a.waiting == b.waiting
        && a.draining == b.draining
        && a.images == b.images
        && a.signs == b.signs
}
