//! What the rows of nodes say of them, read from its JSON once for as long as the rows stand.

use std::sync::Arc;

use gantry_kernel::Name;

use super::reconcile::Reconciler;
use crate::domain::engine::Facts;
use crate::domain::placement::NodeSettings;
use crate::store::node;

pub(super) struct Described {
    pub name: Name,
    pub facts: Facts,
    pub settings: NodeSettings,
    /// What its operators said, or what it is, is not known.
    pub unknown: bool,
}

/// `None`: what it is called is no name.
type Description = Option<Arc<Described>>;

/// Of each of these rows, in their order.
pub(super) type Descriptions = (Arc<Vec<Arc<node::Model>>>, Arc<Vec<Description>>);

impl Reconciler {
    /// Of each of the rows that [`Reconciler::nodes`] gave.
    pub(super) fn described(&mut self, rows: &Arc<Vec<Arc<node::Model>>>) -> Arc<Vec<Description>> {
        if let Some((_, read)) = self.rows.described.as_ref().filter(|(of, _)| Arc::ptr_eq(of, rows)) {
            return Arc::clone(read);
        }
        let (before, known) = self.rows.described.take().unwrap_or_default();
        let read = Arc::new(again(before.as_slice(), known.as_slice(), rows.as_slice(), |row| self.describe(row).map(Arc::new)));
        self.rows.described = Some((Arc::clone(rows), Arc::clone(&read)));
        read
    }

    fn describe(&self, row: &node::Model) -> Option<Described> {
        let name = Name::parse(&row.name).ok()?;
        let (facts, settings) = (serde_json::from_value::<Facts>(row.facts.clone()), serde_json::from_value::<NodeSettings>(row.settings.clone()));
        let unknown = settings.is_err() || facts.is_err();
        let facts = facts.unwrap_or_else(|error| {
            self.s.unreadable.tell("node's description", &row.name, error, "nothing is placed on it until its agent tells it anew");
            Facts::default()
        });
        let settings = settings.unwrap_or_else(|error| {
            self.s.unreadable.tell("node's settings", &row.name, error, "nothing is placed on it until they are set anew");
            NodeSettings::default()
        });
        Some(Described { name, facts, settings, unknown })
    }
}

/// What is made of each of `rows`: of those that stand as they did `before`, what was made then. Both are by name.
fn again<T: Clone>(before: &[Arc<node::Model>], made: &[T], rows: &[Arc<node::Model>], mut make: impl FnMut(&node::Model) -> T) -> Vec<T> {
    let mut old = before.iter().zip(made).peekable();
    let one = |row: &Arc<node::Model>| {
        while old.next_if(|(known, _)| known.name < row.name).is_some() {}
        old.peek().filter(|(known, _)| Arc::ptr_eq(known, row)).map_or_else(|| make(row), |(_, made)| (*made).clone())
    };
    rows.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> Arc<node::Model> {
        Arc::new(node::Model::named(name))
    }

    #[test]
    fn only_what_has_changed_is_described_anew() {
        let (a, b, d) = (row("a"), row("b"), row("d"));
        let before = [a.clone(), b, d.clone()];
        let made = ["a1", "b1", "d1"];
        // One changed, one came, and the last one stands as it did.
        let rows = [a, row("b"), row("c"), d];
        let mut asked = Vec::new();
        let now = again(&before, &made, &rows, |row| {
            asked.push(row.name.clone());
            "new"
        });
        assert_eq!((now, asked), (vec!["a1", "new", "new", "d1"], vec!["b".to_owned(), "c".to_owned()]));
        // One went.
        let left = [rows[0].clone(), rows[3].clone()];
        assert_eq!(again(&before, &made, &left, |_| "new"), ["a1", "d1"]);
        assert_eq!(again(&[], &[], &left, |_| "new"), ["new", "new"]);
    }
}
