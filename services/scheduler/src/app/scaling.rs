//! How the number of a workload's instances follows what is measured, as people see it.

use gantry_kernel::{AppId, OffsetDateTime, Problem};
use serde::Serialize;

use super::change::scaled;
use super::context::Scheduler;
use super::deploy::database;
use crate::domain::model::Model;
use crate::store;

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ScalingBody {
    pub workload: String,
    pub min: u32,
    pub max: u32,
    /// Wanted now.
    pub replicas: u32,
    /// Why it follows nothing for now, if that is so.
    pub paused: Option<String>,
    /// What was decided last, with the values it was decided by; empty before the first time.
    pub reason: String,
    #[serde(with = "time::serde::rfc3339::option")]
    pub at: Option<OffsetDateTime>,
}

/// Of all workloads with scaling. `current` is the outline of the row's current revision.
///
/// # Errors
/// When the database refuses.
pub async fn all(s: &Scheduler, row: &store::app::Model, current: &Model) -> Result<Vec<ScalingBody>, Problem> {
    let mut known = store::load_scalings(s.orm(), AppId(row.id)).await.map_err(database)?.known;
    let scale = scaled(row);
    let of = current.workloads.iter().filter_map(|(name, w)| Some((name, w, w.scaling.as_ref()?)));
    let body = |(name, workload, scaling): (&gantry_kernel::Name, &crate::domain::model::Workload, &crate::domain::model::Scaling)| {
        let last = known.remove(name);
        let paused = row.scaling_paused.get(name.as_str()).and_then(serde_json::Value::as_str);
        ScalingBody {
            workload: name.to_string(),
            min: scaling.min,
            max: scaling.max,
            replicas: workload.count(scale.get(name).copied(), 0),
            paused: paused.map(|r| if r.is_empty() { "paused by hand".to_owned() } else { r.to_owned() }),
            reason: last.as_ref().map(|l| l.reason.clone()).unwrap_or_default(),
            at: last.map(|l| l.at),
        }
    };
    Ok(of.map(body).collect())
}
