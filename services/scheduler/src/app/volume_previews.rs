//! What would become of a volume if it was deleted, kept, brought back, filled or backed up, for whoever looks before. Nothing is written, and
//! nodes and clusters are asked only for what they have. What refuses the change refuses this, as far as it can be known before.

use std::time::Duration;

use gantry_auth::SpaceRef;
use gantry_kernel::{Kind, Problem};
use serde::Serialize;

use super::context::Scheduler;
use super::volumes::{self, VolumeBody, VolumeVerb};
use super::{cluster_content, cluster_volumes};
use crate::adapters::backups::BackupBody;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct VolumeChangePreview {
    /// What would be in the audit trail: `volume.deleted`.
    pub action: String,
    pub volume: String,
    /// Where it is, or would be.
    pub node: String,
    /// So many bytes would be deleted, or replaced by others; 0 if what is there stays.
    pub lost_bytes: u64,
    /// Snapshots that would go.
    pub snapshots: Vec<String>,
    /// What else is to be known, a sentence each.
    pub notes: Vec<String>,
}

/// A verb of [`volumes::ask`].
///
/// # Errors
/// As of the change itself: a snapshot that is there already or is not, a volume in use, a cluster that lacks something.
pub async fn change(s: &Scheduler, space: &SpaceRef, volume: &VolumeBody, verb: &VolumeVerb) -> Result<VolumeChangePreview, Problem> {
    let on_cluster = cluster_volumes::is_there(volume);
    if on_cluster {
        cluster_volumes::check(s, space, volume, verb).await?;
    } else if let Some(problem) = volumes::refused(&volume.name, &volume.snapshots, verb) {
        return Err(problem);
    } else if matches!(verb, VolumeVerb::RollBack(_) | VolumeVerb::Delete) {
        unused(volume)?;
    }
    Ok(of_verb(volume, verb, on_cluster))
}

/// A copy or a restored backup, `from` which `target` would have all that it has; it need not be there yet.
///
/// # Errors
/// As of the change itself: a volume in use, or a node or cluster that does not answer.
pub async fn fill(s: &Scheduler, space: &SpaceRef, target: &VolumeBody, action: &str, from: &str) -> Result<VolumeChangePreview, Problem> {
    let there = volumes::list(s, space).await?.items.into_iter().find(|v| v.name == target.name && v.node == target.node);
    if cluster_volumes::is_there(target) {
        cluster_content::check(s, space, target).await?;
    } else if s.agents.attached().iter().any(|node| node.as_str() == target.node) {
        there.as_ref().map_or(Ok(()), unused)?;
    } else {
        let detail = format!("the agent of node {} does not answer", target.node);
        return Err(Problem::new(Kind::Unavailable, "scheduler.node_away", detail).retry_after(Duration::from_secs(5)));
    }
    Ok(of_fill(there.as_ref(), target, action, from))
}

/// A backup that would be made.
pub fn back_up(volume: &VolumeBody) -> VolumeChangePreview {
    let how = if cluster_volumes::is_there(volume) { "what it has is read as it is" } else { "what it has now is read from a snapshot made for it" };
    VolumeChangePreview { notes: vec![how.into()], ..nothing(volume, "volume.backed-up") }
}

/// A backup that would be deleted.
pub fn remove_backup(backup: &BackupBody) -> VolumeChangePreview {
    VolumeChangePreview {
        action: "volume.backup-deleted".into(),
        volume: backup.volume.clone(),
        node: "object storage".into(),
        lost_bytes: backup.bytes,
        snapshots: Vec::new(),
        notes: vec!["the volume itself stays as it is".into()],
    }
}

fn nothing(volume: &VolumeBody, action: &str) -> VolumeChangePreview {
    VolumeChangePreview {
        action: action.to_owned(),
        volume: volume.name.clone(),
        node: volume.node.clone(),
        lost_bytes: 0,
        snapshots: Vec::new(),
        notes: Vec::new(),
    }
}

fn of_verb(volume: &VolumeBody, verb: &VolumeVerb, on_cluster: bool) -> VolumeChangePreview {
    let (_, action, _) = verb.words();
    let before = nothing(volume, action);
    match verb {
        VolumeVerb::Snapshot(name) => VolumeChangePreview { notes: vec![format!("what it has now is kept as `{name}`, beside it")], ..before },
        VolumeVerb::RemoveSnapshot(name) => VolumeChangePreview { snapshots: vec![name.clone()], ..before },
        VolumeVerb::RollBack(name) => {
            let kept = on_cluster.then(|| "what it has now is kept as a snapshot of its own before".to_owned());
            let notes = std::iter::once(format!("it has what it had in `{name}`")).chain(kept).collect();
            VolumeChangePreview { lost_bytes: volume.used_bytes, notes, ..before }
        }
        VolumeVerb::Delete => VolumeChangePreview {
            lost_bytes: volume.used_bytes,
            snapshots: volume.snapshots.iter().map(|s| s.name.clone()).collect(),
            notes: vec!["its backups stay".into()],
            ..before
        },
    }
}

fn of_fill(there: Option<&VolumeBody>, target: &VolumeBody, action: &str, from: &str) -> VolumeChangePreview {
    let lost_bytes = there.map_or(0, |v| v.used_bytes);
    let is_new = there.is_none() && !cluster_volumes::is_there(target);
    let notes = if is_new { format!("it is made, with all of {from}") } else { format!("all that it has is replaced by {from}") };
    VolumeChangePreview { lost_bytes, notes: vec![notes], ..nothing(target, action) }
}

/// As its node refuses it then.
fn unused(volume: &VolumeBody) -> Result<(), Problem> {
    if !volume.in_use {
        return Ok(());
    }
    let detail = format!("an instance of `{}` uses it; stop its application first (`gantry app stop`)", volume.app);
    Err(Problem::conflict("scheduler.volume_failed", detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::volumes::SnapshotBody;

    fn volume(node: &str, in_use: bool) -> VolumeBody {
        VolumeBody {
            name: "x.data".into(),
            node: node.into(),
            app: "shop".into(),
            app_id: "x".into(),
            workload: "db".into(),
            size_bytes: 7,
            used_bytes: 5,
            in_use,
            orphaned: false,
            snapshots: vec![SnapshotBody { name: "one".into(), at_unix: 0, used_bytes: 1 }],
        }
    }

    #[test]
    fn what_would_be_lost_is_said() {
        let at = volume("n1", false);
        let of = |verb| of_verb(&at, &verb, false);
        let gone = of(VolumeVerb::Delete);
        assert_eq!((gone.action.as_str(), gone.lost_bytes, gone.snapshots), ("volume.deleted", 5, vec!["one".to_owned()]));
        let back = of(VolumeVerb::RollBack("one".into()));
        assert_eq!((back.action.as_str(), back.lost_bytes, back.snapshots.len(), back.notes.len()), ("volume.rolled-back", 5, 0, 1));
        assert_eq!(of_verb(&at, &VolumeVerb::RollBack("one".into()), true).notes.len(), 2, "a cluster keeps what there was");
        let kept = of(VolumeVerb::Snapshot("two".into()));
        assert_eq!((kept.lost_bytes, kept.snapshots.len()), (0, 0));
        let removed = of(VolumeVerb::RemoveSnapshot("one".into()));
        assert_eq!((removed.lost_bytes, removed.snapshots), (0, vec!["one".to_owned()]));
    }

    #[test]
    fn a_volume_that_is_filled_is_new_or_loses_what_it_has() {
        let target = volume("n2", false);
        let new = of_fill(None, &target, "volume.copied", "y.data");
        assert_eq!((new.lost_bytes, new.notes), (0, vec!["it is made, with all of y.data".to_owned()]));
        let over = of_fill(Some(&target), &target, "volume.restored", "backup b");
        assert_eq!((over.lost_bytes, over.notes), (5, vec!["all that it has is replaced by backup b".to_owned()]));
    }

    #[test]
    fn what_is_in_use_is_refused_before() {
        assert!(unused(&volume("n1", false)).is_ok());
        assert_eq!(unused(&volume("n1", true)).map_err(|p| p.kind), Err(Kind::Conflict));
    }
}
