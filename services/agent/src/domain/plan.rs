//! From what is wanted and what is there to what is to be done next. Called again after every change, so each plan only holds
//! the next step of each instance.

use std::collections::{BTreeMap, BTreeSet};

use gantry_contract::proto::scheduler::WantedInstance;
use gantry_kernel::InstanceId;

use super::actual::{ContainerState, Pod};
use super::restart::{KILLED, Policy, due_ms, given_up};
use super::spec::fingerprint;
use super::wanted::{Wanted, staying};

/// One step for one instance. Steps of different instances run side by side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Make the pod and its first container, and start it.
    Create { instance: InstanceId, attempt: u32 },
    /// Start a new container in the pod that is there, in place of `old`.
    Start { instance: InstanceId, pod: String, attempt: u32, old: Option<String> },
    /// Ask the container to end; kill it after the grace.
    Stop { instance: InstanceId, container: String, grace_seconds: u32 },
    /// Start a sidecar again that has ended.
    Beside { instance: InstanceId, pod: String, name: String, attempt: u32, old: Option<String> },
    /// Stop a further container, and it alone.
    StopBeside { instance: InstanceId, name: String, container: String, grace_seconds: u32 },
    /// Stop what runs in the pod and remove it with all that belongs to it.
    Remove { instance: InstanceId, pod: String, container: Option<String>, grace_seconds: u32 },
}

impl Action {
    pub fn instance(&self) -> InstanceId {
        match self {
            Self::Create { instance, .. }
            | Self::Start { instance, .. }
            | Self::Stop { instance, .. }
            | Self::Beside { instance, .. }
            | Self::StopBeside { instance, .. }
            | Self::Remove { instance, .. } => *instance,
        }
    }
}

/// What else the planner must know. Instances that are not named in a map have its natural default.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub now_ms: i64,
    /// A step of theirs is under way.
    pub busy: BTreeSet<InstanceId>,
    /// The balancer still sends them requests, or some are unanswered.
    pub in_use: BTreeSet<InstanceId>,
    /// Their liveness probe failed.
    pub dead: BTreeSet<InstanceId>,
    /// They have written more on the node's disk than they may.
    pub evicted: BTreeSet<InstanceId>,
    /// Further containers whose liveness probe failed, by name.
    pub dead_beside: BTreeSet<(InstanceId, String)>,
    /// Crashes in a row.
    pub crashes: BTreeMap<InstanceId, u32>,
    /// A start failed; not again before.
    pub not_before_ms: BTreeMap<InstanceId, i64>,
    /// Attempts used by pods that are gone.
    pub attempts: BTreeMap<InstanceId, u32>,
    /// Ready for requests.
    pub ready: BTreeSet<InstanceId>,
    /// Until then instances are made after those they depend on: the machine has started, and nobody else keeps the order.
    pub order_until_ms: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// Plan again at this time even if nothing happens.
    pub wake_ms: Option<i64>,
}

/// At most one action per instance; none for an instance that is as wanted, or whose step is under way.
pub fn plan(wanted: &Wanted, pods: &[Pod], facts: &Facts) -> Plan {
    let mut by_instance: BTreeMap<InstanceId, Vec<&Pod>> = wanted.instances.keys().map(|id| (*id, Vec::new())).collect();
    for pod in pods {
        by_instance.entry(pod.instance).or_default().push(pod);
    }
    let mut plan = Plan::default();
    for (id, mut pods) in by_instance {
        if facts.busy.contains(&id) {
            continue;
        }
        pods.sort_by_key(|p| (p.running(), p.ready, p.attempt));
        let newest = pods.pop();
        // Two pods of one instance can only come from a crash in the middle of a step; the better one stays.
        if let Some(surplus) = pods.first() {
            plan.actions.push(remove(surplus));
        } else {
            next_step(&mut plan, wanted, id, newest, facts);
        }
    }
    if facts.now_ms < facts.order_until_ms {
        let planned = plan.actions.len();
        plan.actions.retain(|action| !matches!(action, Action::Create { instance, .. } if waits(wanted, *instance, pods, facts)));
        if plan.actions.len() < planned {
            plan.wake(facts.order_until_ms);
        }
    }
    plan
}

/// Whether something that it depends on is here, too, and not so far yet.
fn waits(wanted: &Wanted, id: InstanceId, pods: &[Pod], facts: &Facts) -> bool {
    let Some(instance) = wanted.instances.get(&id) else { return false };
    let app = instance.labels.as_ref().map(|l| l.app_id.as_str());
    instance.after.iter().any(|await_| {
        let of = |other: &WantedInstance| other.labels.as_ref().map(|l| (l.app_id.as_str(), l.workload.as_str())) == app.map(|a| (a, await_.workload.as_str()));
        let needed: Vec<InstanceId> = wanted.instances.iter().filter(|(_, other)| !other.stopping && of(other)).map(|(id, _)| *id).collect();
        let is = |id: &InstanceId, state: &dyn Fn(&Pod) -> bool| pods.iter().any(|p| p.instance == *id && state(p));
        let completed = |p: &Pod| matches!(&p.container, Some(c) if matches!(c.state, ContainerState::Exited { code: 0, .. }));
        let met = match await_.until.as_str() {
            "ready" => needed.iter().any(|id| facts.ready.contains(id)),
            "completed" => needed.iter().all(|id| is(id, &completed)),
            _ => needed.iter().any(|id| is(id, &Pod::running)),
        };
        !needed.is_empty() && !met
    })
}

fn next_step(plan: &mut Plan, wanted: &Wanted, id: InstanceId, pod: Option<&Pod>, facts: &Facts) {
    let Some(instance) = wanted.instances.get(&id) else {
        plan.actions.extend(pod.filter(|p| may_stop(p, facts)).map(remove));
        return;
    };
    let Some(pod) = pod else {
        if !instance.stopping && plan.is_time(id, facts) {
            plan.actions.push(Action::Create { instance: id, attempt: facts.attempts.get(&id).map_or(0, |a| a + 1) });
        }
        return;
    };
    if instance.stopping {
        match &pod.container {
            Some(container) if pod.running() => {
                if may_stop(pod, facts) {
                    let grace_seconds = instance.stop_grace_seconds;
                    plan.actions.push(Action::Stop { instance: id, container: container.id.clone(), grace_seconds });
                }
            }
            // How it ended stays until the scheduler has heard it. That may take long, and nothing beside it runs on meanwhile.
            Some(container) if matches!(container.state, ContainerState::Exited { .. }) => plan.actions.extend(stop_next_beside(id, pod, instance)),
            // What comes before the main container has no longer than that.
            _ => plan.actions.push(Action::Remove {
                instance: id,
                pod: pod.id.clone(),
                container: None,
                grace_seconds: pod.grace_seconds.min(instance.stop_grace_seconds),
            }),
        }
        return;
    }
    let policy = Policy::parse(&instance.restart_policy);
    let crashes = facts.crashes.get(&id).copied().unwrap_or(0);
    let over = |code: i32| !policy.restarts(code) || given_up(instance, code, crashes);
    let ended_for_good = matches!(&pod.container, Some(c) if matches!(c.state, ContainerState::Exited { code, .. } if over(code)));
    if pod.running() && facts.evicted.contains(&id) {
        if may_stop(pod, facts) {
            // Scratch space and the layers of sidecars go with the pod.
            let stop = |c: &super::actual::Container| Action::Stop { instance: id, container: c.id.clone(), grace_seconds: instance.stop_grace_seconds };
            let action = if policy.restarts(KILLED) { Some(remove(pod)) } else { pod.container.as_ref().map(stop) };
            plan.actions.extend(action);
        }
        return;
    }
    if pod.spec != fingerprint(instance) {
        if may_stop(pod, facts) {
            plan.actions.push(remove(pod));
        }
        return;
    }
    if ended_for_good {
        // Nothing is left for sidecars to do.
        plan.actions.extend(stop_next_beside(id, pod, instance));
        return;
    }
    if !pod.ready {
        plan.actions.push(remove(pod));
        return;
    }
    let start = |old: Option<&String>| Action::Start { instance: id, pod: pod.id.clone(), attempt: pod.next_attempt(), old: old.cloned() };
    match &pod.container {
        // What comes before the main container is run in a fresh pod, all of it.
        None if !instance.init.is_empty() || !instance.sidecars.is_empty() => plan.actions.push(remove(pod)),
        None if plan.is_time(id, facts) => plan.actions.push(start(None)),
        None => {}
        // Made but never started: whoever made it died in between.
        #[allow(clippy::collapsible_match, reason = "`is_time` notes when to wake, which does not belong into a guard")]
        Some(container) if container.state == ContainerState::Created => {
            if plan.is_time(id, facts) {
                plan.actions.push(start(Some(&container.id)));
            }
        }
        Some(container) => match &container.state {
            ContainerState::Running if facts.dead.contains(&id) => {
                let grace_seconds = instance.stop_grace_seconds;
                plan.actions.push(Action::Stop { instance: id, container: container.id.clone(), grace_seconds });
            }
            ContainerState::Running => sidecars(plan, id, instance, pod, facts),
            ContainerState::Created => {}
            ContainerState::Exited { at_ms, .. } => {
                let due = due_ms(*at_ms, facts.crashes.get(&id).copied().unwrap_or(0), facts.now_ms);
                if due > facts.now_ms {
                    plan.wake(due);
                } else if plan.is_time(id, facts) {
                    plan.actions.push(start(Some(&container.id)));
                }
            }
        },
    }
}

fn stop_beside(instance: InstanceId, name: &str, container: &str, of: &WantedInstance) -> Action {
    Action::StopBeside { instance, name: name.to_owned(), container: container.to_owned(), grace_seconds: of.stop_grace_seconds }
}

/// One of those that still run.
fn stop_next_beside(id: InstanceId, pod: &Pod, of: &WantedInstance) -> Option<Action> {
    let running = pod.beside.iter().find(|(_, c)| c.state == ContainerState::Running);
    running.map(|(name, c)| stop_beside(id, name, &c.id, of))
}

/// Those that have ended while the main container runs are started again, after growing pauses; those that do not live any more are
/// stopped, and the main one goes on.
fn sidecars(plan: &mut Plan, id: InstanceId, instance: &WantedInstance, pod: &Pod, facts: &Facts) {
    for sidecar in staying(instance) {
        let (attempt, old, due) = match pod.beside.get(&sidecar.name).map(|c| (c, &c.state)) {
            Some((c, ContainerState::Running)) => {
                if facts.dead_beside.contains(&(id, sidecar.name.clone())) {
                    plan.actions.push(stop_beside(id, &sidecar.name, &c.id, instance));
                    return;
                }
                continue;
            }
            Some((c, ContainerState::Created)) => (c.attempt + 1, Some(c.id.clone()), 0),
            Some((c, ContainerState::Exited { at_ms, ran_ms, .. })) => {
                let crashes = if *ran_ms >= 60_000 { 1 } else { c.attempt + 1 };
                (c.attempt + 1, Some(c.id.clone()), due_ms(*at_ms, crashes, facts.now_ms))
            }
            None => (0, None, 0),
        };
        if due > facts.now_ms {
            plan.wake(due);
        } else if plan.is_time(id, facts) {
            // One step at a time: the next look finds the next.
            plan.actions.push(Action::Beside { instance: id, pod: pod.id.clone(), name: sidecar.name.clone(), attempt, old });
            return;
        }
    }
}

impl Plan {
    fn wake(&mut self, at_ms: i64) {
        self.wake_ms = Some(self.wake_ms.map_or(at_ms, |w| w.min(at_ms)));
    }

    /// Whether a start that failed before may be tried again; if not, asks to be woken then.
    fn is_time(&mut self, id: InstanceId, facts: &Facts) -> bool {
        match facts.not_before_ms.get(&id) {
            Some(at) if *at > facts.now_ms => {
                self.wake(*at);
                false
            }
            _ => true,
        }
    }
}

fn may_stop(pod: &Pod, facts: &Facts) -> bool {
    !pod.running() || !facts.in_use.contains(&pod.instance)
}

fn remove(pod: &Pod) -> Action {
    Action::Remove {
        instance: pod.instance,
        pod: pod.id.clone(),
        container: pod.container.as_ref().filter(|_| pod.running()).map(|c| c.id.clone()),
        grace_seconds: pod.grace_seconds,
    }
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;
