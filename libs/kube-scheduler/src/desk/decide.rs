//! The decisions.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use gantry_planner::{Cluster, GroupIx, Hints, Obstacle, Preemption, Resource, Weights};

use super::{Decision, Desk, Victim};
use crate::storage::At;

/// In kube-scheduler's words where it has the same reason: people search for them, and alerts are made by them.
fn told(obstacle: &Obstacle) -> String {
    match obstacle {
        Obstacle::Room { kind: Resource::Instances, .. } => "Too many pods".into(),
        Obstacle::Room { kind: Resource::Storage, .. } => "Insufficient ephemeral-storage".into(),
        Obstacle::Room { kind, .. } => format!("Insufficient {}", kind.as_str()),
        Obstacle::Extended { name, .. } => format!("Insufficient {name}"),
        other => other.kind(),
    }
}

/// So many groups that nobody is of any more are kept; the planner has no way to forget one.
const SPARE: usize = 4_096;

impl Desk {
    /// At most `most` decisions; what is bound counts as there from now on.
    pub fn decide(&mut self, most: usize, now: Instant) -> Vec<Decision> {
        self.forget_groups();
        self.rested(now);
        // Nothing becomes free in here: of equal pods one is asked for.
        let mut hopeless: HashMap<GroupIx, String> = HashMap::new();
        let mut out = Vec::new();
        while out.len() < most {
            let Some((_, _, at)) = self.queue.pop_first() else { break };
            out.extend(self.one(&at, &mut hopeless));
        }
        out
    }

    fn one(&mut self, at: &At, hopeless: &mut HashMap<GroupIx, String>) -> Option<Decision> {
        let known = self.pods.get(at)?;
        let group = match &known.group {
            Ok(group) => *group,
            Err(reason) => {
                let reason = format!("0/{} nodes are available: {reason}", self.nodes.len());
                return self.tell(at, reason);
            }
        };
        if !known.victims.is_empty() {
            return None;
        }
        if let Some(reason) = hopeless.get(&group).cloned() {
            self.stuck.insert(at.clone());
            if self.may_displace(at) {
                self.unname(at);
            }
            return self.tell(at, reason);
        }
        if let Some(claim) = self.claimed_alone(at) {
            self.stuck.insert(at.clone());
            let reason = format!("0/{} nodes are available: persistentvolumeclaim \"{claim}\" is one pod's alone, and another one has it", self.nodes.len());
            return self.tell(at, reason);
        }
        let (weights, hints) = (Weights::default(), Hints::default());
        if let Some(choice) = self.cluster.choose(group, &weights, &hints) {
            return self.bind(at, group, choice.node);
        }
        self.stuck.insert(at.clone());
        if self.may_displace(at) {
            if let Some(room) = self.cluster.preempt(group, &weights, &hints) {
                return self.make_room(at, group, &room, false);
            }
            if let Some(room) = self.preempt_despite(group) {
                return self.make_room(at, group, &room, true);
            }
            self.unname(at);
        }
        let reason = self.reason(group);
        hopeless.insert(group, reason.clone());
        self.tell(at, reason)
    }

    /// Room that nothing but disruption budgets speaks against: the last resort of kube-scheduler, too, which prefers every place
    /// where none is hurt (kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption).
    fn preempt_despite(&mut self, group: GroupIx) -> Option<Preemption> {
        if self.limited.is_empty() {
            return None;
        }
        for limited in self.limited.keys() {
            self.cluster.set_allowance(*limited, None);
        }
        let room = self.cluster.preempt(group, &Weights::default(), &Hints::default());
        for (limited, allowed) in &self.limited {
            self.cluster.set_allowance(*limited, Some(*allowed));
        }
        room
    }

    /// No room is made for it anywhere: others may have what its status names (as kube-scheduler has it when it finds none).
    fn unname(&mut self, at: &At) {
        if let Some(known) = self.pods.get_mut(at) {
            known.misnamed |= !known.nominated.is_empty();
            known.nominated.clear();
        }
    }

    fn bind(&mut self, at: &At, group: GroupIx, place: gantry_planner::NodeIx) -> Option<Decision> {
        let node = self.cluster.node_name(place).to_owned();
        let open = self.pods.get(at)?.open.clone();
        let taken = match self.nodes.get(&node) {
            Some(there) => self.storage.take(&open, there),
            None => Err(format!("node \"{node}\" is gone")),
        };
        let steps = match taken {
            Ok(steps) => steps,
            // Volumes that were there a moment ago: they are asked for anew with the next word of the cluster.
            Err(reason) => {
                self.stuck.insert(at.clone());
                return self.tell(at, format!("0/{} nodes are available: {reason}", self.nodes.len()));
            }
        };
        let known = self.pods.get_mut(at)?;
        self.cluster.place(known.key, group, place);
        (known.node, known.assumed) = (node.clone(), Some(steps.clone()));
        known.told.clear();
        Some(Decision::Bind { pod: at.clone(), uid: known.uid.clone(), node, volumes: steps })
    }

    /// Once: until the last try has come to something, nobody else is displaced (`PodEligibleToPreemptOthers` of kube-scheduler).
    fn may_displace(&self, at: &At) -> bool {
        let Some(known) = self.pods.get(at) else { return false };
        let Some(node) = self.cluster.node(&known.nominated) else { return true };
        let leaves = |key: gantry_planner::InstanceKey| {
            let one = self.by_key.get(&key.0).and_then(|at| self.pods.get(at));
            one.is_some_and(|p| p.leaving && p.priority < known.priority)
        };
        !self.cluster.instances_on(node).any(leaves)
    }

    fn make_room(&mut self, at: &At, group: GroupIx, room: &Preemption, despite: bool) -> Option<Decision> {
        let node = self.cluster.node_name(room.node).to_owned();
        let all: Vec<At> = room.victims.iter().filter_map(|key| self.by_key.get(&key.0).cloned()).collect();
        let (placed, promised): (Vec<At>, Vec<At>) = all.into_iter().partition(|v| self.pods.get(v).is_some_and(|k| !k.node.is_empty()));
        // The node was kept for them, and they are not there: they look for another.
        for other in &promised {
            self.let_go(other);
            self.unname(other);
            self.enqueue(other);
        }
        if placed.is_empty() {
            self.stuck.remove(at);
            self.enqueue(at);
            return None;
        }
        let victims: Vec<Victim> = placed.iter().filter_map(|v| Some(Victim { pod: v.clone(), uid: self.pods.get(v)?.uid.clone() })).collect();
        let reason = self.reason(group);
        self.stuck.remove(at);
        self.awaiting.insert(at.clone());
        let known = self.pods.get_mut(at)?;
        known.victims = placed.into_iter().collect();
        known.nominated.clone_from(&node);
        known.misnamed = false;
        known.told.clone_from(&reason);
        // What becomes free there is not for others.
        self.cluster.place(known.key, group, room.node);
        Some(Decision::Evict { pod: at.clone(), uid: known.uid.clone(), node, victims, reason, despite })
    }

    fn reason(&mut self, group: GroupIx) -> String {
        let findings = self.cluster.explain(group, &Weights::default(), &Hints::default());
        let mut counted: BTreeMap<String, u32> = BTreeMap::new();
        for obstacle in findings.iter().flat_map(|finding| &finding.obstacles) {
            *counted.entry(told(obstacle)).or_default() += 1;
        }
        let mut counted: Vec<(String, u32)> = counted.into_iter().collect();
        counted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let told: Vec<String> = counted.iter().map(|(what, nodes)| format!("{nodes} {what}")).collect();
        format!("0/{} nodes are available: {}", findings.len(), if told.is_empty() { "there is none".into() } else { told.join(", ") })
    }

    fn tell(&mut self, at: &At, reason: String) -> Option<Decision> {
        let known = self.pods.get_mut(at).filter(|k| k.told != reason || k.misnamed)?;
        known.told.clone_from(&reason);
        let unnamed = std::mem::take(&mut known.misnamed);
        Some(Decision::Wait { pod: at.clone(), uid: known.uid.clone(), generation: known.generation, reason, unnamed })
    }

    /// A claim of this pod that is one pod's alone and is used by another one.
    fn claimed_alone(&self, at: &At) -> Option<String> {
        let placed = |other: &At| other != at && self.pods.get(other).is_some_and(|k| !k.node.is_empty());
        let used = |claim: &&At| self.storage.is_for_one(claim) && self.users.get(*claim).is_some_and(|users| users.iter().any(placed));
        self.pods.get(at)?.claims.iter().find(used).map(|claim| claim.1.clone())
    }

    /// Makes the picture anew when most of its groups are nobody's.
    fn forget_groups(&mut self) {
        if self.groups < 2 * self.pods.len() + SPARE {
            return;
        }
        let before = std::mem::replace(&mut self.cluster, Cluster::new());
        for node in self.nodes.values() {
            self.cluster.set_node(node);
        }
        let mut all: Vec<&At> = self.pods.keys().collect();
        all.sort_unstable();
        let all: Vec<At> = all.into_iter().cloned().collect();
        self.groups = 0;
        for at in all {
            let Some(known) = self.pods.get_mut(&at) else { continue };
            let Ok(group) = &mut known.group else { continue };
            let new = self.cluster.set_group(before.spec(*group));
            *group = new;
            self.groups = self.groups.max(new.0 as usize + 1);
            let key = known.key;
            let place = before.place_of(key).and_then(|ix| self.cluster.node(before.node_name(ix)));
            if let Some(place) = place {
                self.cluster.place(key, new, place);
            }
        }
        self.limited.clear();
        self.allow_all();
    }
}
