//! Lists of revoked certificates, one for each authority that has one: what was last taken in, and how the last attempt ended.

use gantry_kernel::{OffsetDateTime, Uuid};
use sqlx::PgPool;

pub const TABLES: &str = "create table revocation_lists (
        authority uuid primary key, der bytea, sha256 bytea, this_update timestamptz, next_update timestamptz, revoked integer,
        taken_at timestamptz, tried_at timestamptz not null, fault text
    );";

/// All of it but the list.
#[derive(Clone, Debug)]
pub struct ListRow {
    pub authority: Uuid,
    pub sha256: Option<Vec<u8>>,
    pub this_update: Option<OffsetDateTime>,
    pub next_update: Option<OffsetDateTime>,
    pub revoked: Option<i32>,
    pub taken_at: Option<OffsetDateTime>,
    pub tried_at: OffsetDateTime,
    pub fault: Option<String>,
}

/// An authority whose list is to be fetched.
#[derive(Clone, Debug)]
pub struct DueRow {
    pub id: Uuid,
    pub name: String,
    pub pem: String,
    pub revocation_url: String,
}

crate::store::row!(ListRow { authority, sha256, this_update, next_update, revoked, taken_at, tried_at, fault });
crate::store::row!(DueRow { id, name, pem, revocation_url });

/// A list that was read and is the authority's.
pub struct Taken<'a> {
    pub authority: Uuid,
    pub der: &'a [u8],
    pub sha256: &'a [u8],
    pub this_update: OffsetDateTime,
    pub next_update: OffsetDateTime,
    pub revoked: i32,
}

pub async fn of(pool: &PgPool, authorities: &[Uuid]) -> Result<Vec<ListRow>, sqlx::Error> {
    let sql = "select authority, sha256, this_update, next_update, revoked, taken_at, tried_at, fault from revocation_lists where authority = any($1)";
    sqlx::query_as(sql).bind(authorities).fetch_all(pool).await
}

pub async fn der(pool: &PgPool, authority: Uuid) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar("select der from revocation_lists where authority = $1 and der is not null").bind(authority).fetch_optional(pool).await
}

/// Keeps a list; `false` if the one that is here is newer: an old one may be somebody's replay.
pub async fn take(pool: &PgPool, list: Taken<'_>, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let sql =
        "insert into revocation_lists (authority, der, sha256, this_update, next_update, revoked, taken_at, tried_at) values ($1, $2, $3, $4, $5, $6, $7, $7)
               on conflict (authority) do update set der = excluded.der, sha256 = excluded.sha256, this_update = excluded.this_update,
                   next_update = excluded.next_update, revoked = excluded.revoked, taken_at = excluded.taken_at, tried_at = excluded.tried_at, fault = null
               where revocation_lists.this_update is null or revocation_lists.this_update <= excluded.this_update";
    let query = sqlx::query(sql).bind(list.authority).bind(list.der).bind(list.sha256);
    let done = query.bind(list.this_update).bind(list.next_update).bind(list.revoked).bind(now).execute(pool).await?;
    Ok(done.rows_affected() > 0)
}

/// Notes that an attempt failed; the list that is here stays.
pub async fn failed(pool: &PgPool, authority: Uuid, fault: &str, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    let sql = "insert into revocation_lists (authority, tried_at, fault) values ($1, $2, $3)
               on conflict (authority) do update set tried_at = excluded.tried_at, fault = excluded.fault";
    sqlx::query(sql).bind(authority).bind(now).bind(fault).execute(pool).await?;
    Ok(())
}

pub async fn forget(pool: &PgPool, authority: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("delete from revocation_lists where authority = $1").bind(authority).execute(pool).await?;
    Ok(())
}

/// Those not tried since `before`; and, not tried since `sooner`, those whose last attempt failed or whose list has ended.
pub async fn due(pool: &PgPool, now: OffsetDateTime, before: OffsetDateTime, sooner: OffsetDateTime) -> Result<Vec<DueRow>, sqlx::Error> {
    let sql = "select a.id, a.name, a.pem, a.revocation_url from person_authorities a left join revocation_lists l on l.authority = a.id
               where a.revocation_url is not null and (l.tried_at is null or l.tried_at <= $2
                   or (l.tried_at <= $3 and (l.fault is not null or l.next_update is null or l.next_update <= $1)))
               order by l.tried_at nulls first limit 1000";
    sqlx::query_as(sql).bind(now).bind(before).bind(sooner).fetch_all(pool).await
}
