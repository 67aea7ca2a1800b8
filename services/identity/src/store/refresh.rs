//! Refresh tokens in families: all that descend from one sign-in at one client.
//!
//! Whatever ends several families takes them in the order of their ids: two that came the other way round would wait for each other, and one
//! of them (say, the end of all sign-ins after a new password) would fail.

use gantry_kernel::{OffsetDateTime, UserId, Uuid};
use sqlx::{FromRow, PgConnection, PgPool, Row};

use crate::domain::refresh::Shown;

pub const OFFLINE: &str = "alter table families add column offline boolean not null default false;";

#[derive(Clone, Debug)]
pub struct Family {
    pub id: Uuid,
    pub client_id: String,
    pub user_id: Uuid,
    pub session_id: Option<Uuid>,
    pub scope: String,
    pub auth_time: OffsetDateTime,
    pub amr: String,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub ended_at: Option<OffsetDateTime>,
    /// `domain::claims::ClaimsRequest` as JSON.
    pub claims: String,
    /// The key its tokens are bound to, as a `cnf` claim in JSON.
    pub cnf: Option<String>,
    /// It is for when the person is away, and goes on when the session ends.
    pub offline: bool,
}

crate::store::row!(Family { id, client_id, user_id, session_id, scope, auth_time, amr, created_at, expires_at, ended_at, claims, cnf, offline });

const FAMILY: &str =
    "f.id, f.client_id, f.user_id, f.session_id, f.scope, f.auth_time, f.amr, f.created_at, f.expires_at, f.ended_at, f.claims, f.cnf, f.offline";

/// Starts a family, with its first token if it has one, in one statement. `ground`: the session that gave the code or the word for it;
/// it must be alive, and stays so until this is written, so that whoever ends it ends the family, too. `joins`: its client has part in
/// the session and wants to hear of its end. `false`: the session has ended, or the family has before it began (a replayed code).
pub async fn start(
    connection: &mut PgConnection,
    family: &Family,
    ground: Option<Uuid>,
    token: Option<(&[u8], OffsetDateTime)>,
    joins: bool,
) -> Result<bool, sqlx::Error> {
    let begun: Option<i32> = sqlx::query_scalar(
        "with ground as (select id from sessions where id = $15 and ended_at is null and expires_at > $8 for share),
         begun as (
            insert into families (id, client_id, user_id, session_id, scope, auth_time, amr, created_at, expires_at, claims, cnf, offline)
            select $1::uuid, $2::text, $3::uuid, $4::uuid, $5::text, $6::timestamptz, $7::text, $8::timestamptz, $9::timestamptz, $10::text, $11::text, $16::boolean
            where $15::uuid is null or exists (select from ground) on conflict (id) do nothing returning id, session_id, client_id),
         token as (
            insert into refresh_tokens (hash, family, expires_at) select $12, id, $13 from begun where $12::bytea is not null on conflict do nothing),
         joined as (
            insert into session_clients (session_id, client_id) select session_id, client_id from begun where $14 and session_id is not null
            on conflict do nothing)
         select 1 from begun",
    )
    .bind(family.id)
    .bind(&family.client_id)
    .bind(family.user_id)
    .bind(family.session_id)
    .bind(&family.scope)
    .bind(family.auth_time)
    .bind(&family.amr)
    .bind(family.created_at)
    .bind(family.expires_at)
    .bind(&family.claims)
    .bind(&family.cnf)
    .bind(token.map(|(hash, _)| hash))
    .bind(token.map(|(_, expires_at)| expires_at))
    .bind(joins)
    .bind(ground)
    .bind(family.offline)
    .fetch_optional(connection)
    .await?;
    Ok(begun.is_some())
}

async fn insert_token(connection: &mut PgConnection, hash: &[u8], family: Uuid, expires_at: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query("insert into refresh_tokens (hash, family, expires_at) values ($1, $2, $3) on conflict do nothing")
        .bind(hash)
        .bind(family)
        .bind(expires_at)
        .execute(connection)
        .await?;
    Ok(())
}

/// A shown token with its family; the row stays locked until the transaction ends, so that two at once see each other.
pub async fn lock(connection: &mut PgConnection, hash: &[u8]) -> Result<Option<(Family, Shown)>, sqlx::Error> {
    let sql = format!(
        "select {FAMILY}, t.expires_at as token_expires_at, t.used_at,
                coalesce((select s.used_at is not null from refresh_tokens s where s.hash = t.successor), false) as successor_used
         from refresh_tokens t join families f on f.id = t.family where t.hash = $1 for update of t"
    );
    let Some(row) = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(hash).fetch_optional(connection).await? else { return Ok(None) };
    let family = Family::from_row(&row)?;
    let shown = Shown {
        expires_at: row.try_get("token_expires_at")?,
        used_at: row.try_get("used_at")?,
        successor_used: row.try_get("successor_used")?,
        family_ended: family.ended_at.is_some(),
        family_expires_at: family.expires_at,
    };
    Ok(Some((family, shown)))
}

/// What a first use needs to be let through at once.
pub struct FirstUse<'a> {
    pub hash: &'a [u8],
    pub client: &'a str,
    /// The `cnf` that the request proves, in JSON.
    pub cnf: Option<&'a str>,
    pub successor: &'a [u8],
    pub now: OffsetDateTime,
    pub successor_expires_at: OffsetDateTime,
}

/// Rotates a token that is used for the first time and that nothing speaks against, in one statement. `None`: nothing was
/// changed, and [`lock`] tells why not.
pub async fn rotate_first(pool: &PgPool, it: &FirstUse<'_>) -> Result<Option<Family>, sqlx::Error> {
    let sql = format!(
        "with rotated as (
            update refresh_tokens t set used_at = $4, successor = $5 from families f
            where t.hash = $1 and f.id = t.family and f.client_id = $2 and (f.cnf is null or f.cnf = $3)
              and t.used_at is null and t.expires_at > $4 and f.ended_at is null and f.expires_at > $4
            returning {FAMILY}),
         added as (insert into refresh_tokens (hash, family, expires_at) select $5, id, $6 from rotated on conflict do nothing)
         select * from rotated"
    );
    let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(it.hash).bind(it.client).bind(it.cnf).bind(it.now);
    query.bind(it.successor).bind(it.successor_expires_at).fetch_optional(pool).await
}

pub async fn rotate(
    connection: &mut PgConnection,
    hash: &[u8],
    successor: &[u8],
    family: Uuid,
    now: OffsetDateTime,
    expires_at: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query("update refresh_tokens set used_at = $2, successor = $3 where hash = $1")
        .bind(hash)
        .bind(now)
        .bind(successor)
        .execute(&mut *connection)
        .await?;
    insert_token(connection, successor, family, expires_at).await
}

/// Ends a family.
pub async fn end(pool: &PgPool, family: Uuid, why: &str, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query("update families set ended_at = $2, end_reason = $3 where id = $1 and ended_at is null").bind(family).bind(now).bind(why).execute(pool).await?;
    Ok(())
}

/// Ends a family, or makes sure that it never begins: a replayed code may overtake its own first use.
pub async fn forestall(pool: &PgPool, family: &Family, why: &str, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    start(&mut connection, family, None, None, false).await?;
    drop(connection);
    end(pool, family.id, why, now).await
}

/// The family of a token, used or not.
pub async fn family_of(pool: &PgPool, hash: &[u8]) -> Result<Option<(Family, OffsetDateTime, bool)>, sqlx::Error> {
    let sql = format!(
        "select {FAMILY}, t.expires_at as token_expires_at, t.used_at is not null as used
         from refresh_tokens t join families f on f.id = t.family where t.hash = $1"
    );
    let Some(row) = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(hash).fetch_optional(pool).await? else { return Ok(None) };
    Ok(Some((Family::from_row(&row)?, row.try_get("token_expires_at")?, row.try_get("used")?)))
}

/// Whether tokens of this family still count; a family that was never written does.
pub async fn is_ended(pool: &PgPool, family: Uuid) -> Result<bool, sqlx::Error> {
    let ended: Option<bool> = sqlx::query_scalar("select ended_at is not null from families where id = $1").bind(family).fetch_optional(pool).await?;
    Ok(ended.unwrap_or(false))
}

/// The claims that were asked for at its beginning.
pub async fn claims_of(pool: &PgPool, family: Uuid) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("select claims from families where id = $1").bind(family).fetch_optional(pool).await
}

/// Ends all that a client has of a person, what is under way with it: codes that were not exchanged yet and devices that were approved give
/// nothing any more. How many of all of these.
pub async fn disconnect(connection: &mut PgConnection, user: UserId, client: &str, why: &str, now: OffsetDateTime) -> Result<u64, sqlx::Error> {
    // The family of a code is there before the code is shown: its first use comes too late. One that ran out a moment ago may be in somebody's hands.
    let codes = "insert into families (id, client_id, user_id, session_id, scope, auth_time, amr, created_at, expires_at, claims, ended_at, end_reason)
                 select family, client_id, user_id, session_id, scope, auth_time, amr, $3, $3 + interval '1 day', claims, $3, $4 from codes
                 where user_id = $1 and client_id = $2 and expires_at > $3 - interval '1 minute' on conflict (id) do nothing";
    let begun = sqlx::query(codes).bind(user.0).bind(client).bind(now).bind(why).execute(&mut *connection).await?;
    let devices = "update device_codes set state = 'denied' where user_id = $1 and client_id = $2 and state = 'approved' and expires_at > $3";
    let approved = sqlx::query(devices).bind(user.0).bind(client).bind(now).execute(&mut *connection).await?;
    let families = "update families set ended_at = $3, end_reason = $4 where id in (
                    select id from families where user_id = $1 and client_id = $2 and ended_at is null order by id for no key update)";
    let had = sqlx::query(families).bind(user.0).bind(client).bind(now).bind(why).execute(&mut *connection).await?;
    Ok(begun.rows_affected() + approved.rows_affected() + had.rows_affected())
}

pub async fn end_all_of_client(pool: &PgPool, client: &str, why: &str, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    let sql = "update families set ended_at = $2, end_reason = $3 where id in (
               select id from families where client_id = $1 and ended_at is null order by id for no key update)";
    sqlx::query(sql).bind(client).bind(now).bind(why).execute(pool).await?;
    Ok(())
}

pub async fn end_all_of(pool: &PgPool, user: UserId, why: &str, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    let sql = "update families set ended_at = $2, end_reason = $3 where id in (
               select id from families where user_id = $1 and ended_at is null order by id for no key update)";
    sqlx::query(sql).bind(user.0).bind(now).bind(why).execute(pool).await?;
    Ok(())
}
