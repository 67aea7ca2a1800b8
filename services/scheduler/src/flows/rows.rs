//! Instances and nodes as the reconciler looks at them: their rows, read whole once and after that only where events have been since.
//! On a large cluster a round would otherwise read all of them several times. What stands here is what the tables showed when
//! everything up to the last followed or appended event could be read in them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use gantry_kernel::{AppId, Name, Uuid};

use super::described::Descriptions;
use super::reconcile::Reconciler;
use crate::domain::engine::Facts;
use crate::store::{self, instance, node};

/// With more changes than this all is read again at once.
const MANY: usize = 20_000;
/// The same of nodes.
const MANY_NODES: usize = 1_000;

#[derive(Default)]
pub(super) struct Rows {
    /// Those that have not ended.
    alive: BTreeMap<Uuid, Arc<instance::Model>>,
    by_node: HashMap<String, BTreeSet<Uuid>>,
    by_app: HashMap<Uuid, BTreeSet<Uuid>>,
    /// Changes so far, and which of them was each application's last.
    changes: u64,
    changed: HashMap<Uuid, u64>,
    /// Instances whose rows may have changed.
    stale: BTreeSet<Uuid>,
    /// Without it nothing of the above counts.
    read: bool,
    /// `None`: they have to be read.
    nodes: Option<Nodes>,
    /// Nodes whose rows may have changed.
    stale_nodes: BTreeSet<String>,
    pub described: Option<Descriptions>,
    /// What agents tell of their nodes and the rows say, too.
    facts: HashMap<String, Arc<Facts>>,
}

/// The nodes' rows as they were last. Shared: on a large cluster a node that is lost is one row of thousands, and the others stay the very
/// same, with all that was made of them.
#[derive(Clone, Default)]
struct Nodes {
    /// All but the removed ones, by name.
    there: Arc<Vec<Arc<node::Model>>>,
    /// The names of those that were removed and may not attach.
    removed: Arc<BTreeSet<String>>,
}

impl Nodes {
    fn of(rows: Vec<node::Model>) -> Self {
        let (mut there, mut removed) = (Vec::new(), BTreeSet::new());
        for row in rows {
            if !row.removed {
                there.push(Arc::new(row));
            } else if was_there(&row) {
                removed.insert(row.name);
            }
        }
        there.sort_by(|a, b| a.name.cmp(&b.name));
        Self { there: Arc::new(there), removed: Arc::new(removed) }
    }

    /// The same with the rows of `stale` as they are in `read` now; one that is not in it is no more.
    fn with(&self, stale: &BTreeSet<String>, read: Vec<node::Model>) -> Self {
        let changed = Self::of(read);
        let others = self.there.iter().filter(|row| !stale.contains(&row.name));
        let mut there: Vec<Arc<node::Model>> = others.chain(changed.there.iter()).cloned().collect();
        there.sort_by(|a, b| a.name.cmp(&b.name));
        let removed = self.removed.iter().filter(|name| !stale.contains(*name)).chain(changed.removed.iter()).cloned();
        Self { there: Arc::new(there), removed: Arc::new(removed.collect()) }
    }
}

/// What was only set for a node that is to come was never removed.
fn was_there(row: &node::Model) -> bool {
    !row.facts.is_null()
}

impl Rows {
    /// Everything has to be read again.
    pub fn forget(&mut self) {
        *self = Self { changes: self.changes, ..Self::default() };
    }

    pub fn instance_changed(&mut self, id: Uuid) {
        self.stale.insert(id);
    }

    pub fn node_changed(&mut self, name: &str) {
        self.facts.remove(name);
        self.stale_nodes.insert(name.to_owned());
    }

    /// All of them.
    pub fn nodes_changed(&mut self) {
        self.nodes = None;
        self.facts.clear();
    }

    /// Are these the very facts that were found in the node's row?
    pub fn has_facts(&self, node: &Name, facts: &Arc<Facts>) -> bool {
        self.facts.get(node.as_str()).is_some_and(|known| Arc::ptr_eq(known, facts))
    }

    pub fn found_facts(&mut self, node: &Name, facts: &Arc<Facts>) {
        self.facts.insert(node.to_string(), Arc::clone(facts));
    }

    fn put(&mut self, row: instance::Model) {
        self.remove(row.id);
        if row.ended_at.is_some() {
            return;
        }
        self.change(row.app);
        self.by_node.entry(row.node.clone()).or_default().insert(row.id);
        self.by_app.entry(row.app).or_default().insert(row.id);
        self.alive.insert(row.id, Arc::new(row));
    }

    fn remove(&mut self, id: Uuid) {
        let Some(row) = self.alive.remove(&id) else { return };
        self.change(row.app);
        drop_from(&mut self.by_node, &row.node, id);
        drop_from(&mut self.by_app, &row.app, id);
    }

    fn change(&mut self, app: Uuid) {
        self.changes += 1;
        self.changed.insert(app, self.changes);
    }

    fn all(&self) -> Vec<Arc<instance::Model>> {
        self.alive.values().cloned().collect()
    }

    fn of(&self, ids: Option<&BTreeSet<Uuid>>) -> Vec<Arc<instance::Model>> {
        ids.into_iter().flatten().filter_map(|id| self.alive.get(id).cloned()).collect()
    }
}

/// What is empty is not kept: nodes and applications come and go.
fn drop_from<K: std::hash::Hash + Eq>(index: &mut HashMap<K, BTreeSet<Uuid>>, key: &K, id: Uuid) {
    let Some(ids) = index.get_mut(key) else { return };
    ids.remove(&id);
    if ids.is_empty() {
        index.remove(key);
    }
}

impl Reconciler {
    /// Reads what may have changed.
    async fn refresh(&mut self) -> anyhow::Result<()> {
        if !self.rows.read || self.rows.stale.len() > MANY {
            let all = store::all_alive(self.s.orm()).await?;
            let (nodes, stale_nodes) = (self.rows.nodes.take(), std::mem::take(&mut self.rows.stale_nodes));
            let (described, facts) = (self.rows.described.take(), std::mem::take(&mut self.rows.facts));
            self.rows = Rows { nodes, stale_nodes, described, facts, read: true, changes: self.rows.changes, ..Rows::default() };
            all.into_iter().for_each(|row| self.rows.put(row));
            return Ok(());
        }
        if self.rows.stale.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = self.rows.stale.iter().copied().collect();
        let changed = store::instances(self.s.orm(), &ids).await?;
        self.rows.stale.clear();
        // One that is not there has not been placed, or its table was emptied.
        ids.into_iter().for_each(|id| self.rows.remove(id));
        changed.into_iter().for_each(|row| self.rows.put(row));
        Ok(())
    }

    /// All instances that have not ended, by id.
    pub(super) async fn alive(&mut self) -> anyhow::Result<Vec<Arc<instance::Model>>> {
        self.refresh().await?;
        Ok(self.rows.all())
    }

    /// Those on a node, by id.
    pub(super) async fn alive_on(&mut self, node: &str) -> anyhow::Result<Vec<Arc<instance::Model>>> {
        self.refresh().await?;
        Ok(self.rows.of(self.rows.by_node.get(node)))
    }

    /// An application's, by workload and number.
    pub(super) async fn alive_of(&mut self, app: AppId) -> anyhow::Result<Vec<instance::Model>> {
        self.refresh().await?;
        let mut own: Vec<instance::Model> = self.rows.of(self.rows.by_app.get(&app.0)).iter().map(|row| (**row).clone()).collect();
        own.sort_by(|a, b| (&a.workload, a.number, a.id).cmp(&(&b.workload, b.number, b.id)));
        Ok(own)
    }

    /// Those of several applications.
    pub(super) async fn alive_of_all(&mut self, apps: &BTreeSet<AppId>) -> anyhow::Result<Vec<Arc<instance::Model>>> {
        self.refresh().await?;
        Ok(apps.iter().flat_map(|app| self.rows.of(self.rows.by_app.get(&app.0))).collect())
    }

    /// A number that moves with every change of an application's instances.
    pub(super) async fn change_of(&mut self, app: AppId) -> anyhow::Result<u64> {
        self.refresh().await?;
        Ok(self.rows.changed.get(&app.0).copied().unwrap_or(0))
    }

    /// Reads the nodes that may have changed, or all.
    async fn refresh_nodes(&mut self) -> anyhow::Result<Nodes> {
        let known = self.rows.nodes.clone().filter(|_| self.rows.stale_nodes.len() <= MANY_NODES);
        let nodes = match known {
            Some(known) if self.rows.stale_nodes.is_empty() => return Ok(known),
            Some(known) => {
                let names: Vec<String> = self.rows.stale_nodes.iter().cloned().collect();
                let read = store::nodes_named(self.s.orm(), &names).await?;
                known.with(&self.rows.stale_nodes, read)
            }
            None => Nodes::of(store::all_nodes(self.s.orm()).await?),
        };
        self.rows.stale_nodes.clear();
        self.rows.nodes = Some(nodes.clone());
        Ok(nodes)
    }

    /// All nodes that were not removed, by name. Those that have not changed are the very same as before.
    pub(super) async fn nodes(&mut self) -> anyhow::Result<Arc<Vec<Arc<node::Model>>>> {
        Ok(self.refresh_nodes().await?.there)
    }

    /// The names of those that were removed and may not attach.
    pub(super) async fn removed_nodes(&mut self) -> anyhow::Result<Arc<BTreeSet<String>>> {
        Ok(self.refresh_nodes().await?.removed)
    }
}

#[cfg(test)]
mod tests {
    use gantry_kernel::OffsetDateTime;

    use super::*;

    fn row(id: u128, node: &str, ended: bool) -> instance::Model {
        let at = OffsetDateTime::UNIX_EPOCH;
        let (id, app) = (Uuid::from_u128(id), Uuid::from_u128(100));
        instance::Model { id, app, node: node.into(), ended_at: ended.then_some(at), ..instance::Model::running(at) }
    }

    fn on(rows: &Rows, node: &str) -> Vec<u128> {
        rows.of(rows.by_node.get(node)).iter().map(|row| row.id.as_u128()).collect()
    }

    #[test]
    fn a_row_is_found_where_it_stands_now_and_not_once_it_has_ended() {
        let mut rows = Rows::default();
        for id in [2, 1] {
            rows.put(row(id, "a", false));
        }
        assert_eq!(on(&rows, "a"), [1, 2]);
        rows.put(row(1, "b", false));
        assert_eq!((on(&rows, "a"), on(&rows, "b")), (vec![2], vec![1]));
        rows.put(row(2, "a", true));
        assert_eq!((on(&rows, "a"), rows.all().len()), (vec![], 1));
        assert!(!rows.by_node.contains_key("a"), "nothing is kept of a node without instances");
        rows.remove(Uuid::from_u128(1));
        assert!(rows.by_app.is_empty() && rows.by_node.is_empty());
    }

    #[test]
    fn of_nodes_only_those_that_have_changed_are_read_and_the_others_stay_the_very_same() {
        let named = node::Model::named;
        let removed = |name: &str| node::Model { removed: true, ..named(name) };
        let to_come = |name: &str| node::Model { facts: serde_json::Value::Null, ..removed(name) };
        let before = Nodes::of(vec![named("c"), removed("x"), named("a"), named("b"), to_come("y")]);
        let names = |nodes: &Nodes| nodes.there.iter().map(|row| row.name.clone()).collect::<Vec<_>>();
        assert_eq!((names(&before), before.removed.iter().cloned().collect::<Vec<_>>()), (vec!["a".into(), "b".into(), "c".into()], vec!["x".to_owned()]));
        // One is lost, one was removed, one came back, one is there at last, one is new, and of one nothing is left.
        let stale = ["b", "a", "x", "y", "aa", "c"].map(str::to_owned).into();
        let lost = node::Model { lost: true, ..named("b") };
        let now = vec![lost.clone(), removed("a"), named("x"), named("y"), named("aa")];
        let after = before.with(&stale, now.clone());
        let whole = Nodes::of(now);
        assert_eq!((&after.there, &after.removed), (&whole.there, &whole.removed), "as if all were read");
        assert_eq!(names(&after), ["aa", "b", "x", "y"]);
        let untouched = after.with(&["b".to_owned()].into(), vec![lost]);
        assert!(untouched.there.iter().zip(after.there.iter()).all(|(now, before)| Arc::ptr_eq(now, before) == (now.name != "b")));
    }

    #[test]
    fn changes_are_counted_on_when_all_is_read_again() {
        let (mut rows, app) = (Rows::default(), Uuid::from_u128(100));
        rows.put(row(1, "a", false));
        let before = rows.changed[&app];
        rows.forget();
        assert!(rows.changed.is_empty());
        rows.put(row(1, "a", false));
        assert!(rows.changed[&app] > before);
    }
}
