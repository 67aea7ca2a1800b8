//! How an application's row would be after events that nobody has appended: the projection takes them in, and it is taken back.

use gantry_es::Recorded;
use gantry_es_pg::Projection;
use gantry_kernel::AppId;
use sea_orm::{DatabaseConnection, EntityTrait, TransactionTrait};

use super::SchedulerProjection;
use super::entities::app;

/// # Errors
/// When the database refuses, or an event is none of an application's.
pub async fn as_if(db: &DatabaseConnection, id: AppId, events: &[Recorded]) -> anyhow::Result<Option<app::Model>> {
    let tx = db.begin().await?;
    for event in events {
        SchedulerProjection.apply(&tx, event).await?;
    }
    let row = app::Entity::find_by_id(id.0).one(&tx).await?;
    tx.rollback().await?;
    Ok(row)
}
