//! Certificates of people and authorities of organisations; what was just shown at the door for certificates, and which notices went out.

use gantry_contract::certificate::WhenStale;
use gantry_kernel::{OffsetDateTime, Uuid};
use sqlx::{AssertSqlSafe, PgPool};

/// Tables that are no projections. `certificate_proofs`: shown at the door, not yet used; by the hash of a random text.
pub const TABLES: &str = "create table certificate_proofs (
        hash bytea primary key, nonce text not null, der bytea not null, expires_at timestamptz not null
    );
    create index certificate_proofs_expiry on certificate_proofs (expires_at);
    create table certificate_notices (certificate uuid primary key, sent_at timestamptz not null);";

#[derive(Clone, Debug)]
pub struct CertificateRow {
    pub id: Uuid,
    pub user_id: Uuid,
    pub key: String,
    pub authority: Option<Uuid>,
    pub details: String,
    pub label: String,
    pub not_after: OffsetDateTime,
    pub bound_at: OffsetDateTime,
}

#[derive(Clone, Debug)]
pub struct AuthorityRow {
    pub id: Uuid,
    pub org: Uuid,
    pub name: String,
    pub pem: String,
    pub trusted_at: OffsetDateTime,
    pub revocation_url: Option<String>,
    pub when_stale: Option<String>,
}

impl AuthorityRow {
    /// `None`: lists of revoked certificates are not looked at.
    pub fn when_stale(&self) -> Option<WhenStale> {
        [WhenStale::Refuse, WhenStale::Accept].into_iter().find(|w| self.when_stale.as_deref() == Some(stale_text(*w)))
    }
}

pub fn stale_text(when_stale: WhenStale) -> &'static str {
    match when_stale {
        WhenStale::Refuse => "refuse",
        WhenStale::Accept => "accept",
    }
}

crate::store::row!(CertificateRow { id, user_id, key, authority, details, label, not_after, bound_at });
crate::store::row!(AuthorityRow { id, org, name, pem, trusted_at, revocation_url, when_stale });

const CERTIFICATE: &str = "select id, user_id, key, authority, details, label, not_after, bound_at from person_certificates";
const AUTHORITY: &str = "select id, org, name, pem, trusted_at, revocation_url, when_stale from person_authorities";

pub async fn of_user(pool: &PgPool, user: Uuid) -> Result<Vec<CertificateRow>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!("{CERTIFICATE} where user_id = $1 order by bound_at, id"))).bind(user).fetch_all(pool).await
}

/// Whether somebody has a certificate that signs them in: in force itself, or by the word of an authority that is trusted and whose
/// organisation they are in (that one goes on with its successors).
pub async fn has_usable(pool: &PgPool, user: Uuid, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let sql = "select exists (select from person_certificates c where c.user_id = $1 and case when c.authority is null then c.not_after > $2
                   else exists (select from person_authorities a join members m on m.org = a.org and m.user_id = c.user_id where a.id = c.authority) end)";
    sqlx::query_scalar(sql).bind(user).bind(now).fetch_one(pool).await
}

pub async fn by_key(pool: &PgPool, key: &str) -> Result<Option<CertificateRow>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!("{CERTIFICATE} where key = $1"))).bind(key).fetch_optional(pool).await
}

/// Those with one of these keys.
pub async fn by_keys(pool: &PgPool, keys: &[String]) -> Result<Vec<CertificateRow>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!("{CERTIFICATE} where key = any($1) order by bound_at, id"))).bind(keys).fetch_all(pool).await
}

/// Those of active people that end before `until`, have not ended, and nobody was told about.
pub async fn ending(pool: &PgPool, now: OffsetDateTime, until: OffsetDateTime) -> Result<Vec<CertificateRow>, sqlx::Error> {
    let sql = format!(
        "{CERTIFICATE} where authority is null and not_after > $1 and not_after <= $2
         and not exists (select from certificate_notices n where n.certificate = person_certificates.id)
         and exists (select from users u where u.id = person_certificates.user_id and u.suspended_reason is null) order by not_after limit 1000"
    );
    sqlx::query_as(AssertSqlSafe(sql)).bind(now).bind(until).fetch_all(pool).await
}

pub async fn noticed(pool: &PgPool, certificate: Uuid, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    let sql = "insert into certificate_notices (certificate, sent_at) values ($1, $2) on conflict do nothing";
    sqlx::query(sql).bind(certificate).bind(now).execute(pool).await?;
    Ok(())
}

pub async fn authorities(pool: &PgPool, org: Uuid) -> Result<Vec<AuthorityRow>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!("{AUTHORITY} where org = $1 order by name"))).bind(org).fetch_all(pool).await
}

/// Those of all organisations that are called so (the hash of their name): whoever shows a certificate belongs to none yet.
pub async fn authorities_called(pool: &PgPool, subject: &[u8]) -> Result<Vec<AuthorityRow>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!("{AUTHORITY} where subject = $1 order by name, id"))).bind(subject).fetch_all(pool).await
}

pub async fn authority(pool: &PgPool, id: Uuid) -> Result<Option<AuthorityRow>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!("{AUTHORITY} where id = $1"))).bind(id).fetch_optional(pool).await
}

/// Those that the organisations of somebody trust and that are called so.
pub async fn authorities_of(pool: &PgPool, user: Uuid, subject: &[u8]) -> Result<Vec<AuthorityRow>, sqlx::Error> {
    let sql = format!("{AUTHORITY} where subject = $2 and org in (select m.org from members m where m.user_id = $1) order by name");
    sqlx::query_as(AssertSqlSafe(sql)).bind(user).bind(subject).fetch_all(pool).await
}

pub async fn keep_proof(pool: &PgPool, hash: &[u8], nonce: &str, der: &[u8], expires_at: OffsetDateTime) -> Result<(), sqlx::Error> {
    let sql = "insert into certificate_proofs (hash, nonce, der, expires_at) values ($1, $2, $3, $4)";
    sqlx::query(sql).bind(hash).bind(nonce).bind(der).bind(expires_at).execute(pool).await?;
    Ok(())
}

/// Uses a proof up.
pub async fn take_proof(pool: &PgPool, hash: &[u8], nonce: &str, now: OffsetDateTime) -> Result<Option<Vec<u8>>, sqlx::Error> {
    let sql = "delete from certificate_proofs where hash = $1 and nonce = $2 and expires_at > $3 returning der";
    sqlx::query_scalar(sql).bind(hash).bind(nonce).bind(now).fetch_optional(pool).await
}
