//! One cluster, looked after: what is wanted of it by owner, the cache of what is there, and the steps between the two. Woken
//! by what changes on either side; in a steady state it asks and writes nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::sync::watch as channel;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::{Cache, Key};
use crate::client::Client;
use crate::discovery::{self, Found};
use crate::kinds::{KINDS, Kind, POD};
use crate::pod::Pod;
use crate::trouble::Trouble;
use crate::watch;

mod leaving;
mod others;
mod seen;
mod steps;
mod wanted;
mod watched;
mod whole;

pub use wanted::{HASH, KEEP, OPEN_CLASS, SCOPE, Wanted};

/// Owners that are looked after at a time.
const AT_ONCE: usize = 8;
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What a cluster can do is looked at again so often, and when a kind is not there any more, but not at every answer that says so.
const LOOK_AGAIN: Duration = Duration::from_secs(600);
const LOOK_AGAIN_SOON: Duration = Duration::from_secs(15);
/// That an owner is gone is remembered so long for those who wait for it.
const REMEMBERED: Duration = Duration::from_secs(600);

/// A change that somebody else has made to an object of ours.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Drift {
    /// `Deployment/web`
    pub object: String,
    /// `.spec.replicas`; empty: the object as a whole.
    pub fields: Vec<String>,
    /// Who has set fields of it beside us, the latest first.
    pub managers: Vec<String>,
}

/// What is known of one owner.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// All that is wanted is there as wanted.
    pub applied: bool,
    /// Nothing of it is there.
    pub gone: bool,
    /// What is in the way.
    pub problem: Option<String>,
    /// Without somebody doing something it stays so.
    pub lasting: bool,
    pub drift: Vec<Drift>,
    /// What the server has warned of when its objects were applied last by this process: `Deployment/web: <text>`.
    pub warnings: Vec<String>,
}

/// How the cluster is reached now.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// Everything has been seen once.
    pub synced: bool,
    pub problem: Option<String>,
    pub found: Option<Found>,
    pub objects: usize,
    pub pods: usize,
}

/// Cheap to clone. Ends with its token.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    client: Client,
    /// Of this import of the cluster: objects with another label are others'.
    scope: String,
    state: Mutex<State>,
    /// Moves with everything that is seen or done.
    changed: channel::Sender<u64>,
    /// Wakes the worker.
    wake: tokio::sync::Notify,
    /// A kind is not there.
    look: tokio::sync::Notify,
    /// Somebody knows that the cluster can do other things now.
    look_now: tokio::sync::Notify,
}

#[derive(Default)]
struct State {
    cache: Cache,
    wanted: BTreeMap<String, Arc<Wanted>>,
    /// Nothing of these is wanted.
    unwanted: BTreeSet<String>,
    dirty: BTreeSet<String>,
    standing: BTreeMap<String, Standing>,
    /// Kinds that have been listed once.
    listed: BTreeSet<&'static str>,
    watched: usize,
    troubles: BTreeMap<&'static str, String>,
    found: Option<Found>,
    correct: bool,
    /// When to try again, and how long to wait after the next failure.
    again: BTreeMap<String, (Instant, Duration)>,
    /// Differences that stayed after we have applied: the server's way of writing, or another manager's field that we gave up.
    settled: BTreeMap<Key, (String, Vec<String>)>,
    /// What the server has said beside its answer to the last apply of an object.
    warned: BTreeMap<Key, Vec<String>>,
    /// Accounts that others have made and that are used as they are, and when they were seen.
    used: BTreeMap<Key, Instant>,
    /// Objects that were told to go.
    going: BTreeSet<String>,
    /// Owners whose pods have changed, and nobody has asked since.
    moved: BTreeSet<String>,
    /// Owners that are gone, and since when: the oldest first.
    gone: VecDeque<(Instant, String)>,
}

impl Engine {
    /// Watches and works until `cancel`.
    pub fn start(client: Client, scope: String, correct: bool, cancel: &CancellationToken, tracker: &TaskTracker) -> Self {
        let state = Mutex::new(State { correct, ..State::default() });
        let (wake, look, look_now) = Default::default();
        let shared = Arc::new(Shared { client, scope, state, changed: channel::channel(0).0, wake, look, look_now });
        let (own, cancel) = (Self(shared.clone()), cancel.clone());
        let tracked = tracker.clone();
        tracker.spawn(async move {
            let Some(found) = shared.found(&cancel).await else { return };
            let selector = format!("{SCOPE}={}", shared.scope);
            let watch = |kind: &'static Kind, cancel: CancellationToken| {
                let (shared, selector) = (shared.clone(), selector.clone());
                tracked.spawn(async move {
                    let client = shared.client.clone();
                    watch::follow(client, kind, selector, &*shared, cancel).await;
                });
            };
            shared.lock().watched = KINDS.iter().chain([&POD]).filter(|k| !k.optional).count();
            let mut optional = shared.take_in(found, BTreeMap::new(), &cancel, &watch);
            shared.bump();
            KINDS.iter().chain([&POD]).filter(|k| !k.optional).for_each(|kind| watch(kind, cancel.clone()));
            let looking = async {
                loop {
                    tokio::select! {
                        () = tokio::time::sleep(LOOK_AGAIN) => {}
                        () = shared.look.notified() => tokio::time::sleep(LOOK_AGAIN_SOON).await,
                        () = shared.look_now.notified() => {}
                    }
                    // What is in the way the watches tell.
                    if let Ok(found) = discovery::discover(&shared.client).await {
                        optional = shared.take_in(found, std::mem::take(&mut optional), &cancel, &watch);
                        shared.bump();
                    }
                }
            };
            tokio::select! {
                () = shared.work(&cancel) => {}
                () = looking => {}
            }
        });
        own
    }

    /// Moves with everything that is seen or done.
    pub fn changes(&self) -> channel::Receiver<u64> {
        self.0.changed.subscribe()
    }

    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// From now on exactly this shall be there for `owner`.
    pub fn want(&self, owner: &str, wanted: Arc<Wanted>) {
        let mut state = self.0.lock();
        state.unwanted.remove(owner);
        if state.wanted.get(owner).is_some_and(|before| before.hash == wanted.hash) {
            return;
        }
        state.wanted.insert(owner.to_owned(), wanted);
        // Until it has been looked at, nobody knows.
        state.standing.insert(owner.to_owned(), Standing::default());
        state.mark(owner);
        drop(state);
        self.0.wake.notify_one();
    }

    /// Nothing of `owner` shall be there any more.
    pub fn unwant(&self, owner: &str) {
        let mut state = self.0.lock();
        let had = state.wanted.remove(owner).is_some();
        if state.unwanted.insert(owner.to_owned()) || had {
            state.standing.insert(owner.to_owned(), Standing::default());
            state.mark(owner);
            drop(state);
            self.0.wake.notify_one();
        }
    }

    /// What the cluster can do is asked for at once: `found` is what it has answered somebody else just now.
    pub fn look_again(&self, found: &Found) {
        let known = self.0.lock().found.as_ref().is_some_and(|before| before.capabilities != found.capabilities);
        if known {
            self.0.look_now.notify_one();
        }
    }

    /// Whether what others change is put back.
    pub fn correct(&self, correct: bool) {
        let mut state = self.0.lock();
        if std::mem::replace(&mut state.correct, correct) != correct {
            let all: Vec<String> = state.wanted.keys().cloned().collect();
            all.iter().for_each(|owner| state.mark(owner));
            drop(state);
            self.0.wake.notify_one();
        }
    }

    pub fn connection(&self) -> Connection {
        let state = self.0.lock();
        let (objects, pods) = state.cache.len();
        let problem = state.troubles.values().next().cloned();
        Connection { synced: state.synced(), problem, found: state.found.clone(), objects, pods }
    }

    pub fn standing(&self, owner: &str) -> Standing {
        self.0.lock().standing.get(owner).cloned().unwrap_or_default()
    }

    /// Shows all pods of ours. Nothing else of the engine may be asked meanwhile.
    pub fn each_pod(&self, mut show: impl FnMut(&Pod)) {
        self.0.lock().cache.pods().for_each(&mut show);
    }

    /// Those of one owner.
    pub fn each_pod_of(&self, owner: &str, mut show: impl FnMut(&Pod)) {
        self.0.lock().cache.pods_of(owner).for_each(&mut show);
    }

    /// Owners whose pods have changed since this was asked last; for one who asks.
    pub fn moved(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.0.lock().moved)
    }

    /// Is something wanted here for it?
    pub fn wants(&self, owner: &str) -> bool {
        self.0.lock().wanted.contains_key(owner)
    }

    /// Is something wanted here for it, or there?
    pub fn has(&self, owner: &str) -> bool {
        let state = self.0.lock();
        state.wanted.contains_key(owner) || state.cache.of(owner).next().is_some()
    }

    /// Owners that something is there of, and that nobody has said anything about.
    pub fn strays(&self) -> Vec<String> {
        let state = self.0.lock();
        let told = |o: &&String| !state.wanted.contains_key(*o) && !state.unwanted.contains(*o);
        if state.synced() { state.cache.owners().filter(told).cloned().collect() } else { Vec::new() }
    }

    /// One object as it is there.
    pub fn object(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Value> {
        let key = (kind.rank(), namespace.to_owned(), name.to_owned());
        self.0.lock().cache.get(&key).map(|held| held.object.clone())
    }
}

impl State {
    fn synced(&self) -> bool {
        self.watched > 0 && self.listed.len() >= self.watched
    }

    /// What is gone need not be remembered for longer than somebody waits for it.
    fn keep(&mut self, owner: &str, standing: Standing, now: Instant) {
        while self.gone.front().is_some_and(|(since, _)| now.saturating_duration_since(*since) >= REMEMBERED) {
            let Some((_, old)) = self.gone.pop_front() else { break };
            if self.unwanted.contains(&old) && self.standing.get(&old).is_some_and(|s| s.gone) {
                self.unwanted.remove(&old);
                self.standing.remove(&old);
            }
        }
        if !self.wanted.contains_key(owner) && !self.unwanted.contains(owner) {
            self.standing.remove(owner);
            return;
        }
        if standing.gone && self.standing.get(owner).is_none_or(|s| !s.gone) {
            self.gone.push_back((now, owner.to_owned()));
        }
        self.standing.insert(owner.to_owned(), standing);
    }

    /// Something is new: what failed before may work now.
    fn mark(&mut self, owner: &str) {
        self.again.remove(owner);
        self.dirty.insert(owner.to_owned());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bump(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// What the cluster can do: kinds that it has now are watched, those that it has no more are forgotten. `running`: what ends
    /// the watches of optional kinds; so is the answer.
    fn take_in(
        &self,
        found: Found,
        mut running: BTreeMap<&'static str, CancellationToken>,
        cancel: &CancellationToken,
        watch: &impl Fn(&'static Kind, CancellationToken),
    ) -> BTreeMap<&'static str, CancellationToken> {
        let mut begin = Vec::new();
        let mut gone = false;
        let mut state = self.lock();
        for kind in KINDS.iter().filter(|k| k.optional) {
            match (running.remove(kind.plural), found.capabilities.has(kind)) {
                (None, true) => {
                    state.watched += 1;
                    begin.push(kind);
                }
                (Some(ends), false) => {
                    ends.cancel();
                    gone = true;
                    state.watched = state.watched.saturating_sub(1);
                    state.listed.remove(kind.plural);
                    state.troubles.remove(kind.plural);
                    let owners = state.cache.replace(kind.rank(), Vec::new());
                    state.dirty.extend(owners);
                }
                (Some(ends), true) => {
                    running.insert(kind.plural, ends);
                }
                (None, false) => {}
            }
        }
        state.found = Some(found);
        drop(state);
        for kind in begin {
            let ends = cancel.child_token();
            watch(kind, ends.clone());
            running.insert(kind.plural, ends);
        }
        if gone {
            self.wake.notify_one();
        }
        running
    }

    async fn found(&self, cancel: &CancellationToken) -> Option<Found> {
        let mut pause = Duration::from_millis(500);
        loop {
            let asked = tokio::select! {
                asked = discovery::discover(&self.client) => asked,
                () = cancel.cancelled() => return None,
            };
            match asked {
                Ok(found) => {
                    self.lock().troubles.clear();
                    return Some(found);
                }
                Err(trouble) => {
                    tracing::warn!(server = self.client.server(), error = %trouble, "a cluster cannot be used now and will be tried again");
                    self.lock().troubles.insert("", trouble.to_string());
                    self.bump();
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = cancel.cancelled() => return None,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn work(&self, cancel: &CancellationToken) {
        loop {
            let (todo, next) = self.todo();
            if todo.is_empty() {
                let wait = next.map_or(Duration::from_secs(3600), |at| at.saturating_duration_since(Instant::now()));
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep(wait) => {}
                }
                continue;
            }
            let all = stream::iter(todo).for_each_concurrent(AT_ONCE, |owner| async move {
                let done = self.look_after(&owner).await;
                self.record(&owner, done);
            });
            tokio::select! {
                () = cancel.cancelled() => return,
                () = all => {}
            }
            self.bump();
        }
    }

    /// Owners that something is to be looked at for, and when the next one is to be tried again. Nothing before all has been
    /// seen once: what is not known would be taken for missing.
    fn todo(&self) -> (Vec<String>, Option<Instant>) {
        let mut state = self.lock();
        if !state.synced() {
            return (Vec::new(), None);
        }
        let now = Instant::now();
        let due: Vec<String> = state.again.iter().filter(|(_, (at, _))| *at <= now).map(|(owner, _)| owner.clone()).collect();
        state.dirty.extend(due);
        let waiting: BTreeSet<String> = state.again.iter().filter(|(_, (at, _))| *at > now).map(|(owner, _)| owner.clone()).collect();
        let (wait, ready): (BTreeSet<String>, BTreeSet<String>) = std::mem::take(&mut state.dirty).into_iter().partition(|owner| waiting.contains(owner));
        state.dirty = wait;
        let ready = ready.into_iter().collect();
        (ready, state.again.values().map(|(at, _)| *at).filter(|at| *at > now).min())
    }

    fn record(&self, owner: &str, done: Result<Standing, Trouble>) {
        let mut state = self.lock();
        let standing = match done {
            Ok(standing) => {
                state.again.remove(owner);
                standing
            }
            Err(trouble) => {
                let before = state.again.get(owner).map_or(Duration::from_millis(500), |(_, pause)| *pause);
                let pause = if let Trouble::TooMany(after) = &trouble { (*after).max(before) } else { before };
                // What was refused is asked again, too, though seldom: a quota is raised, a webhook comes back.
                let pause = if trouble.passes() { pause } else { pause.max(Duration::from_secs(15)) };
                state.again.insert(owner.to_owned(), (Instant::now() + pause, (pause * 2).min(LONGEST_PAUSE)));
                let told = trouble.to_string();
                // Whose application is deleted asks no more why something of it is still there.
                if state.unwanted.contains(owner) && state.standing.get(owner).is_none_or(|s| s.problem.as_ref() != Some(&told)) {
                    tracing::warn!(
                        server = self.client.server(),
                        owner,
                        error = told,
                        "what is not wanted any more cannot be taken away now and will be tried again"
                    );
                }
                Standing { problem: Some(told), lasting: !trouble.passes(), ..state.standing.get(owner).cloned().unwrap_or_default() }
            }
        };
        state.keep(owner, standing, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_that_are_gone_are_forgotten_in_time() {
        let (mut state, begin) = (State::default(), Instant::now());
        let gone = || Standing { applied: true, gone: true, ..Standing::default() };
        for n in 0..100 {
            state.unwanted.insert(n.to_string());
            state.keep(&n.to_string(), gone(), begin);
        }
        assert!(state.standing["7"].gone, "who waits for it hears of it");
        state.unwanted.insert("last".into());
        state.keep("last", gone(), begin + REMEMBERED);
        assert_eq!((state.unwanted.len(), state.standing.len(), state.gone.len()), (1, 1, 1));
        state.keep("nobody's", gone(), begin);
        assert!(!state.standing.contains_key("nobody's"));
    }
}
