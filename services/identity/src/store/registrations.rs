//! Self-registrations that wait for their e-mail address to be confirmed.

use gantry_kernel::OffsetDateTime;
use sqlx::PgPool;

pub async fn insert(pool: &PgPool, hash: &[u8], keys: (&str, &str), sealed: &str, now: OffsetDateTime, expires_at: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query("insert into registrations (hash, username_key, email_key, sealed, created_at, expires_at) values ($1, $2, $3, $4, $5, $6)")
        .bind(hash)
        .bind(keys.0)
        .bind(keys.1)
        .bind(sealed)
        .bind(now)
        .bind(expires_at)
        .execute(pool)
        .await?;
    Ok(())
}

/// Takes a waiting registration out.
pub async fn take(pool: &PgPool, hash: &[u8], now: OffsetDateTime) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("delete from registrations where hash = $1 and expires_at > $2 returning sealed").bind(hash).bind(now).fetch_optional(pool).await
}
