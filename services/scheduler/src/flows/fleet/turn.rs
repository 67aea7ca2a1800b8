//! Whose turn it is: a release goes over a space's clusters in their order, and a cluster is told of the new revision when all before
//! it have it. So one that fails has reached one cluster, and goes back there.

use std::collections::BTreeSet;

use gantry_kubernetes::{Kind, REVISION};
use serde_json::Value;

use crate::adapters::clusters::Running;
use crate::flows::advance::Subject;

pub(super) struct Turns {
    revision: u64,
    staged: bool,
    /// What those that stand as before wait for.
    first: Option<String>,
}

impl Turns {
    /// `lost`: some cluster is. Then all go on at once, because the others have to take over what it had; so they do to stop.
    pub(super) fn of(subject: &Subject, lost: bool) -> Self {
        let staged = subject.row.release_revision.is_some() && !subject.row.stopped && !lost;
        let held = staged && subject.row.release_paused;
        Self { revision: subject.view.current, staged, first: held.then(|| "its release goes on".to_owned()) }
    }

    /// What a cluster waits for before it is told of the revision; `None`: it is its turn, or it has begun, or has nothing yet.
    pub(super) fn waits_for(&self, running: &Running, owner: &str) -> Option<&str> {
        let first = self.first.as_deref()?;
        let kinds = ["Deployment", "StatefulSet", "DaemonSet"].into_iter().filter_map(|kind| Kind::of("apps/v1", kind));
        let objects: Vec<Value> = kinds.flat_map(|kind| running.engine.objects(owner, kind)).collect();
        stands_before(&objects, self.revision).then_some(first)
    }

    /// `settled`: the cluster has all of the revision.
    pub(super) fn met(&mut self, cluster: &str, settled: bool) {
        if self.staged && !settled {
            self.first.get_or_insert_with(|| format!("{cluster} has the release"));
        }
    }
}

/// Are there workloads, and all of them of other revisions?
fn stands_before(objects: &[Value], revision: u64) -> bool {
    let of = |object: &Value| object["spec"]["template"]["metadata"]["labels"][REVISION].as_str().and_then(|r| r.parse().ok());
    let revisions: BTreeSet<u64> = objects.iter().filter_map(of).collect();
    !revisions.is_empty() && !revisions.contains(&revision)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cluster_stands_as_before_until_the_first_of_its_objects_is_told() {
        let object = |revision: &str| json!({ "spec": { "template": { "metadata": { "labels": { REVISION: revision } } } } });
        assert!(stands_before(&[object("1"), object("1")], 2));
        assert!(!stands_before(&[object("1"), object("2")], 2), "it has begun");
        assert!(!stands_before(&[], 2) && !stands_before(&[json!({})], 2), "there is nothing that could wait");
    }

    #[test]
    fn those_behind_wait_for_the_first_that_has_it_not_yet() {
        let mut turns = Turns { revision: 2, staged: true, first: None };
        turns.met("east", true);
        assert_eq!(turns.first, None);
        turns.met("west", false);
        turns.met("north", false);
        assert_eq!(turns.first.as_deref(), Some("west has the release"));
        let mut at_once = Turns { revision: 2, staged: false, first: None };
        at_once.met("east", false);
        assert_eq!(at_once.first, None);
    }
}
