//! Which replica is fetching which blob from another registry: one of the installation at a time.

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::digest::Digest;
use crate::domain::name::RepositoryName;

/// Has the transfer for `holder` until `until`, unless somebody else is at it. Whether it has.
///
/// # Errors
/// Database.
pub async fn take(
    pool: &PgPool,
    name: &RepositoryName,
    digest: &Digest,
    holder: Uuid,
    now: OffsetDateTime,
    until: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let sql = "insert into fetches as f (repository, digest, holder, until) values ($1, $2, $3, $5)
        on conflict (repository, digest) do update set holder = $3, until = $5, size_bytes = null where f.until < $4 or f.holder = $3";
    let query = sqlx::query(sql).bind(name.as_str()).bind(digest.as_str()).bind(holder).bind(now).bind(until);
    Ok(query.execute(pool).await?.rows_affected() == 1)
}

/// Keeps it for longer, and says how large the blob is.
///
/// # Errors
/// Database.
pub async fn hold(pool: &PgPool, name: &RepositoryName, digest: &Digest, holder: Uuid, size: u64, until: OffsetDateTime) -> Result<(), sqlx::Error> {
    let sql = "update fetches set until = $4, size_bytes = $5 where repository = $1 and digest = $2 and holder = $3";
    sqlx::query(sql).bind(name.as_str()).bind(digest.as_str()).bind(holder).bind(until).bind(super::blobs::signed(size)).execute(pool).await?;
    Ok(())
}

/// It is over, well or not.
///
/// # Errors
/// Database.
pub async fn release(pool: &PgPool, name: &RepositoryName, digest: &Digest, holder: Uuid) -> Result<(), sqlx::Error> {
    let sql = "delete from fetches where repository = $1 and digest = $2 and holder = $3";
    sqlx::query(sql).bind(name.as_str()).bind(digest.as_str()).bind(holder).execute(pool).await?;
    Ok(())
}

/// Whether somebody is at it, and how large the blob is, if that is known yet.
///
/// # Errors
/// Database.
pub async fn under_way(pool: &PgPool, name: &RepositoryName, digest: &Digest, now: OffsetDateTime) -> Result<Option<Option<u64>>, sqlx::Error> {
    let sql = "select size_bytes from fetches where repository = $1 and digest = $2 and until >= $3";
    let row: Option<(Option<i64>,)> = sqlx::query_as(sql).bind(name.as_str()).bind(digest.as_str()).bind(now).fetch_optional(pool).await?;
    Ok(row.map(|(size,)| size.map(i64::unsigned_abs)))
}

/// Those that ended before `before` without being let go of: their replicas were killed.
///
/// # Errors
/// Database.
pub async fn forget_old(pool: &PgPool, before: OffsetDateTime) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query("delete from fetches where until < $1").bind(before).execute(pool).await?.rows_affected())
}
