//! Refresh tokens of OpenID providers, sealed for the person each is about: what the provider can be asked with later.

use gantry_kernel::{OffsetDateTime, Uuid};
use sqlx::PgPool;

pub const TABLES: &str = "create table upstream_tokens (link uuid primary key, sealed text not null, kept_at timestamptz not null);";

#[derive(Clone, Debug)]
pub struct TokenRow {
    pub link: Uuid,
    pub user_id: Uuid,
    /// What the provider calls the person; sealed.
    pub subject: String,
    pub provisioned: bool,
    pub sealed: String,
}

crate::store::row!(TokenRow { link, user_id, subject, provisioned, sealed });

/// Those of one upstream, the longest not asked first.
pub async fn at(pool: &PgPool, upstream: Uuid) -> Result<Vec<TokenRow>, sqlx::Error> {
    let sql = "select t.link, l.user_id, l.subject, l.provisioned, t.sealed from upstream_tokens t join links l on l.id = t.link
               where l.upstream = $1 order by t.kept_at";
    sqlx::query_as(sql).bind(upstream).fetch_all(pool).await
}

pub async fn put(pool: &PgPool, link: Uuid, sealed: &str, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    let sql = "insert into upstream_tokens (link, sealed, kept_at) values ($1, $2, $3)
               on conflict (link) do update set sealed = excluded.sealed, kept_at = excluded.kept_at";
    sqlx::query(sql).bind(link).bind(sealed).bind(now).execute(pool).await?;
    Ok(())
}

pub async fn forget(pool: &PgPool, link: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("delete from upstream_tokens where link = $1").bind(link).execute(pool).await?;
    Ok(())
}
