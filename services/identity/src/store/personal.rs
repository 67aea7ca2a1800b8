//! Personal access tokens.

use gantry_kernel::{OffsetDateTime, UserId, Uuid};
use sqlx::PgPool;

#[derive(Clone, Debug)]
pub struct PersonalToken {
    pub id: Uuid,
    pub user_id: Uuid,
    pub name: String,
    /// Its first letters, to tell tokens apart in a list.
    pub hint: String,
    pub scope: String,
    pub created_at: OffsetDateTime,
    pub expires_at: Option<OffsetDateTime>,
    pub last_used_at: Option<OffsetDateTime>,
}

crate::store::row!(PersonalToken { id, user_id, name, hint, scope, created_at, expires_at, last_used_at });

const COLUMNS: &str = "id, user_id, name, hint, scope, created_at, expires_at, last_used_at";

pub async fn insert(pool: &PgPool, token: &PersonalToken, hash: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query("insert into personal_tokens (id, user_id, name, hash, hint, scope, created_at, expires_at) values ($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(token.id)
        .bind(token.user_id)
        .bind(&token.name)
        .bind(hash)
        .bind(&token.hint)
        .bind(&token.scope)
        .bind(token.created_at)
        .bind(token.expires_at)
        .execute(pool)
        .await?;
    Ok(())
}

/// The living token of a hash; notes the use, at most once a minute.
pub async fn find(pool: &PgPool, hash: &[u8], now: OffsetDateTime) -> Result<Option<PersonalToken>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from personal_tokens where hash = $1 and revoked_at is null and (expires_at is null or expires_at > $2)");
    let found: Option<PersonalToken> = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(hash).bind(now).fetch_optional(pool).await?;
    if let Some(token) = &found {
        sqlx::query("update personal_tokens set last_used_at = $2 where id = $1 and (last_used_at is null or last_used_at < $2 - interval '1 minute')")
            .bind(token.id)
            .bind(now)
            .execute(pool)
            .await?;
    }
    Ok(found)
}

pub async fn is_alive(pool: &PgPool, id: Uuid, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let sql = "select exists (select from personal_tokens where id = $1 and revoked_at is null and (expires_at is null or expires_at > $2))";
    sqlx::query_scalar(sql).bind(id).bind(now).fetch_one(pool).await
}

pub async fn of_user(pool: &PgPool, user: UserId) -> Result<Vec<PersonalToken>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from personal_tokens where user_id = $1 and revoked_at is null order by created_at desc limit 200");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(user.0).fetch_all(pool).await
}

pub async fn revoke(pool: &PgPool, user: UserId, id: Uuid, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let sql = "update personal_tokens set revoked_at = $3 where id = $2 and user_id = $1 and revoked_at is null";
    Ok(sqlx::query(sql).bind(user.0).bind(id).bind(now).execute(pool).await?.rows_affected() > 0)
}

pub async fn revoke_all(pool: &PgPool, user: UserId, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query("update personal_tokens set revoked_at = $2 where user_id = $1 and revoked_at is null").bind(user.0).bind(now).execute(pool).await?;
    Ok(())
}
