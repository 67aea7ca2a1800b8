//! Join tokens of nodes, as hashes, and the certificates that were given out.

use gantry_kernel::{OffsetDateTime, Uuid};
use sqlx::{PgConnection, PgPool};

/// Which removals of nodes were followed.
pub const FOLLOWED: &str = "create table followed_removals (node text primary key, at timestamptz not null)";

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

/// Uses a token up for `node`: only one of two requests at once gets it. One that names no node is for those that have none yet: nobody
/// takes the place of another by it.
async fn take(connection: &mut PgConnection, hash: &[u8], node: &str, now: OffsetDateTime) -> Result<Option<Uuid>, sqlx::Error> {
    let sql = "update node_tokens set used_at = $3, used_by = $2 where hash = $1 and used_at is null and revoked_at is null and expires_at > $3
                 and (node = $2 or (node is null and not exists
                   (select from node_certificates c where c.node = $2 and c.revoked_at is null and c.expires_at > $3))) returning id";
    sqlx::query_scalar(sql).bind(hash).bind(node).bind(now).fetch_optional(connection).await
}

pub async fn revoke_token(pool: &PgPool, id: Uuid, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let sql = "update node_tokens set revoked_at = $2 where id = $1 and revoked_at is null and used_at is null";
    Ok(sqlx::query(sql).bind(id).bind(now).execute(pool).await?.rows_affected() > 0)
}

/// Whoever gives a node a certificate, or takes its certificates back, waits for who is at it: neither overlooks what the other does.
async fn alone(connection: &mut PgConnection, node: &str) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 7203330))").bind(node).execute(connection).await?;
    Ok(())
}

async fn insert_certificate(connection: &mut PgConnection, certificate: &Certificate, token: Option<Uuid>) -> Result<(), sqlx::Error> {
    sqlx::query("insert into node_certificates (serial, node, token, issued_at, expires_at) values ($1, $2, $3, $4, $5)")
        .bind(&certificate.serial)
        .bind(&certificate.node)
        .bind(token)
        .bind(certificate.issued_at)
        .bind(certificate.expires_at)
        .execute(connection)
        .await?;
    Ok(())
}

/// The first certificate of a node for the token of `hash`, in the place of those it has from before: how many these were. `None`: the
/// token is not good for it.
pub async fn join(pool: &PgPool, hash: &[u8], certificate: &Certificate, reason: &str, now: OffsetDateTime) -> Result<Option<u64>, sqlx::Error> {
    let mut tx = pool.begin().await?;
    alone(&mut tx, &certificate.node).await?;
    let Some(token) = take(&mut tx, hash, &certificate.node, now).await? else { return Ok(None) };
    let before = revoke_living(&mut tx, &certificate.node, reason, now).await?;
    insert_certificate(&mut tx, certificate, Some(token)).await?;
    tx.commit().await?;
    Ok(Some(before))
}

/// Another certificate for a node that shows the one with the serial `shown`. `false`: that one does not count, and nothing was given.
pub async fn renew(pool: &PgPool, shown: &str, certificate: &Certificate, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let mut tx = pool.begin().await?;
    alone(&mut tx, &certificate.node).await?;
    let sql = "select exists (select from node_certificates where serial = $1 and node = $2 and revoked_at is null and expires_at > $3)";
    let counts: bool = sqlx::query_scalar(sql).bind(shown).bind(&certificate.node).bind(now).fetch_one(&mut *tx).await?;
    if counts {
        insert_certificate(&mut tx, certificate, None).await?;
        tx.commit().await?;
    }
    Ok(counts)
}

/// Newest first; `node` limits to one.
pub async fn certificates(pool: &PgPool, node: Option<&str>) -> Result<Vec<Certificate>, sqlx::Error> {
    let sql = format!("select {CERTIFICATE} from node_certificates where $1::text is null or node = $1 order by issued_at desc limit 500");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(node).fetch_all(pool).await
}

/// Whether the certificate of this serial may still speak for the node. What was not given here (an operator's own authority did) is not
/// taken back here either.
pub async fn stands(pool: &PgPool, node: &str, serial: &str) -> Result<bool, sqlx::Error> {
    let sql = "select not exists (select from node_certificates where serial = $2 and (node <> $1 or revoked_at is not null))";
    sqlx::query_scalar(sql).bind(node).bind(serial).fetch_one(pool).await
}

/// Those of a node that have not expired.
async fn revoke_living(connection: &mut PgConnection, node: &str, reason: &str, now: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let sql = "update node_certificates set revoked_at = $3, reason = $2 where node = $1 and revoked_at is null and expires_at > $3";
    Ok(sqlx::query(sql).bind(node).bind(reason).bind(now).execute(connection).await?.rows_affected())
}

/// Those of a node that have not expired, also one that is being renewed now.
pub async fn revoke(pool: &PgPool, node: &str, reason: &str, now: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let mut tx = pool.begin().await?;
    alone(&mut tx, node).await?;
    let revoked = revoke_living(&mut tx, node, reason, now).await?;
    tx.commit().await?;
    Ok(revoked)
}

/// The same for a node that was taken out of the platform, once for each time it was: what it is given afterwards is not touched, however
/// often the removal is read. `removed` only tells one removal from another. It is the scheduler's clock, which says nothing of what came
/// first here.
pub async fn revoke_removed(pool: &PgPool, node: &str, removed: OffsetDateTime, reason: &str, now: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let mut tx = pool.begin().await?;
    alone(&mut tx, node).await?;
    let sql = "insert into followed_removals (node, at) values ($1, $2) on conflict (node) do update set at = excluded.at
                 where followed_removals.at <> excluded.at";
    if sqlx::query(sql).bind(node).bind(removed).execute(&mut *tx).await?.rows_affected() == 0 {
        return Ok(0);
    }
    let revoked = revoke_living(&mut tx, node, reason, now).await?;
    tx.commit().await?;
    Ok(revoked)
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
