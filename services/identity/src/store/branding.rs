//! How organisations' pages look, and the bytes of their logos, which are no events: kept by their digest, so that an
//! event and its picture belong together whichever comes first.

use gantry_kernel::{OffsetDateTime, Uuid};
use sqlx::{AssertSqlSafe, PgPool};

pub const TABLES: &str = "create table logos (
        org uuid not null, sha256 text not null, bytes bytea not null, kept_at timestamptz not null, primary key (org, sha256)
    );";

#[derive(Clone, Debug)]
pub struct BrandRow {
    pub org: Uuid,
    /// The organisation's name.
    pub name: String,
    /// JSON of `contract::branding::Branding`.
    pub branding: String,
    /// JSON of `contract::branding::Logo`.
    pub logo: Option<String>,
    pub version: i64,
}

crate::store::row!(BrandRow { org, name, branding, logo, version });

const BRAND: &str = "select b.org, o.name, b.branding, b.logo, b.version from brandings b join orgs o on o.id = b.org";

pub async fn of(pool: &PgPool, org: Uuid) -> Result<Option<BrandRow>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!("{BRAND} where b.org = $1"))).bind(org).fetch_optional(pool).await
}

pub async fn by_name(pool: &PgPool, org: &str) -> Result<Option<BrandRow>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!("{BRAND} where o.name = $1"))).bind(org).fetch_optional(pool).await
}

pub async fn keep_logo(pool: &PgPool, org: Uuid, sha256: &str, bytes: &[u8], now: OffsetDateTime) -> Result<(), sqlx::Error> {
    let sql = "insert into logos (org, sha256, bytes, kept_at) values ($1, $2, $3, $4) on conflict (org, sha256) do update set kept_at = excluded.kept_at";
    sqlx::query(sql).bind(org).bind(sha256).bind(bytes).bind(now).execute(pool).await?;
    Ok(())
}

/// The bytes of an organisation's logo of today; one that was replaced is not given out any more.
pub async fn logo(pool: &PgPool, org: &str, sha256: &str) -> Result<Option<(String, Vec<u8>)>, sqlx::Error> {
    let sql = "select b.logo, l.bytes from orgs o join brandings b on b.org = o.id join logos l on l.org = o.id and l.sha256 = b.logo_sha256
               where o.name = $1 and b.logo_sha256 = $2";
    sqlx::query_as(sql).bind(org).bind(sha256).fetch_optional(pool).await
}
