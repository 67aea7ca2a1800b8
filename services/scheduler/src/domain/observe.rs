//! What a node's report means: which recorded instances have changed. Only changes become events, not every report.

use gantry_contract::scheduler::InstanceEvent;
use gantry_kernel::{AppId, InstanceId};

use super::engine::{Observation, Report, Seen};

/// How far a recorded instance has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Placed,
    Running,
    Unhealthy,
    Stopping,
    /// Ended: as asked, by itself well, by itself badly, with its node.
    Stopped,
    Completed,
    Failed,
    Lost,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Running => "running",
            Self::Unhealthy => "unhealthy",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Lost => "lost",
        }
    }

    pub fn parse(text: &str) -> Self {
        match text {
            "running" => Self::Running,
            "unhealthy" => Self::Unhealthy,
            "stopping" => Self::Stopping,
            "stopped" => Self::Stopped,
            "completed" => Self::Completed,
            "failed" => Self::Failed,
            "lost" => Self::Lost,
            _ => Self::Placed,
        }
    }
}

/// A recorded instance that has not ended.
#[derive(Clone, Debug)]
pub struct Known {
    pub id: InstanceId,
    pub app: AppId,
    pub phase: Phase,
    pub address: String,
    pub restarts: u32,
    /// The generation that first told the node to stop it (or to have it, while it shall run); `None`: not told yet.
    pub told: Option<u64>,
}

/// The events that a report makes of what is known.
pub fn changes(known: &[Known], report: &Report) -> Vec<InstanceEvent> {
    known.iter().flat_map(|one| change(one, report)).collect()
}

fn change(known: &Known, report: &Report) -> Vec<InstanceEvent> {
    let (instance, app) = (known.id, known.app);
    let Some(seen) = report.instances.get(&instance) else {
        // Gone after it was told to stop: done. Otherwise the node has still to make it.
        let taken_in = known.told.is_some_and(|told| report.generation >= told);
        return match known.phase {
            Phase::Stopping if taken_in => vec![InstanceEvent::Stopped { instance, app, exit_code: 0, reason: "removed".into() }],
            Phase::Running if taken_in => vec![InstanceEvent::Unhealthy { instance, app, reason: "the node has not got it any more".into() }],
            _ => Vec::new(),
        };
    };
    let mut events = Vec::new();
    if seen.restarts > known.restarts {
        events.push(InstanceEvent::Restarted { instance, app, restarts: seen.restarts, exit_code: seen.exit_code, reason: seen.reason.clone() });
    }
    events.extend(transition(known, seen));
    events
}

fn transition(known: &Known, seen: &Observation) -> Option<InstanceEvent> {
    let (instance, app) = (known.id, known.app);
    match (seen.seen, known.phase) {
        (Seen::Exited | Seen::Failed, _) => Some(InstanceEvent::Stopped { instance, app, exit_code: exit_code(seen), reason: seen.reason.clone() }),
        (_, Phase::Stopping) => None,
        (Seen::Running, Phase::Running) if seen.ready && seen.address == known.address => None,
        (Seen::Running, _) if seen.ready => Some(InstanceEvent::Running { instance, app, address: seen.address.clone() }),
        (Seen::Starting | Seen::Running | Seen::Unhealthy | Seen::Stopping, Phase::Running) => {
            let reason = if seen.reason.is_empty() { "not ready".to_owned() } else { seen.reason.clone() };
            Some(InstanceEvent::Unhealthy { instance, app, reason })
        }
        (Seen::Starting | Seen::Running | Seen::Unhealthy | Seen::Stopping, _) => None,
    }
}

/// A failure without a code (the container could not be made) must not look like success.
fn exit_code(seen: &Observation) -> i32 {
    if seen.seen == Seen::Failed && seen.exit_code == 0 { -1 } else { seen.exit_code }
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Uuid;

    use super::*;

    fn known(phase: Phase) -> Known {
        Known { id: InstanceId(Uuid::from_u128(1)), app: AppId(Uuid::from_u128(2)), phase, address: "10.0.0.1".into(), restarts: 0, told: Some(5) }
    }

    fn report(generation: u64, seen: Option<(Seen, bool)>) -> Report {
        let observation = seen.map(|(seen, ready)| Observation { seen, ready, address: "10.0.0.1".into(), restarts: 0, exit_code: 0, reason: String::new() });
        Report { generation, instances: observation.map(|o| (known(Phase::Placed).id, o)).into_iter().collect(), ..Report::default() }
    }

    fn kinds(phase: Phase, report: &Report) -> Vec<&'static str> {
        let name = |e: &InstanceEvent| match e {
            InstanceEvent::Running { .. } => "running",
            InstanceEvent::Unhealthy { .. } => "unhealthy",
            InstanceEvent::Restarted { .. } => "restarted",
            InstanceEvent::Stopped { .. } => "stopped",
            InstanceEvent::Placed { .. }
            | InstanceEvent::Lost { .. }
            | InstanceEvent::Displaced { .. }
            | InstanceEvent::Stayed { .. }
            | InstanceEvent::Suspected { .. }
            | InstanceEvent::SignAcknowledged { .. }
            | InstanceEvent::Stopping { .. } => "other",
        };
        changes(&[known(phase)], report).iter().map(name).collect()
    }

    #[test]
    fn only_transitions_become_events() {
        assert_eq!(kinds(Phase::Placed, &report(5, Some((Seen::Starting, false)))), [""; 0]);
        assert_eq!(kinds(Phase::Placed, &report(5, Some((Seen::Running, false)))), [""; 0]);
        assert_eq!(kinds(Phase::Placed, &report(5, Some((Seen::Running, true)))), ["running"]);
        assert_eq!(kinds(Phase::Running, &report(5, Some((Seen::Running, true)))), [""; 0]);
        assert_eq!(kinds(Phase::Running, &report(5, Some((Seen::Unhealthy, false)))), ["unhealthy"]);
        assert_eq!(kinds(Phase::Unhealthy, &report(5, Some((Seen::Running, true)))), ["running"]);
        assert_eq!(kinds(Phase::Running, &report(5, Some((Seen::Exited, false)))), ["stopped"]);
        assert_eq!(kinds(Phase::Stopping, &report(5, Some((Seen::Running, true)))), [""; 0]);
    }

    #[test]
    fn what_is_gone_has_stopped_only_if_the_node_was_told() {
        assert_eq!(kinds(Phase::Stopping, &report(5, None)), ["stopped"]);
        assert_eq!(kinds(Phase::Stopping, &report(4, None)), [""; 0]);
        assert_eq!(kinds(Phase::Placed, &report(5, None)), [""; 0]);
        assert_eq!(kinds(Phase::Running, &report(5, None)), ["unhealthy"]);
    }

    #[test]
    fn a_container_that_cannot_be_made_has_not_ended_well() {
        let events = changes(&[known(Phase::Placed)], &report(5, Some((Seen::Failed, false))));
        assert!(matches!(events[0], InstanceEvent::Stopped { exit_code: -1, .. }));
    }
}
