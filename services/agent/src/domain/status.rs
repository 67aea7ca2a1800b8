//! What the scheduler is told about each instance.

use std::collections::{BTreeMap, BTreeSet};

use gantry_contract::proto::scheduler as wire;
use gantry_kernel::InstanceId;

use super::actual::{ContainerState, Pod};
use super::health::Health;
use super::restart::{KILLED, Policy};
use super::wanted::Wanted;

/// What is remembered of an instance besides what the runtime shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Of the container that runs now.
    pub health: Option<Health>,
    /// Of each further container that belongs beside it, by name; `None`: it does not run.
    pub beside: BTreeMap<String, Option<Health>>,
    pub address: String,
    /// Why the last step failed; empty = it did not.
    pub failure: String,
    pub image_digest: String,
    /// It failed so often that it is not started again.
    pub given_up: bool,
    /// Why it is ended by the node, or was and is not there again; empty: it is not.
    pub evicted: String,
}

impl Memory {
    /// The main container and all that belong beside it are.
    pub fn ready(&self) -> bool {
        self.evicted.is_empty() && self.health.as_ref().is_some_and(Health::ready) && self.waits_for().is_none()
    }

    /// The first further container that is not ready.
    fn waits_for(&self) -> Option<(&str, Option<&Health>)> {
        let all = self.beside.iter().map(|(name, health)| (name.as_str(), health.as_ref()));
        all.into_iter().find(|(_, health)| !health.is_some_and(Health::ready))
    }
}

/// One line for each instance that is wanted or still there, or has a step under way (`busy`), ordered by id.
pub fn statuses(wanted: &Wanted, pods: &[Pod], memory: &BTreeMap<InstanceId, Memory>, busy: &BTreeSet<InstanceId>) -> Vec<wire::InstanceStatus> {
    let ids: BTreeSet<InstanceId> = wanted.instances.keys().copied().chain(pods.iter().map(|p| p.instance)).chain(busy.iter().copied()).collect();
    let none = Memory::default();
    let told = |id: InstanceId| {
        let pod = pods.iter().find(|p| p.instance == id);
        let mut status = status(id, wanted, pod, memory.get(&id).unwrap_or(&none));
        if pod.is_none() && status.state == "exited" && busy.contains(&id) {
            // It may just be made, or its volumes be let go: whoever hears that it is gone has it run elsewhere.
            status.state = "stopping".into();
        }
        status
    };
    ids.into_iter().map(told).collect()
}

fn status(id: InstanceId, wanted: &Wanted, pod: Option<&Pod>, memory: &Memory) -> wire::InstanceStatus {
    let instance = wanted.instances.get(&id);
    let stopping = instance.is_none_or(|i| i.stopping);
    let policy = Policy::parse(instance.map_or("", |i| &i.restart_policy));
    let container = pod.and_then(|p| p.container.as_ref());
    let mut status = wire::InstanceStatus {
        instance_id: id.to_string(),
        address: memory.address.clone(),
        restarts: container.map_or(0, |c| c.attempt),
        image_digest: memory.image_digest.clone(),
        ..Default::default()
    };
    let (state, reason) = match container.filter(|_| pod.is_some_and(|p| p.ready)).map(|c| &c.state) {
        Some(ContainerState::Running) if stopping => ("stopping", String::new()),
        Some(ContainerState::Running) => match &memory.health {
            Some(health) if health.ready() => match memory.waits_for() {
                None => {
                    status.ready = true;
                    ("running", String::new())
                }
                Some((name, health)) => beside(name, health, pod),
            },
            Some(health) if health.unhealthy() || !health.alive() => ("unhealthy", health.reason.clone()),
            Some(health) => ("starting", health.reason.clone()),
            None => ("starting", String::new()),
        },
        Some(ContainerState::Exited { code, reason, .. }) => {
            status.exit_code = *code;
            let text = format!("exit code {code}{}", if reason.is_empty() { String::new() } else { format!(" ({reason})") });
            if stopping || memory.given_up || !policy.restarts(*code) {
                (if *code == 0 || stopping { "exited" } else { "failed" }, text)
            } else {
                ("unhealthy", format!("{text}; it is being restarted"))
            }
        }
        None if stopping && pod.is_none() => ("exited", String::new()),
        Some(ContainerState::Created) | None if stopping => ("stopping", String::new()),
        Some(ContainerState::Created) | None => ("starting", String::new()),
    };
    status.state = state.into();
    status.reason = reason;
    if !memory.evicted.is_empty() && !stopping {
        status.ready = false;
        // `failed` is the end of it, and its successor would come while it may still run; this node makes it anew.
        let over = matches!(status.state.as_str(), "exited" | "failed") && !policy.restarts(KILLED);
        status.state = if over { "failed" } else { "unhealthy" }.into();
        status.reason.clone_from(&memory.evicted);
    }
    if !memory.failure.is_empty() && !status.ready && !stopping {
        status.state = "failed".into();
        status.reason.clone_from(&memory.failure);
    }
    status
}

/// What the instance is while one of its further containers is not ready.
fn beside(name: &str, health: Option<&Health>, pod: Option<&Pod>) -> (&'static str, String) {
    match health {
        Some(health) if health.unhealthy() || !health.alive() => ("unhealthy", format!("container {name}: {}", health.reason)),
        Some(health) if health.reason.is_empty() => ("starting", format!("container {name} is not ready yet")),
        Some(health) => ("starting", format!("container {name}: {}", health.reason)),
        None => match pod.and_then(|p| p.beside.get(name)).map(|c| &c.state) {
            Some(ContainerState::Exited { code, .. }) => ("unhealthy", format!("container {name} ended with exit code {code}; it is being restarted")),
            Some(ContainerState::Created | ContainerState::Running) | None => ("starting", format!("container {name} is being started")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::actual::Container;
    use super::*;

    const ID: &str = "0190b3e0-0000-7000-8000-000000000001";

    fn look(instance: wire::WantedInstance, state: Option<ContainerState>, memory: Memory) -> wire::InstanceStatus {
        let wire = wire::WantedInstance { instance_id: ID.into(), image: "x".into(), ..instance };
        let (wanted, _) = Wanted::parse(wire::WantedState { generation: 1, instances: vec![wire], ..Default::default() });
        let id: InstanceId = ID.parse().unwrap();
        let container = state.map(|state| Container { id: "c".into(), attempt: 2, state });
        let pod = Pod { id: "p".into(), instance: id, attempt: 0, ready: true, spec: String::new(), grace_seconds: 1, container, beside: Default::default() };
        statuses(&wanted, &[pod], &BTreeMap::from([(id, memory)]), &BTreeSet::new()).remove(0)
    }

    #[test]
    fn ready_only_when_every_probe_says_so() {
        let healthy = Memory { health: Some(Health::new(vec![], false)), ..Memory::default() };
        let status = look(wire::WantedInstance::default(), Some(ContainerState::Running), healthy);
        assert_eq!((status.state.as_str(), status.ready, status.restarts), ("running", true, 2));
        let unknown = look(wire::WantedInstance::default(), Some(ContainerState::Running), Memory::default());
        assert_eq!((unknown.state.as_str(), unknown.ready), ("starting", false));
    }

    #[test]
    fn an_instance_is_ready_when_all_its_containers_are() {
        let probe = wire::Probe { purpose: "ready".into(), kind: "tcp".into(), port: 80, ..Default::default() };
        let well = || Some(Health::new(vec![], false));
        let asked = Health::new(super::super::health::probes(&[probe], &Default::default()), false);
        let mut failing = asked.clone();
        failing.answer(0, Err("port 80: refused".into()));
        let with = |beside: Option<Health>| Memory { health: well(), beside: BTreeMap::from([("log".to_owned(), beside)]), ..Memory::default() };
        let seen = |memory: Memory| {
            let status = look(wire::WantedInstance::default(), Some(ContainerState::Running), memory);
            (status.state, status.ready, status.reason)
        };
        assert_eq!(seen(with(well())), ("running".to_owned(), true, String::new()));
        assert_eq!(seen(with(Some(asked))), ("starting".to_owned(), false, "container log is not ready yet".to_owned()));
        assert_eq!(seen(with(Some(failing))), ("unhealthy".to_owned(), false, "container log: port 80: refused".to_owned()));
        assert_eq!(seen(with(None)).0, "starting");
        assert!(with(well()).ready() && !with(None).ready());
    }

    #[test]
    fn an_end_is_told_by_policy() {
        let ended = |policy: &str, code| {
            let state = ContainerState::Exited { code, reason: "Error".into(), ran_ms: 1, at_ms: 0 };
            look(wire::WantedInstance { restart_policy: policy.into(), ..Default::default() }, Some(state), Memory::default()).state
        };
        assert_eq!((ended("never", 0).as_str(), ended("never", 1).as_str(), ended("always", 0).as_str()), ("exited", "failed", "unhealthy"));
    }

    #[test]
    fn who_has_written_too_much_has_not_ended_as_long_as_it_runs_or_is_made_anew() {
        let evicted = || Memory { health: Some(Health::new(vec![], false)), evicted: "evicted: too much".into(), ..Memory::default() };
        let seen = |policy: &str, state: ContainerState| {
            let status = look(wire::WantedInstance { restart_policy: policy.into(), ..Default::default() }, Some(state), evicted());
            assert!(!status.ready && status.reason == "evicted: too much", "{status:?}");
            status.state
        };
        let ended = |code| ContainerState::Exited { code, reason: String::new(), ran_ms: 1, at_ms: 0 };
        for policy in ["always", "on-failure", "never"] {
            assert_eq!(seen(policy, ContainerState::Running), "unhealthy", "{policy}");
        }
        assert_eq!((seen("always", ended(137)), seen("on-failure", ended(0))), ("unhealthy".to_owned(), "unhealthy".to_owned()));
        assert_eq!((seen("never", ended(137)), seen("never", ended(0))), ("failed".to_owned(), "failed".to_owned()));
    }

    #[test]
    fn an_instance_is_not_said_to_be_gone_while_it_may_just_be_made() {
        let id: InstanceId = ID.parse().unwrap();
        let wire = wire::WantedInstance { instance_id: ID.into(), image: "x".into(), stopping: true, ..Default::default() };
        let (wanted, _) = Wanted::parse(wire::WantedState { instances: vec![wire], ..Default::default() });
        let states = |wanted: &Wanted, busy: &[InstanceId]| {
            let told = statuses(wanted, &[], &BTreeMap::new(), &busy.iter().copied().collect());
            told.into_iter().map(|s| s.state).collect::<Vec<_>>()
        };
        assert_eq!((states(&wanted, &[id]), states(&wanted, &[])), (vec!["stopping".to_owned()], vec!["exited".to_owned()]));
        assert_eq!((states(&Wanted::default(), &[id]), states(&Wanted::default(), &[])), (vec!["stopping".to_owned()], Vec::new()));
    }

    #[test]
    fn a_start_that_fails_says_why() {
        let memory = Memory { failure: "image not found".into(), ..Memory::default() };
        let status = look(wire::WantedInstance::default(), None, memory);
        assert_eq!((status.state.as_str(), status.reason.as_str()), ("failed", "image not found"));
    }
}
