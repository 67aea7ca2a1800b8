//! Tokens for dynamic registration: initial ones that administrators make, and one for each client that registered itself.

use gantry_kernel::{OffsetDateTime, OrgId, Uuid};
use sqlx::{AssertSqlSafe, PgPool};

#[derive(Clone, Debug)]
pub struct InitialToken {
    pub id: Uuid,
    pub org: Option<Uuid>,
    pub created_by: String,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub uses_left: i32,
}

crate::store::row!(InitialToken { id, org, created_by, created_at, expires_at, uses_left });

const COLUMNS: &str = "id, org, created_by, created_at, expires_at, uses_left";

pub async fn insert(pool: &PgPool, token: &InitialToken, hash: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query("insert into initial_access_tokens (id, org, created_by, created_at, expires_at, uses_left, hash) values ($1, $2, $3, $4, $5, $6, $7)")
        .bind(token.id)
        .bind(token.org)
        .bind(&token.created_by)
        .bind(token.created_at)
        .bind(token.expires_at)
        .bind(token.uses_left)
        .bind(hash)
        .execute(pool)
        .await?;
    Ok(())
}

/// Takes one use.
pub async fn spend(pool: &PgPool, hash: &[u8], now: OffsetDateTime) -> Result<Option<InitialToken>, sqlx::Error> {
    let sql = format!("update initial_access_tokens set uses_left = uses_left - 1 where hash = $1 and expires_at > $2 and uses_left > 0 returning {COLUMNS}");
    sqlx::query_as(AssertSqlSafe(sql)).bind(hash).bind(now).fetch_optional(pool).await
}

pub async fn list(pool: &PgPool, org: Option<OrgId>, now: OffsetDateTime) -> Result<Vec<InitialToken>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from initial_access_tokens where org is not distinct from $1 and expires_at > $2 order by created_at desc limit 500");
    sqlx::query_as(AssertSqlSafe(sql)).bind(org.map(|o| o.0)).bind(now).fetch_all(pool).await
}

pub async fn delete(pool: &PgPool, id: Uuid, org: Option<OrgId>) -> Result<bool, sqlx::Error> {
    let done =
        sqlx::query("delete from initial_access_tokens where id = $1 and org is not distinct from $2").bind(id).bind(org.map(|o| o.0)).execute(pool).await?;
    Ok(done.rows_affected() > 0)
}

pub async fn put_registration(pool: &PgPool, client: &str, hash: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query("insert into registration_access_tokens (client_id, hash) values ($1, $2) on conflict (client_id) do update set hash = $2")
        .bind(client)
        .bind(hash)
        .execute(pool)
        .await?;
    Ok(())
}

pub async fn registration_fits(pool: &PgPool, client: &str, hash: &[u8]) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from registration_access_tokens where client_id = $1 and hash = $2)")
        .bind(client)
        .bind(hash)
        .fetch_one(pool)
        .await
}

pub async fn drop_registration(pool: &PgPool, client: &str) -> Result<(), sqlx::Error> {
    sqlx::query("delete from registration_access_tokens where client_id = $1").bind(client).execute(pool).await?;
    Ok(())
}
