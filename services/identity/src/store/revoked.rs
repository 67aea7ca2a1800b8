//! Access tokens that were revoked and have no refresh token behind them.

use sqlx::PgPool;

pub async fn insert(pool: &PgPool, jti: &str, expires_at: i64) -> Result<(), sqlx::Error> {
    sqlx::query("insert into revoked_tokens (jti, expires_at) values ($1, to_timestamp($2) + interval '1 minute') on conflict do nothing")
        .bind(jti)
        .bind(expires_at as f64)
        .execute(pool)
        .await?;
    Ok(())
}

pub async fn is(pool: &PgPool, jti: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from revoked_tokens where jti = $1)").bind(jti).fetch_one(pool).await
}
