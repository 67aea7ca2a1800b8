//! Join tokens of nodes, as hashes, and the certificates that were given out.

use gantry_kernel::{OffsetDateTime, Uuid};
use sqlx::PgPool;

#[derive(Clone, Debug)]
pub struct JoinToken {
    pub id: Uuid,
    /// The only node it is good for; none: any new one.
    pub node: Option<String>,
    pub hint: String,
    pub created_by: String,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub used_at: Option<OffsetDateTime>,
    pub used_by: Option<String>,
}

crate::store::row!(JoinToken { id, node, hint, created_by, created_at, expires_at, used_at, used_by });

#[derive(Clone, Debug)]
pub struct Certificate {
    /// Hexadecimal.
    pub serial: String,
    pub node: String,
    pub issued_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub revoked_at: Option<OffsetDateTime>,
    pub reason: Option<String>,
}

crate::store::row!(Certificate { serial, node, issued_at, expires_at, revoked_at, reason });

const TOKEN: &str = "id, node, hint, created_by, created_at, expires_at, used_at, used_by";
const CERTIFICATE: &str = "serial, node, issued_at, expires_at, revoked_at, reason";

pub async fn insert_token(pool: &PgPool, token: &JoinToken, hash: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query("insert into node_tokens (id, node, hint, hash, created_by, created_at, expires_at) values ($1, $2, $3, $4, $5, $6, $7)")
        .bind(token.id)
        .bind(&token.node)
        .bind(&token.hint)
        .bind(hash)
        .bind(&token.created_by)
        .bind(token.created_at)
        .bind(token.expires_at)
        .execute(pool)
        .await?;
    Ok(())
}

/// Newest first.
pub async fn tokens(pool: &PgPool) -> Result<Vec<JoinToken>, sqlx::Error> {
    let sql = format!("select {TOKEN} from node_tokens where revoked_at is null order by created_at desc limit 500");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await
}

/// Uses a token up for `node`: only one of two requests at once gets it.
pub async fn take(pool: &PgPool, hash: &[u8], node: &str, now: OffsetDateTime) -> Result<Option<JoinToken>, sqlx::Error> {
    let sql = format!(
        "update node_tokens set used_at = $3, used_by = $2 where hash = $1 and used_at is null and revoked_at is null and expires_at > $3
           and (node is null or node = $2) returning {TOKEN}"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(hash).bind(node).bind(now).fetch_optional(pool).await
}

pub async fn revoke_token(pool: &PgPool, id: Uuid, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let sql = "update node_tokens set revoked_at = $2 where id = $1 and revoked_at is null and used_at is null";
    Ok(sqlx::query(sql).bind(id).bind(now).execute(pool).await?.rows_affected() > 0)
}

pub async fn insert_certificate(pool: &PgPool, certificate: &Certificate, token: Option<Uuid>) -> Result<(), sqlx::Error> {
    sqlx::query("insert into node_certificates (serial, node, token, issued_at, expires_at) values ($1, $2, $3, $4, $5)")
        .bind(&certificate.serial)
        .bind(&certificate.node)
        .bind(token)
        .bind(certificate.issued_at)
        .bind(certificate.expires_at)
        .execute(pool)
        .await?;
    Ok(())
}

/// Newest first; `node` limits to one.
pub async fn certificates(pool: &PgPool, node: Option<&str>) -> Result<Vec<Certificate>, sqlx::Error> {
    let sql = format!("select {CERTIFICATE} from node_certificates where $1::text is null or node = $1 order by issued_at desc limit 500");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(node).fetch_all(pool).await
}

/// Whether a node has a certificate that counts.
pub async fn has_living(pool: &PgPool, node: &str, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select 1 from node_certificates where node = $1 and revoked_at is null and expires_at > $2)")
        .bind(node)
        .bind(now)
        .fetch_one(pool)
        .await
}

/// Those of a node that have not expired.
pub async fn revoke(pool: &PgPool, node: &str, reason: &str, now: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let sql = "update node_certificates set revoked_at = $3, reason = $2 where node = $1 and revoked_at is null and expires_at > $3";
    Ok(sqlx::query(sql).bind(node).bind(reason).bind(now).execute(pool).await?.rows_affected())
}

/// Those that a node has from before it was taken out of the platform at `removed`: whatever it was given until it joined anew by a token.
/// What it renewed since is of the same line.
pub async fn revoke_removed(pool: &PgPool, node: &str, removed: OffsetDateTime, reason: &str, now: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let sql = "update node_certificates set revoked_at = $3, reason = $2 where node = $1 and revoked_at is null and expires_at > $3
                 and issued_at < coalesce((select min(j.issued_at) from node_certificates j where j.node = $1 and j.token is not null and j.issued_at > $4), 'infinity')";
    Ok(sqlx::query(sql).bind(node).bind(reason).bind(now).bind(removed).execute(pool).await?.rows_affected())
}

/// When a node was taken out of the platform, and by whom.
#[derive(Clone, Debug)]
pub struct Removal {
    pub at: OffsetDateTime,
    pub actor: String,
}

crate::store::row!(Removal { at, actor });

/// None: it was not, or was admitted again.
pub async fn removal(pool: &PgPool, node: &str) -> Result<Option<Removal>, sqlx::Error> {
    sqlx::query_as("select at, actor from removed_nodes where node = $1").bind(node).fetch_optional(pool).await
}

/// Revoked and not yet expired, with how often anything was revoked: the list's number.
pub async fn revoked(pool: &PgPool, now: OffsetDateTime) -> Result<(Vec<Certificate>, i64), sqlx::Error> {
    let sql = format!("select {CERTIFICATE} from node_certificates where revoked_at is not null and expires_at > $1 order by serial");
    let rows = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(now).fetch_all(pool).await?;
    let number = sqlx::query_scalar("select count(*) from node_certificates where revoked_at is not null").fetch_one(pool).await?;
    Ok((rows, number))
}
