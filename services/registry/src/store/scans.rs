//! What scans found: per layer, and per image.

use std::collections::HashMap;

use anyhow::Context;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};
use time::OffsetDateTime;

use super::entities::{layer_inventories, scan_reports};
use crate::domain::digest::Digest;
use crate::domain::name::RepositoryName;
use crate::domain::origin::Content;
use crate::domain::platform::Check;
use crate::domain::scan::inventory::{Inventory, LayerInventory, VERSION};
use crate::domain::scan::report::Report;

/// # Errors
/// Database, or a stored document of another shape.
pub async fn layer(db: &impl ConnectionTrait, digest: &Digest) -> anyhow::Result<Option<LayerInventory>> {
    let row = layer_inventories::Entity::find_by_id(digest.to_string()).filter(layer_inventories::Column::Version.eq(VERSION)).one(db).await?;
    row.map(|r| serde_json::from_value(r.inventory).with_context(|| format!("the kept inventory of {digest}"))).transpose()
}

/// # Errors
/// Database.
pub async fn keep_layer(db: &impl ConnectionTrait, digest: &Digest, inventory: &LayerInventory, now: OffsetDateTime) -> anyhow::Result<()> {
    let row = layer_inventories::ActiveModel {
        digest: Set(digest.to_string()),
        version: Set(VERSION),
        inventory: Set(serde_json::to_value(inventory)?),
        at: Set(now),
        content: Set(Some(inventory.content.clone().unwrap_or_default())),
    };
    use layer_inventories::Column;
    let columns = [Column::Version, Column::Inventory, Column::At, Column::Content];
    let conflict = OnConflict::column(layer_inventories::Column::Digest).update_columns(columns).to_owned();
    layer_inventories::Entity::insert(row).on_conflict(conflict).exec_without_returning(db).await?;
    Ok(())
}

/// What the layers among `digests` hold unpacked, as far as they were read here: see [`Content`].
///
/// # Errors
/// Database.
pub async fn contents(pool: &sqlx::PgPool, digests: &[&str]) -> Result<HashMap<String, Content>, sqlx::Error> {
    let sql = "select digest, content from layer_inventories where digest = any($1)";
    let rows: Vec<(String, Option<String>)> = sqlx::query_as(sql).bind(digests).fetch_all(pool).await?;
    let content = |said: Option<String>| match said {
        None => Content::NotMeasured,
        Some(text) if text.is_empty() => Content::Unreadable,
        Some(digest) => Content::Is(digest),
    };
    Ok(rows.into_iter().map(|(digest, said)| (digest, content(said))).collect())
}

/// A scan's result as it is kept.
pub struct Scan {
    pub report: Report,
    pub inventory: Inventory,
    /// Which state of the advisories it was matched with.
    pub database: String,
    pub at: OffsetDateTime,
}

/// # Errors
/// Database.
pub async fn keep(db: &impl ConnectionTrait, repository: &RepositoryName, digest: &Digest, scan: &Scan) -> anyhow::Result<()> {
    let row = scan_reports::ActiveModel {
        repository: Set(repository.to_string()),
        digest: Set(digest.to_string()),
        database: Set(scan.database.clone()),
        at: Set(scan.at),
        report: Set(serde_json::to_value(&scan.report)?),
        inventory: Set(serde_json::to_value(&scan.inventory)?),
    };
    let columns = [scan_reports::Column::Database, scan_reports::Column::At, scan_reports::Column::Report, scan_reports::Column::Inventory];
    let conflict = OnConflict::columns([scan_reports::Column::Repository, scan_reports::Column::Digest]).update_columns(columns).to_owned();
    scan_reports::Entity::insert(row).on_conflict(conflict).exec_without_returning(db).await?;
    Ok(())
}

/// # Errors
/// Database, or a stored document of another shape.
pub async fn find(db: &impl ConnectionTrait, repository: &RepositoryName, digest: &Digest) -> anyhow::Result<Option<Scan>> {
    let Some(row) = scan_reports::Entity::find_by_id((repository.to_string(), digest.to_string())).one(db).await? else { return Ok(None) };
    let report = serde_json::from_value(row.report).with_context(|| format!("the kept report of {repository}@{digest}"))?;
    let inventory = serde_json::from_value(row.inventory).with_context(|| format!("the kept inventory of {repository}@{digest}"))?;
    Ok(Some(Scan { report, inventory, database: row.database, at: row.at }))
}

/// What a scan found about the platform of an image, without the rest of it.
///
/// # Errors
/// Database, or a stored document of another shape.
pub async fn platform(pool: &sqlx::PgPool, repository: &RepositoryName, digest: &Digest) -> anyhow::Result<Option<Check>> {
    let sql = "select report->'platform' from scan_reports where repository = $1 and digest = $2";
    let found: Option<Option<serde_json::Value>> = sqlx::query_scalar(sql).bind(repository.as_str()).bind(digest.as_str()).fetch_optional(pool).await?;
    Ok(found.flatten().map(serde_json::from_value::<Option<Check>>).transpose()?.flatten())
}

/// # Errors
/// Database.
pub async fn forget(db: &impl ConnectionTrait, repository: &RepositoryName, digest: &Digest) -> Result<(), DbErr> {
    scan_reports::Entity::delete_by_id((repository.to_string(), digest.to_string())).exec(db).await?;
    Ok(())
}
