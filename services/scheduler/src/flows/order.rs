//! Which workload is replaced first: whoever is restarted with another one waits until that has been.

use gantry_kernel::Name;

use super::advance::{Subject, instances};
use super::world::World;
use crate::app::standing;
use crate::domain::model::{Model, Workload};

/// What a workload waits for before it is replaced; what it has serves until then.
pub(super) fn renews_first(subject: &Subject, goal: &Model, name: &Name, world: &World) -> Option<String> {
    let (row, workload) = (&subject.row, goal.workloads.get(name)?);
    // The old side of an exchange stays as it is.
    if row.release_revision.is_some_and(|revision| revision != row.current) {
        return None;
    }
    let awaited = |needed: &Name| {
        let exchanged = |other: &Workload| standing::is_exchanging(row) && other.is_exchanged();
        goal.workloads.get(needed).is_some_and(|other| !exchanged(other))
    };
    let is_old = |needed: &Name| instances(subject, needed, world).iter().any(|i| !i.current && !i.stopping);
    let first = workload.replaced_after().find(|needed| awaited(needed) && is_old(needed))?;
    Some(format!("waits until `{first}` is replaced, with which it is restarted"))
}
