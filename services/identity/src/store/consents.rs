//! What people agreed to give clients.

use gantry_kernel::{OffsetDateTime, UserId};
use sqlx::PgPool;

use crate::store::refresh;

#[derive(Clone, Debug)]
pub struct Consent {
    pub client_id: String,
    /// Separated by spaces.
    pub scope: String,
    pub granted_at: OffsetDateTime,
}

crate::store::row!(Consent { client_id, scope, granted_at });

pub async fn get(pool: &PgPool, user: UserId, client: &str) -> Result<Option<Consent>, sqlx::Error> {
    sqlx::query_as("select client_id, scope, granted_at from consents where user_id = $1 and client_id = $2")
        .bind(user.0)
        .bind(client)
        .fetch_optional(pool)
        .await
}

pub async fn of_user(pool: &PgPool, user: UserId) -> Result<Vec<Consent>, sqlx::Error> {
    sqlx::query_as("select client_id, scope, granted_at from consents where user_id = $1 order by client_id limit 1000").bind(user.0).fetch_all(pool).await
}

/// Later agreements add to earlier ones.
pub async fn put(pool: &PgPool, user: UserId, client: &str, scope: &str, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into consents (user_id, client_id, scope, granted_at) values ($1, $2, $3, $4) on conflict (user_id, client_id) do update set granted_at = $4,
         scope = (select string_agg(distinct s, ' ') from unnest(string_to_array(consents.scope || ' ' || excluded.scope, ' ')) s)",
    )
    .bind(user.0)
    .bind(client)
    .bind(scope)
    .bind(now)
    .execute(pool)
    .await?;
    Ok(())
}

/// Takes it back, with all tokens that came of it. Whether there was one.
pub async fn revoke(pool: &PgPool, user: UserId, client: &str, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let gone = sqlx::query("delete from consents where user_id = $1 and client_id = $2").bind(user.0).bind(client).execute(&mut *tx).await?;
    refresh::disconnect(&mut tx, user, client, "consent revoked", now).await?;
    tx.commit().await?;
    Ok(gone.rows_affected() > 0)
}
