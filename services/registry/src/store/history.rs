//! What the past of a repository allows: which images a tag has pointed at, and what came with an image.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement};

use crate::domain::digest::Digest;
use crate::domain::name::{RepositoryName, Tag};

/// Whether the tag has pointed at the image at any time.
///
/// # Errors
/// Database.
pub async fn has_pointed(db: &impl ConnectionTrait, name: &RepositoryName, tag: &Tag, digest: &Digest) -> Result<bool, DbErr> {
    let sql = "select 1 as found from tag_history where repository = $1 and tag = $2 and (digest = $3 or previous = $3) limit 1";
    let values = [name.as_str().into(), tag.as_str().into(), digest.as_str().into()];
    Ok(db.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?.is_some())
}

#[derive(FromQueryResult)]
struct Row {
    missing: serde_json::Value,
}

/// For each time that the image was pushed to the repository: what of its content the repository did not have then. By the events, because
/// the read model forgets an image that is deleted.
///
/// # Errors
/// Database.
pub async fn missing_at_pushes(db: &impl ConnectionTrait, stream: &str, digest: &Digest) -> Result<Vec<Vec<String>>, DbErr> {
    let sql = "select coalesce(data->'missing', '[]'::json) as missing from events
        where stream = $1 and kind = 'repository.manifest-pushed' and data->>'digest' = $2";
    let values = [stream.into(), digest.as_str().into()];
    let rows = Row::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).all(db).await?;
    Ok(rows.into_iter().map(|row| serde_json::from_value(row.missing).unwrap_or_default()).collect())
}
