//! Vulnerability records, one row per affected package.

use anyhow::Context;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, TransactionTrait,
};
use time::OffsetDateTime;

use super::entities::{advisories, advisory_sources};
use crate::domain::scan::advisory::Advisory;

/// The one source there is: the configured folder.
const SOURCE: &str = "folder";
const ROWS: usize = 500;

/// Which state of the advisories is loaded; `none` before the first import.
///
/// # Errors
/// Database.
pub async fn fingerprint(db: &impl ConnectionTrait) -> Result<String, DbErr> {
    Ok(advisory_sources::Entity::find_by_id(SOURCE).one(db).await?.map_or_else(|| "none".to_owned(), |r| r.fingerprint))
}

/// Replaces all of them at once: a scan sees the old ones or the new ones.
///
/// # Errors
/// Database.
pub async fn replace(db: &DatabaseConnection, all: Vec<Advisory>, fingerprint: &str, now: OffsetDateTime) -> anyhow::Result<()> {
    let tx = db.begin().await?;
    advisories::Entity::delete_many().exec(&tx).await?;
    let records = i64::try_from(all.len()).unwrap_or(i64::MAX);
    for chunk in all.chunks(ROWS) {
        let rows = chunk
            .iter()
            .map(|advisory| {
                Ok(advisories::ActiveModel {
                    id: NotSet,
                    ecosystem: Set(advisory.ecosystem.clone()),
                    package: Set(advisory.package.clone()),
                    advisory: Set(serde_json::to_value(advisory)?),
                })
            })
            .collect::<Result<Vec<_>, serde_json::Error>>()?;
        advisories::Entity::insert_many(rows).exec_without_returning(&tx).await?;
    }
    let row = advisory_sources::ActiveModel { name: Set(SOURCE.into()), fingerprint: Set(fingerprint.to_owned()), records: Set(records), at: Set(now) };
    let columns = [advisory_sources::Column::Fingerprint, advisory_sources::Column::Records, advisory_sources::Column::At];
    let conflict = OnConflict::column(advisory_sources::Column::Name).update_columns(columns).to_owned();
    advisory_sources::Entity::insert(row).on_conflict(conflict).exec_without_returning(&tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Those about any of `packages` in any of `ecosystems`.
///
/// # Errors
/// Database, or a stored document of another shape.
pub async fn about(db: &impl ConnectionTrait, ecosystems: &[String], packages: &[&str]) -> anyhow::Result<Vec<Advisory>> {
    let mut found = Vec::new();
    if ecosystems.is_empty() {
        return Ok(found);
    }
    for chunk in packages.chunks(ROWS) {
        let rows = advisories::Entity::find()
            .filter(advisories::Column::Ecosystem.is_in(ecosystems.iter().map(String::as_str)))
            .filter(advisories::Column::Package.is_in(chunk.iter().copied()))
            .all(db)
            .await?;
        for row in rows {
            found.push(serde_json::from_value(row.advisory).context("a kept advisory")?);
        }
    }
    Ok(found)
}
