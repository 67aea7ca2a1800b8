//! What a revision that is being replaced goes on to reserve while the next one stands beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_kernel::{AppId, Name, Problem};

use super::change::{scaled, scaled_in};
use super::context::Scheduler;
use super::models;
use super::rollout;
use crate::domain::model::{Demand, Model, ReleaseStrategy};
use crate::store;

/// Of the release under way to `goal`, with the numbers that `scale` says.
///
/// # Errors
/// When the old revision cannot be read.
pub async fn now(s: &Scheduler, row: &store::app::Model, goal: &Model, scale: &BTreeMap<Name, u32>, nodes: u32) -> Result<Demand, Problem> {
    let exchanges = row.release_revision.is_some() && ReleaseStrategy::exchanges(&row.release_strategy);
    match row.release_from.filter(|_| exchanges) {
        Some(from) => {
            let base = model(s, row, from).await?;
            Ok(base.exchanged().demand(&rollout::beside(row, scale, &base, goal), nodes))
        }
        None => Ok(Demand::default()),
    }
}

/// Of what runs now, if `next` was deployed.
///
/// # Errors
/// When the revision at work cannot be read.
pub async fn beside_next(s: &Scheduler, row: &store::app::Model, next: &Model, nodes: u32) -> Result<Demand, Problem> {
    if row.stopped || next.release.strategy == ReleaseStrategy::Rolling {
        return Ok(Demand::default());
    }
    let switched = row.release_revision.filter(|_| ReleaseStrategy::exchanges(&row.release_strategy) && row.release_percent >= 100);
    let Some(base) = switched.or(row.finished) else { return Ok(Demand::default()) };
    let same = row.release_revision.is_some() && row.release_from == Some(base);
    let before: BTreeMap<Name, u32> = if same { scaled_in(&row.base_scale) } else { scaled(row) };
    let base = model(s, row, base).await?;
    // As in the first stage, where the next one has none of the requests yet.
    let scale = crate::domain::rollout::beside(before, &scaled_in(&row.autoscale), 0, &base, next);
    Ok(base.exchanged().demand(&scale, nodes))
}

async fn model(s: &Scheduler, row: &store::app::Model, revision: i64) -> Result<Arc<Model>, Problem> {
    s.models.get(&s.host, AppId(row.id), revision.unsigned_abs()).await.map_err(|e| models::refused(e, revision.unsigned_abs()))
}
