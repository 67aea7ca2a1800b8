//! Whether an instance can go on elsewhere as it is: what ties it to where it is, and whether the other node takes it.

use std::collections::BTreeMap;

use gantry_planner::Effect;

use super::engine::Facts;
use super::model::{MountKind, Volume, Workload, WorkloadKind};
use super::observe::Phase;
use super::placement::NodeSettings;

/// Why an instance stays where it is; nothing if it can go. `same`: it is to go on where it is. `volumes`: of its application.
pub fn stays(workload: &Workload, volumes: &BTreeMap<String, Volume>, same: bool) -> Option<String> {
    match workload.kind {
        WorkloadKind::Stateless | WorkloadKind::Stateful => {}
        WorkloadKind::Global => return Some("there is one of its workload on each node".into()),
        WorkloadKind::Job | WorkloadKind::CronJob => return Some("it is a job; its end is waited for".into()),
    }
    if workload.placement.fenced {
        return Some("it must never run twice (`fenced`), and for a moment there would be two of it".into());
    }
    // What belongs to the one instance alone is made anew for its successor.
    let of_node = |source: &str| !volumes.get(source).is_some_and(|v| v.nfs().is_some());
    let tied = workload.mounts.iter().find(|m| match m.kind {
        MountKind::Volume if m.source.is_empty() => true,
        MountKind::Volume => !same && of_node(&m.source),
        MountKind::Bind => !same,
        MountKind::Scratch | MountKind::Tmpfs => true,
        MountKind::Nfs => false,
    });
    tied.map(|m| match m.kind {
        MountKind::Volume if !m.source.is_empty() => format!("its volume `{}` lies on its node; what is on a network (NFS) goes along", m.source),
        _ => format!("what it has at {} stays where it is", m.target),
    })
}

/// The node that it is to go to, as far as it matters.
pub struct Target<'a> {
    /// It is there, and what is stored of it can be read.
    pub ready: bool,
    /// It takes new instances.
    pub open: bool,
    pub facts: &'a Facts,
    pub settings: &'a NodeSettings,
    pub reserved_cpu_millis: u64,
    pub reserved_memory_bytes: u64,
    /// Of the node where it is.
    pub source: Option<&'a Facts>,
}

/// Why the node does not take it; nothing if it does. Rules of placement are those of whoever moves it by hand, but for taints and room.
pub fn fits(target: &Target<'_>, cpu_millis: u64, memory_bytes: u64, same: bool) -> Option<String> {
    if !target.ready {
        return Some("it is away".into());
    }
    if same {
        return None;
    }
    if !target.open {
        return Some("it is cordoned or being drained".into());
    }
    let mut taints = target.settings.taints.iter().filter_map(|t| t.taint());
    if let Some(taint) = taints.find(|t| matches!(t.effect, Effect::NoSchedule | Effect::NoExecute)) {
        return Some(format!("it is tainted ({})", taint.key));
    }
    if let Some(source) = target.source.filter(|s| s.architecture != target.facts.architecture) {
        return Some(format!("it is {}, and the other {}", target.facts.architecture, source.architecture));
    }
    let room = |there: u64, percent: Option<u32>, reserved: u64| (there / 100 * u64::from(percent.unwrap_or(100))).saturating_sub(reserved);
    if room(target.facts.cpu_millis, target.settings.overcommit_cpu_percent, target.reserved_cpu_millis) < cpu_millis {
        return Some("too little of its processors is free".into());
    }
    if room(target.facts.memory_bytes, target.settings.overcommit_memory_percent, target.reserved_memory_bytes) < memory_bytes {
        return Some("too little of its memory is free".into());
    }
    None
}

/// What becomes of a move that nobody carries out any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The successor runs, and the one before goes; or there was never a successor.
    Nothing,
    /// The instance runs on where it stood. `stop`: its successor is taken back.
    Stays { stop: bool },
}

/// `successor`: how far it has come; none if it was not recorded.
pub fn left(successor: Option<Phase>) -> Left {
    match successor {
        None | Some(Phase::Running | Phase::Unhealthy) => Left::Nothing,
        Some(Phase::Placed) => Left::Stays { stop: true },
        Some(Phase::Stopping | Phase::Stopped | Phase::Completed | Phase::Failed | Phase::Lost) => Left::Stays { stop: false },
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::Mount;
    use super::*;

    fn with(mounts: Vec<Mount>) -> Workload {
        Workload { mounts, ..Workload::default() }
    }

    #[test]
    fn what_lies_on_a_node_keeps_an_instance_there_and_what_is_on_a_network_does_not() {
        let options = [("type", "nfs"), ("o", "addr=nas.test"), ("device", ":/data")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let volumes = BTreeMap::from([("shared".to_owned(), Volume { options: options.into(), ..Volume::default() }), ("own".to_owned(), Volume::default())]);
        let mounts = |source: &str| with(vec![Mount::new(MountKind::Volume, source, "/data")]);
        assert_eq!(stays(&mounts("shared"), &volumes, false), None);
        assert!(stays(&mounts("own"), &volumes, false).is_some_and(|why| why.contains("`own`")));
        assert!(stays(&mounts(""), &volumes, false).is_some_and(|why| why.contains("/data")));
        assert_eq!(stays(&mounts("own"), &volumes, true), None, "where it is, it is there");
        let own = |kind| with(vec![Mount::new(kind, "", "/cache")]);
        for kind in [MountKind::Volume, MountKind::Scratch, MountKind::Tmpfs] {
            assert!(stays(&own(kind), &volumes, true).is_some_and(|why| why.contains("/cache")), "{kind:?}");
        }
    }

    #[test]
    fn a_move_that_nobody_carries_out_is_given_up_unless_the_successor_runs() {
        assert_eq!(left(Some(Phase::Placed)), Left::Stays { stop: true });
        assert_eq!((left(Some(Phase::Lost)), left(Some(Phase::Stopping))), (Left::Stays { stop: false }, Left::Stays { stop: false }));
        assert_eq!((left(Some(Phase::Running)), left(None)), (Left::Nothing, Left::Nothing));
    }

    #[test]
    fn jobs_and_what_must_not_run_twice_are_not_moved() {
        let of = |kind| stays(&Workload { kind, ..Workload::default() }, &BTreeMap::new(), true);
        assert_eq!((of(WorkloadKind::Stateless), of(WorkloadKind::Stateful)), (None, None));
        assert!(of(WorkloadKind::Global).is_some() && of(WorkloadKind::Job).is_some() && of(WorkloadKind::CronJob).is_some());
        let mut fenced = Workload::default();
        fenced.placement.fenced = true;
        assert!(stays(&fenced, &BTreeMap::new(), true).is_some_and(|why| why.contains("fenced")));
    }

    #[test]
    fn a_node_takes_what_it_has_room_for() {
        gantry_testkit::clause("6.3.3.x");
        let facts = Facts { architecture: "amd64".into(), cpu_millis: 2000, memory_bytes: 1 << 30, ..Facts::default() };
        let other = Facts { architecture: "arm64".into(), ..Facts::default() };
        let settings = NodeSettings::default();
        let target = || Target {
            ready: true,
            open: true,
            facts: &facts,
            settings: &settings,
            reserved_cpu_millis: 1500,
            reserved_memory_bytes: 0,
            source: Some(&facts),
        };
        assert_eq!(fits(&target(), 500, 1 << 20, false), None);
        assert!(fits(&target(), 600, 1 << 20, false).is_some_and(|why| why.contains("processors")));
        assert!(fits(&target(), 100, 2 << 30, false).is_some_and(|why| why.contains("memory")));
        assert_eq!(fits(&target(), 600, 2 << 30, true), None, "it has its room there already");
        assert!(fits(&Target { open: false, ..target() }, 1, 1, false).is_some() && fits(&Target { ready: false, ..target() }, 1, 1, true).is_some());
        assert!(fits(&Target { source: Some(&other), ..target() }, 1, 1, false).is_some_and(|why| why.contains("arm64")));
    }
}
