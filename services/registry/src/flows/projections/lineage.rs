//! Which index lists which image.

use async_trait::async_trait;
use gantry_contract::registry::RepositoryEvent as Event;
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use sea_orm::DatabaseTransaction;

use crate::store::lineage;

pub struct Lineage;

#[async_trait]
impl Projection for Lineage {
    fn name(&self) -> &'static str {
        "lineage"
    }

    fn ddl(&self) -> &'static str {
        r#"create table index_children (repository text collate "C" not null, parent text not null, child text not null, primary key (repository, parent, child));
        create index index_children_child on index_children (repository, child)"#
    }

    fn tables(&self) -> &'static [&'static str] {
        &["index_children"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, recorded: &Recorded) -> anyhow::Result<()> {
        if !recorded.is::<Event>() {
            return Ok(());
        }
        match recorded.decode::<Event>()? {
            Event::ManifestPushed { repository, digest, manifests, .. } if !manifests.is_empty() => {
                lineage::add_children(tx, &repository, &digest, &manifests).await?;
            }
            Event::ManifestDeleted { repository, digest, .. } => lineage::remove_children(tx, &repository, &digest).await?,
            _ => {}
        }
        Ok(())
    }
}
