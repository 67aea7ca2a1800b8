//! Instances of one workload in one revision: to whoever plans they differ in where they stand only. What they have in common is looked up
//! once for all of them; a large cluster has tens of thousands of instances in every round, and a few dozen sorts of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gantry_kernel::{AppId, Name, Uuid};
use gantry_planner::{Cluster, GroupIx};

use super::world::Known;
use crate::domain::model::Workload;
use crate::domain::placement;
use crate::store::instance;

pub(super) struct Alike {
    pub app: AppId,
    pub revision: u64,
    /// `None`: what the workload is called is no name.
    pub name: Option<Name>,
    /// The same for people, and what its application is called.
    pub called: Arc<str>,
    pub app_name: Arc<str>,
    /// What its revision is, if that can be read.
    pub known: Option<Arc<Known>>,
    /// By what they are and do, they may be moved to make the cluster even.
    pub movable: bool,
    /// The planner's, once one of them stands on a node; and of those of them that are on their way out.
    pub group: Option<GroupIx>,
    pub leaving: Option<GroupIx>,
    /// How many of those that stand on nodes are ready and may stay.
    pub ready: u32,
}

impl Alike {
    fn new(row: &instance::Model) -> Self {
        Self {
            app: AppId(row.app),
            revision: row.revision.unsigned_abs(),
            name: Name::parse(&row.workload).ok(),
            called: row.workload.as_str().into(),
            app_name: "".into(),
            known: None,
            movable: false,
            group: None,
            leaving: None,
            ready: 0,
        }
    }

    pub fn workload(&self) -> Option<&Workload> {
        self.known.as_ref()?.model.workloads.get(self.name.as_ref()?)
    }
}

/// All sorts of these instances, and for each instance the place of its own among them.
pub(super) fn sorted(rows: &[Arc<instance::Model>]) -> (Vec<Alike>, Vec<usize>) {
    let (mut sorts, mut of) = (Vec::new(), Vec::with_capacity(rows.len()));
    let mut places: HashMap<(Uuid, i64, &str), usize> = HashMap::new();
    for row in rows {
        let place = places.entry((row.app, row.revision, row.workload.as_str())).or_insert_with(|| {
            sorts.push(Alike::new(row));
            sorts.len() - 1
        });
        of.push(*place);
    }
    (sorts, of)
}

/// How many of a workload are ready, whatever their revision, and how many its newest one's budget keeps.
#[derive(Debug, PartialEq, Eq)]
struct Budgeted {
    revision: u64,
    /// One of its revisions: what may be taken away is counted for all of them together.
    group: GroupIx,
    ready: u32,
    least: Option<u32>,
}

/// Tells the planner how many of each workload may be taken away. `count`: how many of it are wanted.
pub(super) fn allow(cluster: &mut Cluster, sorts: &[Alike], count: impl Fn(AppId, &Name, &Workload) -> u32) {
    for one in budgets(sorts, count).into_values() {
        if let Some(least) = one.least {
            cluster.set_allowance(one.group, Some(one.ready.saturating_sub(least)));
        }
    }
}

fn budgets(sorts: &[Alike], count: impl Fn(AppId, &Name, &Workload) -> u32) -> BTreeMap<(AppId, &Name), Budgeted> {
    let mut budgets = BTreeMap::new();
    for sort in sorts {
        let (Some(group), Some(name), Some(workload)) = (sort.group, &sort.name, sort.workload()) else { continue };
        let one = budgets.entry((sort.app, name)).or_insert(Budgeted { revision: 0, group, ready: 0, least: None });
        one.ready += sort.ready;
        if sort.revision >= one.revision {
            (one.revision, one.least) = (sort.revision, placement::floor(workload, count(sort.app, name, workload)));
        }
    }
    budgets
}

#[cfg(test)]
mod tests {
    use gantry_kernel::OffsetDateTime;

    use super::*;
    use crate::domain::model::{Budget, Model};

    fn row(app: u128, revision: i64, workload: &str, node: &str) -> Arc<instance::Model> {
        let row = instance::Model::running(OffsetDateTime::UNIX_EPOCH);
        Arc::new(instance::Model { app: Uuid::from_u128(app), revision, workload: workload.into(), node: node.into(), ..row })
    }

    #[test]
    fn instances_are_alike_by_application_revision_and_workload_wherever_they_are() {
        let rows = [row(1, 1, "web", "a"), row(1, 1, "web", "b"), row(1, 2, "web", "a"), row(2, 1, "web", "a"), row(1, 1, "db", "a"), row(1, 2, "web", "c")];
        let (sorts, of) = sorted(&rows);
        assert_eq!(of, [0, 0, 1, 2, 3, 1]);
        for (row, at) in rows.iter().zip(of) {
            let sort = &sorts[at];
            assert_eq!((sort.app.0, sort.revision, sort.name.as_ref().map(Name::as_str)), (row.app, row.revision.unsigned_abs(), Some(row.workload.as_str())));
        }
        let (sorts, of) = sorted(&[row(1, 1, "No Name", "a")]);
        assert_eq!((sorts.len(), of, sorts[0].name.as_ref()), (1, vec![0], None));
    }

    #[test]
    fn the_ready_ones_of_all_revisions_count_for_the_newest_ones_budget() {
        let name = Name::parse("web").unwrap();
        let kept = |least: &str| Workload { budget: Some(Budget { min_available: Some(least.into()), ..Budget::default() }), ..Workload::default() };
        let sort = |revision: i64, group: u32, ready: u32, least: &str| Alike {
            known: Some(Arc::new(Known::of(Model { workloads: BTreeMap::from([(name.clone(), kept(least))]), ..Model::default() }))),
            group: Some(GroupIx(group)),
            ready,
            ..Alike::new(&row(1, revision, "web", "a"))
        };
        let wanted = |_: AppId, _: &Name, _: &Workload| 10;
        let expected = |group: u32| Budgeted { revision: 2, group: GroupIx(group), ready: 7, least: Some(4) };
        for (first, second) in [(sort(1, 5, 3, "9"), sort(2, 6, 4, "4")), (sort(2, 5, 4, "4"), sort(1, 6, 3, "9"))] {
            // Of one of which none stands on a node nothing is told.
            let nowhere = Alike { group: None, ..sort(3, 7, 0, "1") };
            let sorts = [first, second, nowhere];
            let found = budgets(&sorts, wanted);
            assert_eq!(found.into_values().collect::<Vec<_>>(), [expected(5)]);
        }
    }
}
