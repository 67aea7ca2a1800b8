//! Live migrations that a process before this one has begun and not ended: who holds a frozen instance lets it run on when nobody asks any
//! more, so its successor is taken back, unless that runs already.

use gantry_contract::scheduler::InstanceEvent;
use gantry_es::Meta;
use gantry_kernel::{AppId, InstanceId};

use super::reconcile::Reconciler;
use crate::domain::migration::{Left, left};
use crate::domain::observe::Phase;
use crate::store;

impl Reconciler {
    /// `begun`: each instance that was to go on elsewhere, with its successor.
    pub(super) async fn end_moves(&mut self, begun: Vec<(InstanceId, InstanceId)>) -> anyhow::Result<()> {
        let (mut events, mut ended) = (Vec::new(), Vec::new());
        for (before, successor) in begun {
            // A round that failed changes nothing of what this process does itself.
            if self.s.moves.is_under_way(before) {
                continue;
            }
            let rows = store::instances(self.s.orm(), &[before.0, successor.0]).await?;
            let row = |id: InstanceId| rows.iter().find(|r| r.id == id.0);
            let Some(app) = row(before).map(|r| AppId(r.app)) else { continue };
            if let Left::Stays { stop } = left(row(successor).map(|r| Phase::parse(&r.phase))) {
                tracing::info!(app.id = %app, instance.id = %before, "a live migration that was not ended is given up");
                events.extend(stop.then_some(InstanceEvent::Stopping { instance: successor, app }));
                events.push(InstanceEvent::Stayed { instance: before, app });
            }
            ended.push(before);
        }
        self.record(events, Meta::system()).await?;
        Ok(store::arrived(self.s.orm(), &ended).await?)
    }
}
