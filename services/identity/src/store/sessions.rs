//! Browser sessions. The cookie holds a random secret, the table its hash.

use gantry_kernel::{OffsetDateTime, UserId, Uuid};
use sqlx::{FromRow, PgPool, Row};
use time::Duration;

use crate::store::directory::{ALONG, user_along};
use crate::store::entities::user;

/// When all sign-ins of somebody were ended last.
pub const ENDED: &str = "create table sign_ins_ended (user_id uuid primary key, at timestamptz not null);
    create index sign_ins_ended_at on sign_ins_ended (at);";

#[derive(Clone, Debug)]
pub struct Session {
    pub id: Uuid,
    pub user_id: Uuid,
    pub created_at: OffsetDateTime,
    pub last_seen_at: OffsetDateTime,
    pub auth_time: OffsetDateTime,
    /// How the person proved who they are (RFC 8176), separated by spaces.
    pub amr: String,
    pub expires_at: OffsetDateTime,
    pub from_addr: String,
    pub user_agent: String,
}

crate::store::row!(Session { id, user_id, created_at, last_seen_at, auth_time, amr, expires_at, from_addr, user_agent });

const COLUMNS: &str = "id, user_id, created_at, last_seen_at, auth_time, amr, expires_at, from_addr, user_agent";

/// Opens a session and, if `device` names one by its hash, remembers that device, in one statement. Whether the device is new, and there
/// were others before. `None`: all sign-ins of the person were ended since; `ended_at` is when that was last as far as the sign-in knows.
pub async fn open(
    pool: &PgPool,
    session: &Session,
    secret_hash: &[u8],
    device: Option<&[u8]>,
    ended_at: Option<OffsetDateTime>,
) -> Result<Option<bool>, sqlx::Error> {
    // As `links::note_device`.
    sqlx::query_scalar(
        "with opened as (
            insert into sessions (id, user_id, secret_hash, created_at, last_seen_at, auth_time, amr, expires_at, from_addr, user_agent)
            select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10
            where not exists (select from sign_ins_ended e where e.user_id = $2 and ($12::timestamptz is null or e.at > $12)) returning id),
         noted as (
            insert into known_devices (user_id, hash, first_seen_at, last_seen_at, user_agent, from_addr)
            select $2, $11, $5, $5, $10, $9 from opened where $11::bytea is not null
            on conflict (user_id, hash) do update set last_seen_at = excluded.last_seen_at, from_addr = excluded.from_addr
            returning first_seen_at = last_seen_at as fresh)
         select coalesce((select fresh from noted), false) and exists (select from known_devices where user_id = $2) from opened",
    )
    .bind(session.id)
    .bind(session.user_id)
    .bind(secret_hash)
    .bind(session.created_at)
    .bind(session.last_seen_at)
    .bind(session.auth_time)
    .bind(&session.amr)
    .bind(session.expires_at)
    .bind(&session.from_addr)
    .bind(&session.user_agent)
    .bind(device)
    .bind(ended_at)
    .fetch_optional(pool)
    .await
}

/// A living session with what decides whether it still counts.
#[derive(Clone, Debug)]
pub struct Living {
    pub session: Session,
    pub user: user::Model,
    /// As [`crate::store::policies::for_user`] has them.
    pub policies: Vec<String>,
}

/// The living session of a cookie; none, too, when its person is gone. Asked for with every page and every request for a code, so all of
/// it comes in one answer.
pub async fn find(pool: &PgPool, secret_hash: &[u8], now: OffsetDateTime) -> Result<Option<Living>, sqlx::Error> {
    let sql = format!(
        "select s.id, s.user_id, s.created_at, s.last_seen_at, s.auth_time, s.amr, s.expires_at, s.from_addr, s.user_agent, {ALONG},
                array(select p.policy from security_policies p
                      where p.org = $3 or p.org in (select m.org from members m where m.user_id = s.user_id)) as policies
         from sessions s join users u on u.id = s.user_id
         where s.secret_hash = $1 and s.ended_at is null and s.expires_at > $2"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(secret_hash).bind(now).bind(Uuid::nil()).fetch_optional(pool).await?;
    let Some(row) = row else { return Ok(None) };
    let Some(user) = user_along(&row)? else { return Ok(None) };
    Ok(Some(Living { session: Session::from_row(&row)?, user, policies: row.try_get("policies")? }))
}

/// The living session of an id, if it is this person's.
pub async fn by_id(pool: &PgPool, user: UserId, id: Uuid, now: OffsetDateTime) -> Result<Option<Session>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from sessions where id = $2 and user_id = $1 and ended_at is null and expires_at > $3");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(user.0).bind(id).bind(now).fetch_optional(pool).await
}

/// The session's person has proved more: other methods, and a new secret. Whether it is still alive.
pub async fn strengthen(pool: &PgPool, user: UserId, id: Uuid, amr: &str, secret_hash: &[u8]) -> Result<bool, sqlx::Error> {
    let sql = "update sessions set amr = $3, secret_hash = $4 where id = $2 and user_id = $1 and ended_at is null";
    Ok(sqlx::query(sql).bind(user.0).bind(id).bind(amr).bind(secret_hash).execute(pool).await?.rows_affected() > 0)
}

/// When a session was used last is known to so much: who has just read it need not write.
pub const SEEN_EVERY: Duration = Duration::minutes(1);

/// At most once a minute, so that reading stays cheap.
pub async fn seen(pool: &PgPool, id: Uuid, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query("update sessions set last_seen_at = $2 where id = $1 and last_seen_at < $2 - interval '1 minute'").bind(id).bind(now).execute(pool).await?;
    Ok(())
}

/// The newest ones, to be shown.
pub async fn of_user(pool: &PgPool, user: UserId, now: OffsetDateTime) -> Result<Vec<Session>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from sessions where user_id = $1 and ended_at is null and expires_at > $2 order by created_at desc limit 200");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(user.0).bind(now).fetch_all(pool).await
}

/// All that are alive but `keep`, however many.
pub async fn living(pool: &PgPool, user: UserId, keep: Option<Uuid>, now: OffsetDateTime) -> Result<Vec<Uuid>, sqlx::Error> {
    let sql = "select id from sessions where user_id = $1 and ended_at is null and expires_at > $2 and id is distinct from $3";
    sqlx::query_scalar(sql).bind(user.0).bind(now).bind(keep).fetch_all(pool).await
}

/// What goes with a session that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// The refresh tokens that came from it but those for when the person is away: it is over.
    Online,
    /// All of them: what was proved when it was opened counts for nothing any more.
    Everything,
}

/// Ends one session of a person, with the refresh tokens that came from it. Whether there was anything to end.
pub async fn end(pool: &PgPool, user: UserId, id: Uuid, along: Along, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let ended = sqlx::query("update sessions set ended_at = $3 where id = $2 and user_id = $1 and ended_at is null")
        .bind(user.0)
        .bind(id)
        .bind(now)
        .execute(&mut *tx)
        .await?;
    let families = "update families set ended_at = $3, end_reason = 'session ended' where id in (
                    select id from families where session_id = $2 and user_id = $1 and ended_at is null and (not offline or $4)
                    order by id for no key update)";
    let came = sqlx::query(families).bind(user.0).bind(id).bind(now).bind(along == Along::Everything).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(ended.rows_affected() + came.rows_affected() > 0)
}

/// Ends everything of a person but the session `keep` and what came from it, also the sign-ins that are under way.
pub async fn end_all(pool: &PgPool, user: UserId, keep: Option<Uuid>, why: &str, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    let mark = "insert into sign_ins_ended (user_id, at) values ($1, $2) on conflict (user_id) do update set at = greatest(sign_ins_ended.at, excluded.at)";
    sqlx::query(mark).bind(user.0).bind(now).execute(&mut *tx).await?;
    sqlx::query("update sessions set ended_at = $2 where user_id = $1 and ended_at is null and id is distinct from $3")
        .bind(user.0)
        .bind(now)
        .bind(keep)
        .execute(&mut *tx)
        .await?;
    let families = "update families set ended_at = $2, end_reason = $4 where id in (
                    select id from families where user_id = $1 and ended_at is null and session_id is distinct from $3 order by id for no key update)";
    sqlx::query(families).bind(user.0).bind(now).bind(keep).bind(why).execute(&mut *tx).await?;
    tx.commit().await
}

/// When all sign-ins of a person were ended last, if that was lately.
pub async fn all_ended_at(pool: &PgPool, user: UserId) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    sqlx::query_scalar("select at from sign_ins_ended where user_id = $1").bind(user.0).fetch_optional(pool).await
}

/// Sessions with their people whose time is over by the policy of the platform or of an organisation: so many hours after the sign-in, or
/// not used for so long. What a refresh token gave is used until it has run out, after `lasting`; what is for when the person is away does not
/// use the session. Those that ran out by themselves more than a day ago are not looked at.
pub async fn overdue(pool: &PgPool, lasting: Duration, now: OffsetDateTime, limit: i64) -> Result<Vec<(Uuid, Uuid)>, sqlx::Error> {
    // The strictest of each person first: what is asked of every session then does not grow with the organisations that have such a policy.
    let sql = "with limits as materialized (
            select org, (policy::jsonb ->> 'session_hours')::int * interval '1 hour' as whole, (policy::jsonb ->> 'session_idle_minutes')::int * interval '1 minute' as idle
            from security_policies where policy like '%\"session_%'),
         everybody as materialized (select min(whole) as whole, min(idle) as idle from limits where org = $2),
         somebody as materialized (
            select m.user_id, min(l.whole) as whole, min(l.idle) as idle from limits l join members m on m.org = l.org group by m.user_id),
         living as (
            select s.id, s.user_id, s.created_at, s.last_seen_at, least(e.whole, o.whole) as whole, least(e.idle, o.idle) as idle
            from sessions s cross join everybody e left join somebody o on o.user_id = s.user_id
            where s.ended_at is null and s.expires_at > $1 - interval '1 day' and (e.whole is not null or e.idle is not null or o.user_id is not null))
         select id, user_id from living l
         where l.created_at < $1 - l.whole
            or (l.last_seen_at < $1 - l.idle and not exists (
                select from families f left join refresh_tokens t on t.family = f.id
                where f.session_id = l.id and not f.offline and greatest(f.created_at, t.used_at) > $1 - l.idle - $3 * interval '1 second'))
         limit $4";
    sqlx::query_as(sql).bind(now).bind(Uuid::nil()).bind(lasting.as_seconds_f64()).bind(limit).fetch_all(pool).await
}

/// Whether tokens that came from a session were given since then, as [`overdue`] asks.
pub async fn worked_since(pool: &PgPool, id: Uuid, since: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let sql = "select exists (select from families f left join refresh_tokens t on t.family = f.id
               where f.session_id = $1 and not f.offline and greatest(f.created_at, t.used_at) > $2)";
    sqlx::query_scalar(sql).bind(id).bind(since).fetch_one(pool).await
}

/// The clients that a session was used for.
pub async fn clients_of(pool: &PgPool, ids: &[Uuid]) -> Result<Vec<(Uuid, Uuid, String)>, sqlx::Error> {
    let sql = "select s.id, s.user_id, c.client_id from session_clients c join sessions s on s.id = c.session_id where c.session_id = any($1)";
    sqlx::query_as(sql).bind(ids).fetch_all(pool).await
}

pub async fn is_alive(pool: &PgPool, id: Uuid, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from sessions where id = $1 and ended_at is null and expires_at > $2)").bind(id).bind(now).fetch_one(pool).await
}
