//! What is to be decided: the planner's picture of the cluster, and the pods that wait. Without I/O: objects go in, decisions
//! come out.

mod decide;
mod picture;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use gantry_planner::{Cluster, GroupIx, InstanceKey, Node, Selector};
use serde_json::Value;

pub use self::picture::place_of;
use crate::storage::{At, Step, Storage};
use crate::translate::Namespaces;

/// What is to be done about one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Bind {
        pod: At,
        uid: String,
        node: String,
        /// What its volumes need before.
        volumes: Vec<Step>,
    },
    /// These make room; the node is kept for the pod until they are gone. `despite`: disruption budgets forbid it, and nothing else helps.
    Evict { pod: At, uid: String, node: String, victims: Vec<Victim>, reason: String, despite: bool },
    /// It finds no place: why, to be told once. `unnamed`: its status names a node that is not kept for it any more.
    Wait { pod: At, uid: String, generation: i64, reason: String, unnamed: bool },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    pub pod: At,
    pub uid: String,
}

/// What a refused pod waits for the first time, doubled every time up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

struct Known {
    key: InstanceKey,
    /// `Err`: why it can run nowhere.
    group: Result<GroupIx, String>,
    uid: String,
    generation: i64,
    /// Where it is bound; the node may not be known yet.
    node: String,
    priority: i32,
    /// Ours to place, and nothing holds it back.
    waits: bool,
    created: String,
    /// On its way out.
    leaving: bool,
    claims: Vec<At>,
    /// Those that are bound once its node is known.
    open: Vec<At>,
    /// Bound by us, and not seen so yet; with what its volumes needed.
    assumed: Option<Vec<Step>>,
    /// Where room was to be made for it, as its status says.
    nominated: String,
    /// Its status still says so, and it is not so any more.
    misnamed: bool,
    /// Room is being made for it: it is booked on the node, and these have to go first.
    victims: BTreeSet<At>,
    told: String,
    /// How often it was refused, and until when it is left alone.
    tries: u32,
    rests: Option<Instant>,
}

impl Known {
    fn rank(&self) -> i64 {
        -i64::from(self.priority)
    }
}

/// A PodDisruptionBudget.
struct Budget {
    selector: Selector,
    allowed: u32,
}

#[derive(Default)]
pub struct Desk {
    cluster: Cluster,
    nodes: BTreeMap<String, Node>,
    namespaces: Namespaces,
    storage: Storage,
    budgets: BTreeMap<At, Budget>,
    /// How many of each group budgets let go now; those that none speaks of are not here.
    limited: HashMap<GroupIx, u32>,
    scheduler: String,
    pods: HashMap<At, Known>,
    by_key: HashMap<u128, At>,
    /// Pods whose rules or volumes depend on more than themselves, as they were seen last.
    depend: BTreeMap<At, Value>,
    /// The pods of each claim.
    users: HashMap<At, BTreeSet<At>>,
    /// To be looked at, the highest priority and the oldest first.
    queue: BTreeSet<(i64, String, At)>,
    /// Found no place at the last look.
    stuck: BTreeSet<At>,
    resting: BTreeSet<(Instant, At)>,
    /// Those that room is being made for.
    awaiting: BTreeSet<At>,
    /// Groups of the planner, which are never forgotten one by one.
    groups: usize,
}

impl Desk {
    pub fn new(scheduler: &str) -> Self {
        Self { scheduler: scheduler.to_owned(), ..Self::default() }
    }

    /// It waits, and there may be a place for it now.
    fn enqueue(&mut self, at: &At) {
        if let Some(known) = self.pods.get(at) {
            self.queue.insert((known.rank(), known.created.clone(), at.clone()));
        }
    }

    fn unqueue(&mut self, at: &At) {
        if let Some(known) = self.pods.get_mut(at) {
            self.queue.remove(&(known.rank(), known.created.clone(), at.clone()));
            if let Some(until) = known.rests.take() {
                self.resting.remove(&(until, at.clone()));
            }
        }
        self.stuck.remove(at);
    }

    /// There may be room where there was none.
    fn wake(&mut self) {
        for at in std::mem::take(&mut self.stuck) {
            self.enqueue(&at);
        }
    }

    /// Those that wait are looked at again.
    pub fn again(&mut self) {
        self.wake();
    }

    /// Left alone for a while, longer every time.
    fn rest(&mut self, at: &At, now: Instant) {
        self.unqueue(at);
        if let Some(known) = self.pods.get_mut(at) {
            let until = now + PAUSE.0.saturating_mul(1 << known.tries.min(8)).min(PAUSE.1);
            known.tries += 1;
            known.rests = Some(until);
            self.resting.insert((until, at.clone()));
        }
    }

    fn rested(&mut self, now: Instant) {
        while let Some((until, at)) = self.resting.first().cloned().filter(|(until, _)| *until <= now) {
            self.resting.remove(&(until, at.clone()));
            if let Some(known) = self.pods.get_mut(&at) {
                known.rests = None;
            }
            self.enqueue(&at);
        }
    }

    /// When somebody has rested long enough.
    pub fn next(&self) -> Option<Instant> {
        self.resting.first().map(|(until, _)| *until)
    }

    /// The binding was refused, or its volumes were: its room is free again, and it is looked at once more after a while.
    pub fn failed(&mut self, at: &At, uid: &str, now: Instant) {
        let Some(known) = self.pods.get_mut(at).filter(|k| k.uid == uid) else { return };
        let Some(steps) = known.assumed.take() else { return };
        known.node.clear();
        let key = known.key;
        self.cluster.remove(key);
        self.storage.give_back(&steps);
        self.rest(at, now);
        self.wake();
    }

    /// One that was to make room stays: another place is looked for after a while.
    pub fn stays(&mut self, at: &At, now: Instant) {
        if self.awaiting.contains(at) {
            self.let_go(at);
            self.rest(at, now);
        }
    }

    /// The node is kept for it no more.
    fn let_go(&mut self, at: &At) {
        self.awaiting.remove(at);
        if let Some(known) = self.pods.get_mut(at) {
            known.victims.clear();
            let key = known.key;
            self.cluster.remove(key);
        }
    }

    /// What the volumes of a pod that is about to be bound have come to: see [`Storage::is_bound`].
    pub fn is_bound(&self, step: &Step, node: &str) -> Option<bool> {
        self.storage.is_bound(step, node)
    }
}
