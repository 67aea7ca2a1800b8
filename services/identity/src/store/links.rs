//! What mailed links stand for: single use, short-lived; the table holds only hashes of their tokens. And invitations
//! and devices that people have signed in from.

use gantry_kernel::{OffsetDateTime, UserId, Uuid};
use sqlx::PgPool;

pub async fn insert(
    pool: &PgPool,
    hash: &[u8],
    purpose: &str,
    user: UserId,
    sealed: &str,
    now: OffsetDateTime,
    expires_at: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let sql = "insert into mail_links (hash, purpose, user_id, sealed, created_at, expires_at) values ($1, $2, $3, $4, $5, $6)";
    sqlx::query(sql).bind(hash).bind(purpose).bind(user.0).bind(sealed).bind(now).bind(expires_at).execute(pool).await?;
    Ok(())
}

/// Whose living link it is and what was noted with it, without using it up.
pub async fn peek(pool: &PgPool, hash: &[u8], purpose: &str, now: OffsetDateTime) -> Result<Option<(Uuid, String)>, sqlx::Error> {
    let sql = "select user_id, sealed from mail_links where hash = $1 and purpose = $2 and expires_at > $3";
    sqlx::query_as(sql).bind(hash).bind(purpose).bind(now).fetch_optional(pool).await
}

/// Uses a link up. All others of its purpose and person go with it.
pub async fn take(pool: &PgPool, hash: &[u8], purpose: &str, now: OffsetDateTime) -> Result<Option<(Uuid, String)>, sqlx::Error> {
    let sql = "delete from mail_links where hash = $1 and purpose = $2 and expires_at > $3 returning user_id, sealed";
    let taken: Option<(Uuid, String)> = sqlx::query_as(sql).bind(hash).bind(purpose).bind(now).fetch_optional(pool).await?;
    if let Some((user, _)) = &taken {
        sqlx::query("delete from mail_links where user_id = $1 and purpose = $2").bind(user).bind(purpose).execute(pool).await?;
    }
    Ok(taken)
}

pub async fn device_known(pool: &PgPool, user: Uuid, hash: &[u8]) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from known_devices where user_id = $1 and hash = $2)").bind(user).bind(hash).fetch_one(pool).await
}

/// Remembers a device. Whether it is new, and there were others before.
pub async fn note_device(pool: &PgPool, user: UserId, hash: &[u8], agent: &str, from: &str, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    // The question for others sees the table as it was before.
    let sql = "with noted as (
                   insert into known_devices (user_id, hash, first_seen_at, last_seen_at, user_agent, from_addr) values ($1, $2, $3, $3, $4, $5)
                   on conflict (user_id, hash) do update set last_seen_at = excluded.last_seen_at, from_addr = excluded.from_addr
                   returning first_seen_at = last_seen_at as fresh)
               select fresh and exists (select from known_devices where user_id = $1) from noted";
    sqlx::query_scalar(sql).bind(user.0).bind(hash).bind(now).bind(agent).bind(from).fetch_one(pool).await
}

/// An invitation into an organisation.
#[derive(Clone, Debug)]
pub struct Invitation {
    pub id: Uuid,
    pub org: Uuid,
    /// The invited address.
    pub sealed: String,
    pub role: String,
    pub invited_by: String,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
}

crate::store::row!(Invitation { id, org, sealed, role, invited_by, created_at, expires_at });

const INVITATION: &str = "id, org, sealed, role, invited_by, created_at, expires_at";

pub async fn invite(pool: &PgPool, hash: &[u8], it: &Invitation) -> Result<(), sqlx::Error> {
    let sql = "insert into invitations (id, hash, org, sealed, role, invited_by, created_at, expires_at) values ($1, $2, $3, $4, $5, $6, $7, $8)";
    sqlx::query(sql)
        .bind(it.id)
        .bind(hash)
        .bind(it.org)
        .bind(&it.sealed)
        .bind(&it.role)
        .bind(&it.invited_by)
        .bind(it.created_at)
        .bind(it.expires_at)
        .execute(pool)
        .await?;
    Ok(())
}

pub async fn invitation(pool: &PgPool, hash: &[u8], now: OffsetDateTime) -> Result<Option<Invitation>, sqlx::Error> {
    let sql = format!("select {INVITATION} from invitations where hash = $1 and used_at is null and expires_at > $2");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(hash).bind(now).fetch_optional(pool).await
}

pub async fn invitations(pool: &PgPool, org: Uuid, now: OffsetDateTime) -> Result<Vec<Invitation>, sqlx::Error> {
    let sql = format!("select {INVITATION} from invitations where org = $1 and used_at is null and expires_at > $2 order by created_at desc limit 500");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(org).bind(now).fetch_all(pool).await
}

/// Marks an invitation as used, and forgets the address it was sent to; whether it was still open.
pub async fn accept(pool: &PgPool, hash: &[u8], now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let sql = "update invitations set used_at = $2, sealed = '' where hash = $1 and used_at is null and expires_at > $2";
    Ok(sqlx::query(sql).bind(hash).bind(now).execute(pool).await?.rows_affected() > 0)
}

pub async fn withdraw(pool: &PgPool, org: Uuid, id: Uuid) -> Result<bool, sqlx::Error> {
    Ok(sqlx::query("delete from invitations where org = $1 and id = $2 and used_at is null").bind(org).bind(id).execute(pool).await?.rows_affected() > 0)
}
