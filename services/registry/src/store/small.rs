//! Small content that lives in the database.

use sqlx::PgPool;

use crate::domain::digest::Digest;

/// # Errors
/// Database.
pub async fn read(pool: &PgPool, digest: &Digest) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar("select bytes from small_content where digest = $1").bind(digest.as_str()).fetch_optional(pool).await
}

/// Those of `digests` that are here.
///
/// # Errors
/// Database.
pub async fn read_many(pool: &PgPool, digests: &[&str]) -> Result<Vec<(String, Vec<u8>)>, sqlx::Error> {
    sqlx::query_as("select digest, bytes from small_content where digest = any($1)").bind(digests).fetch_all(pool).await
}

/// # Errors
/// Database.
pub async fn size(pool: &PgPool, digest: &Digest) -> Result<Option<u64>, sqlx::Error> {
    let size: Option<i32> =
        sqlx::query_scalar("select octet_length(bytes) from small_content where digest = $1").bind(digest.as_str()).fetch_optional(pool).await?;
    Ok(size.map(|n| u64::from(n.unsigned_abs())))
}
