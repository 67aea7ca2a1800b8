//! What an organisation used, and between which hours.

use gantry_kernel::{OffsetDateTime, OrgId, Problem, ProjectId, Result};
use rust_decimal::Decimal;
use serde::Serialize;
use time::Duration;

use crate::App;
use crate::domain::money::QUANTITY_SCALE;
use crate::domain::sample::hour_of;
use crate::store::usage;

/// How much of a meter one application, pipeline or repository used.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct UsageLine {
    pub project: ProjectId,
    pub project_name: String,
    /// "app:<uuid>", "run:<uuid>", "repository:<name>".
    pub holder: String,
    pub holder_name: String,
    /// In billed units, e.g. `cpu_core_hours`; `reserved_...` is what was reserved, used or not.
    pub meter: String,
    #[schema(value_type = String)]
    pub quantity: Decimal,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Usage {
    /// Whole hours, UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub to: OffsetDateTime,
    pub items: Vec<UsageLine>,
}

impl App {
    /// Use from the hour of `from` to the end of the hour of `to`.
    ///
    /// # Errors
    /// `from` after `to`, or more than 400 days.
    pub async fn usage(&self, org: OrgId, project: Option<ProjectId>, from: OffsetDateTime, to: OffsetDateTime) -> Result<Usage> {
        if from > to {
            return Err(Problem::invalid("from", "must not be after `to`"));
        }
        if to - from > Duration::days(400) {
            return Err(Problem::invalid("from", "must be at most 400 days before `to`"));
        }
        let from = hour_of(from);
        let end = if hour_of(to) == to { to } else { hour_of(to) + Duration::HOUR };
        let mut used = usage::between(&self.host.db().pool, org, project, from, end).await.map_err(Problem::internal)?;
        let reserved = usage::reserved_between(&self.host.db().pool, org, from, end.min(self.host.env.now())).await.map_err(Problem::internal)?;
        used.extend(reserved.into_iter().filter(|u| project.is_none_or(|p| p == u.project)));
        used.sort_by(|a, b| (&a.project, &a.holder_name, &a.meter).cmp(&(&b.project, &b.holder_name, &b.meter)));
        let line = |u: crate::domain::bill::Used| UsageLine {
            project_name: self.project_name(u.project),
            project: u.project,
            holder: u.holder,
            holder_name: u.holder_name,
            meter: u.meter,
            quantity: u.quantity.round_dp(QUANTITY_SCALE).normalize(),
        };
        Ok(Usage { from, to: end, items: used.into_iter().map(line).collect() })
    }
}
