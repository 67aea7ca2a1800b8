//! One application as nodes are told of it: made anew only if its row or its instances have changed. What uses contents that its space
//! keeps is made in each round, since these may be set anew.

use std::sync::Arc;

use gantry_kernel::AppId;

use super::reconcile::Reconciler;
use crate::app::kept::filling;
use crate::app::view;
use crate::domain::wanted::{AppView, Reports};
use crate::store;

/// As it was made last, and of what.
pub(super) struct Cut {
    row: store::app::Model,
    /// See [`Reconciler::change_of`].
    change: u64,
    pub(super) view: Arc<AppView>,
}

impl Reconciler {
    /// With all values and contents; `false`: some of its revisions cannot be opened. What was made last stays at hand then.
    pub(super) async fn cut(&mut self, row: &store::app::Model) -> anyhow::Result<(Arc<AppView>, bool)> {
        let id = AppId(row.id);
        let change = self.change_of(id).await?;
        if let Some(cut) = self.pushed.cuts.get(&id).filter(|cut| cut.change == change && cut.row == *row) {
            return Ok((Arc::clone(&cut.view), true));
        }
        let alive = self.alive_of(id).await?;
        let mut seeing = view::see_standing(&self.s, row.clone(), alive, &Reports::new()).await?;
        let (mut whole, mut lasts) = (seeing.unreadable.is_none(), true);
        // With the values and contents that the outlines lack.
        for (revision, model) in &mut seeing.view.models {
            match self.s.models.get(&self.s.host, id, *revision).await {
                Ok(full) => {
                    let filled = filling::fill(&self.s, id, *revision, &full).await?;
                    lasts &= filled.is_none();
                    *model = filled.map_or(full, Arc::new);
                }
                Err(error) => {
                    self.s.unreadable.tell("revision", format_args!("{id}/{revision}"), format_args!("{error:#}"), "nodes go on with what they were told last");
                    whole = false;
                }
            }
        }
        let view = Arc::new(seeing.view);
        if whole && lasts {
            self.pushed.cuts.insert(id, Cut { row: row.clone(), change, view: Arc::clone(&view) });
        } else if whole {
            self.pushed.cuts.remove(&id);
        }
        Ok((view, whole))
    }
}
