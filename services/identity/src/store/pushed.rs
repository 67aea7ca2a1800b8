//! Authorization requests that clients pushed (RFC 9126).

use gantry_kernel::OffsetDateTime;
use sqlx::PgPool;
use sqlx::types::Json;

type Parameters = Vec<(String, String)>;

pub async fn insert(pool: &PgPool, hash: &[u8], client: &str, parameters: &Parameters, expires_at: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query("insert into pushed_requests (hash, client_id, parameters, expires_at) values ($1, $2, $3, $4)")
        .bind(hash)
        .bind(client)
        .bind(Json(parameters))
        .bind(expires_at)
        .execute(pool)
        .await?;
    Ok(())
}

/// Only the client that pushed it gets it.
pub async fn get(pool: &PgPool, hash: &[u8], client: &str, now: OffsetDateTime) -> Result<Option<Parameters>, sqlx::Error> {
    let found: Option<Json<Parameters>> = sqlx::query_scalar("select parameters from pushed_requests where hash = $1 and client_id = $2 and expires_at > $3")
        .bind(hash)
        .bind(client)
        .bind(now)
        .fetch_optional(pool)
        .await?;
    Ok(found.map(|p| p.0))
}

/// Used up. `false`: somebody was faster.
pub async fn take(pool: &PgPool, hash: &[u8]) -> Result<bool, sqlx::Error> {
    Ok(sqlx::query("delete from pushed_requests where hash = $1").bind(hash).execute(pool).await?.rows_affected() > 0)
}
