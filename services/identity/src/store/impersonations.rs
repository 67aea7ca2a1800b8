//! Who may act for whom because that person said so.

use gantry_kernel::{OffsetDateTime, Uuid};
use sqlx::PgPool;

pub async fn allow(pool: &PgPool, user: Uuid, by: Uuid, expires_at: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query("insert into impersonations (user_id, by_user, expires_at) values ($1, $2, $3) on conflict (user_id, by_user) do update set expires_at = $3")
        .bind(user)
        .bind(by)
        .bind(expires_at)
        .execute(pool)
        .await?;
    Ok(())
}

pub async fn allowed(pool: &PgPool, user: Uuid, by: Uuid, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from impersonations where user_id = $1 and by_user = $2 and expires_at > $3)")
        .bind(user)
        .bind(by)
        .bind(now)
        .fetch_one(pool)
        .await
}

/// Whether there was such a consent.
pub async fn withdraw(pool: &PgPool, user: Uuid, by: Uuid) -> Result<bool, sqlx::Error> {
    Ok(sqlx::query("delete from impersonations where user_id = $1 and by_user = $2").bind(user).bind(by).execute(pool).await?.rows_affected() > 0)
}
