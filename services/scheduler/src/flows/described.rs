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

/// Of each of these rows, in their order; `None`: what it is called is no name.
pub(super) type Descriptions = (Arc<Vec<node::Model>>, Arc<Vec<Option<Described>>>);

impl Reconciler {
    /// Of each of the rows that [`Reconciler::nodes`] gave.
    pub(super) fn described(&mut self, rows: &Arc<Vec<node::Model>>) -> Arc<Vec<Option<Described>>> {
        if let Some((_, read)) = self.rows.described.as_ref().filter(|(of, _)| Arc::ptr_eq(of, rows)) {
            return Arc::clone(read);
        }
        let read: Arc<Vec<Option<Described>>> = Arc::new(rows.iter().map(|row| self.describe(row)).collect());
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
