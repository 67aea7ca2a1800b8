//! `quotas`: the limits somebody set, as `store::reservations` reads them.

use async_trait::async_trait;
use gantry_contract::billing::QuotaEvent;
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DatabaseTransaction, EntityTrait, Set};

use crate::store::entities::quota;

pub struct Quotas;

#[async_trait]
impl Projection for Quotas {
    fn name(&self) -> &'static str {
        "quotas"
    }
    fn ddl(&self) -> &'static str {
        "create table quotas (holder text primary key, limits json not null, version bigint not null, set_by text not null, set_at timestamptz not null)"
    }
    fn tables(&self) -> &'static [&'static str] {
        &["quotas"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if !event.is::<QuotaEvent>() {
            return Ok(());
        }
        let QuotaEvent::Set { holder, limits, .. } = event.decode()?;
        let row = quota::ActiveModel {
            holder: Set(holder),
            limits: Set(serde_json::to_value(limits)?),
            version: Set(event.version),
            set_by: Set(event.meta.actor.clone()),
            set_at: Set(event.at),
        };
        let update = OnConflict::column(quota::Column::Holder)
            .update_columns([quota::Column::Limits, quota::Column::Version, quota::Column::SetBy, quota::Column::SetAt])
            .to_owned();
        quota::Entity::insert(row).on_conflict(update).exec_without_returning(tx).await?;
        Ok(())
    }
}
