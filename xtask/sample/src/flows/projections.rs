//! The read model.

use async_trait::async_trait;
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use sea_orm::DatabaseTransaction;

use crate::domain::item::ItemEvent;
use crate::store;

pub struct Items;

#[async_trait]
impl Projection for Items {
    fn name(&self) -> &'static str {
        "items"
    }

    fn ddl(&self) -> &'static str {
        "create table items (name text primary key, text text not null, version bigint not null)"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["items"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if !event.is::<ItemEvent>() {
            return Ok(());
        }
        let ItemEvent::Written { name, text } = event.decode::<ItemEvent>()?;
        store::put(tx, name, text, event.version).await?;
        Ok(())
    }
}
