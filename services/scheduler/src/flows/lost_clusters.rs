//! The part of a round about clusters that cannot be reached: who is lost and who is back becomes an event, once, and stays so
//! over a restart.

use gantry_contract::cluster::ClusterEvent;
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::Append;
use time::Duration;

use super::reconcile::Reconciler;
use crate::domain::fleet::Turn;
use crate::store;

/// Watches that broke are tried again within half a minute; one that is in trouble for other reasons holds nothing up for longer.
const WATCHES: Duration = Duration::seconds(90);

impl Reconciler {
    pub(super) async fn turn_clusters(&mut self) -> anyhow::Result<()> {
        let all = self.s.clusters.all();
        // With none that answers it is rather us who are cut off, and there is nowhere to go.
        if all.len() > 1 && all.iter().all(|(_, one)| one.health.pulse().trouble().is_some()) {
            all.iter().for_each(|(_, one)| one.health.forgive(&self.s.host.env));
            return Ok(());
        }
        for (name, running) in all {
            let grace = Duration::seconds(running.settings.grace_seconds.into());
            // Before it is taken for back, what is there has to be known again.
            let unseen = running.lost && running.engine.connection().problem.is_some();
            let event = match running.health.turn(running.lost, if unseen { grace + WATCHES } else { grace }) {
                Turn::Stays => continue,
                Turn::Lost(reason) => {
                    tracing::warn!(cluster.name = name, reason, "a cluster is lost; what can run elsewhere does");
                    ClusterEvent::Lost { cluster: running.id, reason }
                }
                Turn::Back => {
                    tracing::info!(cluster.name = name, "a cluster is back");
                    ClusterEvent::Returned { cluster: running.id }
                }
            };
            let lost = matches!(event, ClusterEvent::Lost { .. });
            let append = Append::one(StreamId::of::<ClusterEvent>(running.id), None, vec![event.encode()], Meta::system());
            let appended = self.s.host.log().append(append).await?;
            self.settle(appended.position).await?;
            self.s.clusters.set(&name, running.settings, lost);
            self.clusters.stale = true;
            self.dirty.extend(store::cared_for(self.s.orm()).await?);
        }
        Ok(())
    }
}
