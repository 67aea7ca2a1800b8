//! Price plans: publishing, assigning, and which one an organisation has.

use std::collections::BTreeMap;

use gantry_es::Meta;
use gantry_es_pg::{Expect, Options};
use gantry_kernel::{Name, OffsetDateTime, OrgId, Problem, Result};
use sea_orm::{EntityTrait, QueryOrder};
use serde::Serialize;

use crate::App;
use crate::domain::bill::Prices;
use crate::domain::plan::{self, Command};
use crate::store::entities;
use gantry_host::from_execute;

/// The plan of everybody who has no other.
pub const DEFAULT: &str = "default";

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PricePlan {
    pub name: String,
    pub currency: String,
    /// Billed meter to the price of one unit, a decimal text.
    pub prices: BTreeMap<String, String>,
    pub version: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub published_at: OffsetDateTime,
}

impl TryFrom<entities::plan::Model> for PricePlan {
    type Error = Problem;
    fn try_from(row: entities::plan::Model) -> Result<Self> {
        let prices = serde_json::from_value(row.prices).map_err(Problem::internal)?;
        Ok(Self { name: row.name, currency: row.currency, prices, version: row.version, published_at: row.published_at })
    }
}

impl App {
    /// # Errors
    /// When the database refuses.
    pub async fn price_plans(&self) -> Result<Vec<PricePlan>> {
        let rows = entities::plan::Entity::find().order_by_asc(entities::plan::Column::Name).all(&self.host.db().orm).await.map_err(Problem::internal)?;
        rows.into_iter().map(PricePlan::try_from).collect()
    }

    /// The built-in plans, at the first start only: an administrator's prices are never overwritten.
    ///
    /// # Errors
    /// When the log refuses.
    pub async fn publish_built_in(&self) -> Result<()> {
        for (name, prices) in [(DEFAULT, plan::default_prices()), ("reserved", plan::reserved_prices())] {
            let command = Command::Publish { name: name.into(), currency: self.currency.clone(), prices };
            // Version 0: two replicas that start at once publish it once.
            let options = Options { meta: Meta::system(), expect: Expect::Version(0), ..Options::default() };
            match self.plans.execute(name, command, options).await {
                Ok(_) | Err(gantry_es_pg::ExecuteError::Stale { .. }) => {}
                Err(error) => return Err(from_execute(error)),
            }
        }
        Ok(())
    }

    /// # Errors
    /// A bad price or currency, or another version than expected.
    pub async fn publish_plan(&self, name: &Name, currency: String, prices: BTreeMap<String, String>, expect: Expect, meta: Meta) -> Result<PricePlan> {
        let command = Command::Publish { name: name.to_string(), currency, prices };
        let done = self.plans.execute(name, command, Options { meta, expect, ..Options::default() }).await.map_err(from_execute)?;
        self.host.settled(done.position).await;
        self.price_plan(name.as_str()).await?.ok_or_else(|| Problem::not_found("price plan", name))
    }

    /// # Errors
    /// The plan was never published.
    pub async fn assign_plan(&self, org: OrgId, name: &Name, meta: Meta) -> Result<PricePlan> {
        let done = self.plans.execute(name, Command::Assign { name: name.to_string(), org }, Options::from(meta.tenant(org))).await.map_err(from_execute)?;
        self.host.settled(done.position).await;
        self.plan_of(org).await
    }

    /// The plan an organisation's bills are made with.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn plan_of(&self, org: OrgId) -> Result<PricePlan> {
        let assigned = entities::plan_assignment::Entity::find_by_id(org.0).one(&self.host.db().orm).await.map_err(Problem::internal)?;
        let name = assigned.map_or_else(|| DEFAULT.to_owned(), |a| a.plan);
        self.price_plan(&name).await?.ok_or_else(|| Problem::unavailable("the price plan"))
    }

    async fn price_plan(&self, name: &str) -> Result<Option<PricePlan>> {
        let row = entities::plan::Entity::find_by_id(name).one(&self.host.db().orm).await.map_err(Problem::internal)?;
        row.map(PricePlan::try_from).transpose()
    }
}

impl PricePlan {
    /// # Errors
    /// Never for prices that were checked when published.
    pub fn decimal(&self) -> Result<Prices> {
        plan::parse(&self.prices).map_err(Problem::internal)
    }
}
