//! Which network policies of a space select the instances of an application.

use std::collections::BTreeMap;

use gantry_kernel::{AppId, Problem, SpaceId};
use serde::Serialize;

use super::context::Scheduler;
use super::deploy::database;
use crate::domain::isolation::{Bound, labels, selecting as chosen};
use crate::domain::model::Model;
use crate::domain::stored;
use crate::store;

/// A network policy of the space that selects a workload's instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SelectingBody {
    pub workload: String,
    /// The application that brought it.
    pub app: String,
    pub name: String,
    /// It limits what they take in.
    pub ingress: bool,
    /// It limits what they send.
    pub egress: bool,
}

/// # Errors
/// When the database refuses.
pub async fn selecting(s: &Scheduler, row: &store::app::Model, outline: &Model) -> Result<Vec<SelectingBody>, Problem> {
    let mut models: BTreeMap<String, Model> = BTreeMap::new();
    for other in store::apps(s.orm(), SpaceId(row.space), None, 10_000).await.map_err(database)? {
        // One that cannot be read says so itself.
        let stored = store::revision(s.orm(), AppId(other.id), other.current).await.map_err(database)?.and_then(|r| stored::read(&r.model).ok());
        models.extend(stored.filter(|s| !s.outline.policies.is_empty()).map(|s| (other.name, s.outline)));
    }
    let mut bound = Vec::new();
    for (app, model) in &models {
        bound.extend(model.policies.iter().map(|(name, policy)| Bound { app, name, policy }));
    }
    let mut out = Vec::new();
    for (name, workload) in &outline.workloads {
        let seen = labels(&workload.labels, (AppId(row.id), row.name.as_str()), name.as_str(), &row.space_name);
        out.extend(chosen(&bound, &seen).into_iter().map(|b| SelectingBody {
            workload: name.to_string(),
            app: b.app.to_owned(),
            name: b.name.to_owned(),
            ingress: b.policy.ingress.is_some(),
            egress: b.policy.egress.is_some(),
        }));
    }
    Ok(out)
}
