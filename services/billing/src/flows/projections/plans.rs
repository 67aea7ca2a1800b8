//! `price_plans` and `plan_assignments`.

use async_trait::async_trait;
use gantry_contract::billing::PricePlanEvent;
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DatabaseTransaction, EntityTrait, Set};

use crate::store::entities::{plan, plan_assignment};

pub struct PricePlans;

#[async_trait]
impl Projection for PricePlans {
    fn name(&self) -> &'static str {
        "price_plans"
    }
    fn ddl(&self) -> &'static str {
        "create table price_plans (name text primary key, currency text not null, prices json not null, version bigint not null, published_at timestamptz not null);
         create table plan_assignments (org uuid primary key, plan text not null)"
    }
    fn tables(&self) -> &'static [&'static str] {
        &["price_plans", "plan_assignments"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if !event.is::<PricePlanEvent>() {
            return Ok(());
        }
        match event.decode::<PricePlanEvent>()? {
            PricePlanEvent::Published { name, currency, prices } => {
                let row = plan::ActiveModel {
                    name: Set(name),
                    currency: Set(currency),
                    prices: Set(serde_json::to_value(prices)?),
                    version: Set(event.version),
                    published_at: Set(event.at),
                };
                let update = OnConflict::column(plan::Column::Name)
                    .update_columns([plan::Column::Currency, plan::Column::Prices, plan::Column::Version, plan::Column::PublishedAt])
                    .to_owned();
                plan::Entity::insert(row).on_conflict(update).exec_without_returning(tx).await?;
            }
            PricePlanEvent::Assigned { name, org, .. } => {
                let row = plan_assignment::ActiveModel { org: Set(org.0), plan: Set(name) };
                let update = OnConflict::column(plan_assignment::Column::Org).update_column(plan_assignment::Column::Plan).to_owned();
                plan_assignment::Entity::insert(row).on_conflict(update).exec_without_returning(tx).await?;
            }
        }
        Ok(())
    }
}
