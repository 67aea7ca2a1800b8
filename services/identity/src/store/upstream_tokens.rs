//! Refresh tokens of OpenID providers, sealed for the person each is about: what the provider can be asked with later.

use gantry_kernel::{OffsetDateTime, Uuid};
use sqlx::PgPool;

pub const TABLES: &str = "create table upstream_tokens (link uuid primary key, sealed text not null, kept_at timestamptz not null);";

/// Since when a provider is being asked with it: an answer that was lost may have made it worthless.
pub const ASKED: &str = "alter table upstream_tokens add column asked_at timestamptz;";

#[derive(Clone, Debug)]
pub struct TokenRow {
    pub link: Uuid,
    pub user_id: Uuid,
    /// What the provider calls the person; sealed.
    pub subject: String,
    pub provisioned: bool,
    pub sealed: String,
    /// It was asked with before, and nobody knows what the answer was.
    pub unanswered: bool,
}

crate::store::row!(TokenRow { link, user_id, subject, provisioned, sealed, unanswered });

/// Those of one upstream, the longest not asked first.
pub async fn at(pool: &PgPool, upstream: Uuid) -> Result<Vec<TokenRow>, sqlx::Error> {
    let sql = "select t.link, l.user_id, l.subject, l.provisioned, t.sealed, t.asked_at is not null as unanswered from upstream_tokens t join links l on l.id = t.link
               where l.upstream = $1 order by t.kept_at";
    sqlx::query_as(sql).bind(upstream).fetch_all(pool).await
}

pub async fn put(pool: &PgPool, link: Uuid, sealed: &str, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    let sql = "insert into upstream_tokens (link, sealed, kept_at) values ($1, $2, $3)
               on conflict (link) do update set sealed = excluded.sealed, kept_at = excluded.kept_at, asked_at = null";
    sqlx::query(sql).bind(link).bind(sealed).bind(now).execute(pool).await?;
    Ok(())
}

/// Notes that a provider is about to be asked; whether `sealed` is still the token to ask with.
pub async fn asking(pool: &PgPool, link: Uuid, sealed: &str, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let sql = "update upstream_tokens set asked_at = $3 where link = $1 and sealed = $2";
    Ok(sqlx::query(sql).bind(link).bind(sealed).bind(now).execute(pool).await?.rows_affected() > 0)
}

/// The provider was not asked after all, or its answer came and gave no other token.
pub async fn unasked(pool: &PgPool, link: Uuid, sealed: &str) -> Result<(), sqlx::Error> {
    sqlx::query("update upstream_tokens set asked_at = null where link = $1 and sealed = $2").bind(link).bind(sealed).execute(pool).await?;
    Ok(())
}

/// Puts the next token in the place of the one that was asked with, unless a sign-in has given another one meanwhile.
pub async fn replace(pool: &PgPool, link: Uuid, before: &str, sealed: &str, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    let sql = "update upstream_tokens set sealed = $3, kept_at = $4, asked_at = null where link = $1 and sealed = $2";
    sqlx::query(sql).bind(link).bind(before).bind(sealed).bind(now).execute(pool).await?;
    Ok(())
}

/// Whether no sign-in has given another token meanwhile.
pub async fn stands(pool: &PgPool, link: Uuid, sealed: &str) -> Result<bool, sqlx::Error> {
    let sql = "select exists (select from upstream_tokens where link = $1 and sealed = $2)";
    sqlx::query_scalar(sql).bind(link).bind(sealed).fetch_one(pool).await
}

pub async fn forget(pool: &PgPool, link: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("delete from upstream_tokens where link = $1").bind(link).execute(pool).await?;
    Ok(())
}
