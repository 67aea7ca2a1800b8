//! Quotas: setting them, showing them with what is in use, and reserving against them.

use gantry_contract::billing::Limits;
use gantry_es::Meta;
use gantry_es_pg::{Expect, Options};
use gantry_kernel::{Problem, Result, Scope};
use sea_orm::EntityTrait;
use serde::Serialize;

use crate::App;
use crate::domain::amounts::{self, Amounts};
use crate::domain::quota::Command;
use crate::store::entities::quota;
use crate::store::reservations::{self, Reservation};
use gantry_host::from_execute;

/// Limits of one holder and what is in use.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Quota {
    /// "org:<uuid>", "project:<uuid>" or "user:<uuid>".
    pub holder: String,
    pub limits: Limits,
    /// `set`: by an administrator; `default`: from the platform's configuration.
    #[schema(value_type = String)]
    pub source: &'static str,
    pub used: Amounts,
    /// For `If-Match`; 0 when nothing was ever set.
    pub version: i64,
}

impl App {
    /// # Errors
    /// When the database refuses.
    pub async fn quota(&self, holder: &str) -> Result<Quota> {
        let row = quota::Entity::find_by_id(holder).one(&self.host.db().orm).await.map_err(Problem::internal)?;
        let used = reservations::in_use(&self.host.db().pool, holder).await.map_err(Problem::internal)?;
        let (limits, source, version) = match row {
            Some(row) => (serde_json::from_value(row.limits).map_err(Problem::internal)?, "set", row.version),
            None => (self.defaults.of(holder).clone(), "default", 0),
        };
        Ok(Quota { holder: holder.to_owned(), limits, source, used, version })
    }

    /// # Errors
    /// Contradicting limits, or another version than expected.
    pub async fn set_quota(&self, holder: &str, scope: Option<Scope>, limits: Limits, expect: Expect, meta: Meta) -> Result<Quota> {
        let command = Command::Set { holder: holder.to_owned(), scope, limits };
        let options = Options { meta, expect, ..Options::default() };
        let done = self.quotas.execute(holder, command, options).await.map_err(from_execute)?;
        self.host.settled(done.position).await;
        self.quota(holder).await
    }

    /// `check_only`: it is only said whether it would be granted.
    ///
    /// # Errors
    /// `billing.quota_exceeded` with the limit, what is used and what was asked for.
    pub async fn reserve(&self, wanted: &Reservation, check_only: bool) -> Result<()> {
        let too_large = [wanted.claim.total.cpu_millis, wanted.claim.total.memory_bytes, wanted.claim.total.storage_bytes].iter().any(|v| *v > amounts::MAX);
        if too_large {
            return Err(Problem::invalid("total", format!("figures must be at most {}", amounts::MAX)));
        }
        let done = reservations::reserve(&self.host.db().pool, wanted, &self.defaults, check_only, self.host.env.now()).await.map_err(Problem::internal)?;
        done.map_err(Problem::from)
    }
}
