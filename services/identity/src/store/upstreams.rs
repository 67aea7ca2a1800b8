//! Queries of the upstreams read model, and the tables beside it: how far each synchronisation is and what the last
//! ones did, and what was last seen of each linked account.

use gantry_kernel::{OffsetDateTime, Uuid};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};

/// Tables that are no projections.
pub const TABLES: &str = "create table sync_runs (
        id uuid primary key, upstream uuid not null, kind text not null, started_at timestamptz not null, ended_at timestamptz,
        result text not null, report jsonb not null
    );
    create index sync_runs_upstream on sync_runs (upstream, started_at);
    create table sync_marks (upstream uuid primary key, mark text, server text, version bigint not null, full_at timestamptz);
    create table link_states (link uuid primary key, seen bytea not null, seen_at timestamptz not null);";

#[derive(Clone, Debug)]
pub struct UpstreamRow {
    pub id: Uuid,
    pub org: Option<Uuid>,
    pub name: String,
    pub settings: Value,
    pub secret: Option<String>,
    pub version: i64,
    pub created_at: OffsetDateTime,
    pub changed_at: OffsetDateTime,
}

#[derive(Clone, Debug)]
pub struct LinkRow {
    pub id: Uuid,
    pub upstream: Uuid,
    pub user_id: Uuid,
    pub key: String,
    pub subject: String,
    pub provisioned: bool,
    pub created_at: OffsetDateTime,
}

#[derive(Clone, Debug)]
pub struct GrantRow {
    pub binding: Uuid,
    pub user_id: Uuid,
    pub role: String,
    pub scope: String,
}

#[derive(Clone, Debug)]
pub struct MembershipRow {
    pub team: Uuid,
    pub user_id: Uuid,
    pub org: Uuid,
}

/// A link with what a synchronisation wants to know of its person.
#[derive(Clone, Debug)]
pub struct LinkedRow {
    pub id: Uuid,
    pub user_id: Uuid,
    pub key: String,
    pub provisioned: bool,
    pub suspended_reason: Option<String>,
    pub seen: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
pub struct SyncRow {
    pub id: Uuid,
    pub upstream: Uuid,
    pub kind: String,
    pub started_at: OffsetDateTime,
    pub ended_at: Option<OffsetDateTime>,
    /// `running`, `ok`, `failed`.
    pub result: String,
    pub report: Value,
}

#[derive(Clone, Debug, Default)]
pub struct Mark {
    /// The greatest modification stamp seen; with `server` for directories that count for themselves.
    pub mark: Option<String>,
    pub server: Option<String>,
    /// The version of the upstream the mark was made with.
    pub version: i64,
    pub full_at: Option<OffsetDateTime>,
}

crate::store::row!(UpstreamRow { id, org, name, settings, secret, version, created_at, changed_at });
crate::store::row!(LinkRow { id, upstream, user_id, key, subject, provisioned, created_at });
crate::store::row!(GrantRow { binding, user_id, role, scope });
crate::store::row!(MembershipRow { team, user_id, org });
crate::store::row!(LinkedRow { id, user_id, key, provisioned, suspended_reason, seen });
crate::store::row!(SyncRow { id, upstream, kind, started_at, ended_at, result, report });
crate::store::row!(Mark { mark, server, version, full_at });

const UPSTREAM: &str = "select id, org, name, settings, secret, version, created_at, changed_at from upstreams";
const LINK: &str = "select id, upstream, user_id, key, subject, provisioned, created_at from links";

/// All of them: an installation has a handful, and tenants a few more.
pub async fn all(pool: &PgPool) -> Result<Vec<UpstreamRow>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!("{UPSTREAM} order by (settings->>'priority')::int, name"))).fetch_all(pool).await
}

pub async fn by_name(pool: &PgPool, name: &str) -> Result<Option<UpstreamRow>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!("{UPSTREAM} where name = $1"))).bind(name).fetch_optional(pool).await
}

pub async fn link(pool: &PgPool, upstream: Uuid, key: &str) -> Result<Option<LinkRow>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!("{LINK} where upstream = $1 and key = $2"))).bind(upstream).bind(key).fetch_optional(pool).await
}

pub async fn links_of(pool: &PgPool, user: Uuid) -> Result<Vec<LinkRow>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!("{LINK} where user_id = $1 order by created_at"))).bind(user).fetch_all(pool).await
}

/// Links to upstreams that are no more.
pub async fn orphan_links(pool: &PgPool, limit: i64) -> Result<Vec<LinkRow>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!("{LINK} where upstream not in (select id from upstreams) limit $1"))).bind(limit).fetch_all(pool).await
}

pub async fn links_at(pool: &PgPool, upstream: Uuid) -> Result<Vec<LinkedRow>, sqlx::Error> {
    let sql = "select l.id, l.user_id, l.key, l.provisioned, u.suspended_reason, s.seen from links l join users u on u.id = l.user_id
               left join link_states s on s.link = l.id where l.upstream = $1";
    sqlx::query_as(sql).bind(upstream).fetch_all(pool).await
}

pub async fn grants(pool: &PgPool, upstream: Uuid, user: Option<Uuid>) -> Result<Vec<GrantRow>, sqlx::Error> {
    let sql = "select binding, user_id, role, scope from upstream_grants where upstream = $1 and ($2::uuid is null or user_id = $2)";
    sqlx::query_as(sql).bind(upstream).bind(user).fetch_all(pool).await
}

pub async fn memberships(pool: &PgPool, upstream: Uuid, user: Option<Uuid>) -> Result<Vec<MembershipRow>, sqlx::Error> {
    let sql = "select team, user_id, org from upstream_memberships where upstream = $1 and ($2::uuid is null or user_id = $2)";
    sqlx::query_as(sql).bind(upstream).bind(user).fetch_all(pool).await
}

/// Remembers what was last seen of linked accounts.
pub async fn saw(pool: &PgPool, links: &[Uuid], seen: &[Vec<u8>], now: OffsetDateTime) -> Result<(), sqlx::Error> {
    let sql = "insert into link_states (link, seen, seen_at) select *, $3 from unnest($1::uuid[], $2::bytea[])
               on conflict (link) do update set seen = excluded.seen, seen_at = excluded.seen_at";
    sqlx::query(sql).bind(links).bind(seen).bind(now).execute(pool).await?;
    Ok(())
}

pub async fn mark(pool: &PgPool, upstream: Uuid) -> Result<Mark, sqlx::Error> {
    let sql = "select mark, server, version, full_at from sync_marks where upstream = $1";
    Ok(sqlx::query_as(sql).bind(upstream).fetch_optional(pool).await?.unwrap_or_default())
}

pub async fn set_mark(pool: &PgPool, upstream: Uuid, mark: &Mark) -> Result<(), sqlx::Error> {
    let sql = "insert into sync_marks (upstream, mark, server, version, full_at) values ($1, $2, $3, $4, $5)
               on conflict (upstream) do update set mark = excluded.mark, server = excluded.server, version = excluded.version, full_at = excluded.full_at";
    sqlx::query(sql).bind(upstream).bind(&mark.mark).bind(&mark.server).bind(mark.version).bind(mark.full_at).execute(pool).await?;
    Ok(())
}

pub async fn sync_begun(pool: &PgPool, id: Uuid, upstream: Uuid, kind: &str, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    // Whatever still claims to run held the lease before us, and is gone.
    sqlx::query("update sync_runs set result = 'failed', ended_at = $2, report = '{\"fault\": \"interrupted\"}' where upstream = $1 and result = 'running'")
        .bind(upstream)
        .bind(now)
        .execute(pool)
        .await?;
    sqlx::query("insert into sync_runs (id, upstream, kind, started_at, result, report) values ($1, $2, $3, $4, 'running', '{}')")
        .bind(id)
        .bind(upstream)
        .bind(kind)
        .bind(now)
        .execute(pool)
        .await?;
    Ok(())
}

pub async fn sync_ended(pool: &PgPool, id: Uuid, kind: &str, result: &str, report: &Value, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query("update sync_runs set kind = $2, result = $3, report = $4, ended_at = $5 where id = $1")
        .bind(id)
        .bind(kind)
        .bind(result)
        .bind(report)
        .bind(now)
        .execute(pool)
        .await?;
    sqlx::query(
        "delete from sync_runs where upstream = (select upstream from sync_runs where id = $1) and id not in
         (select id from sync_runs where upstream = (select upstream from sync_runs where id = $1) order by started_at desc limit 50)",
    )
    .bind(id)
    .execute(pool)
    .await?;
    Ok(())
}

pub async fn syncs(pool: &PgPool, upstream: Uuid, limit: i64) -> Result<Vec<SyncRow>, sqlx::Error> {
    let sql = "select id, upstream, kind, started_at, ended_at, result, report from sync_runs where upstream = $1 order by started_at desc limit $2";
    sqlx::query_as(sql).bind(upstream).bind(limit).fetch_all(pool).await
}

/// Upstreams and when each was last synchronised.
pub async fn last_syncs(pool: &PgPool) -> Result<Vec<(Uuid, OffsetDateTime)>, sqlx::Error> {
    sqlx::query_as("select upstream, max(started_at) from sync_runs group by upstream").fetch_all(pool).await
}
