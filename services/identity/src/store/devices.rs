//! Device codes (RFC 8628).

use gantry_kernel::{OffsetDateTime, UserId, Uuid};
use sqlx::{PgConnection, PgPool};
use time::Duration;

use crate::domain::device::{Polled, State};

#[derive(Clone, Debug)]
pub struct Device {
    pub client_id: String,
    pub scope: String,
    pub state: String,
    pub user_id: Option<Uuid>,
    pub session_id: Option<Uuid>,
    pub auth_time: Option<OffsetDateTime>,
    pub amr: Option<String>,
    pub expires_at: OffsetDateTime,
    pub interval_secs: i32,
    pub last_poll: Option<OffsetDateTime>,
}

crate::store::row!(Device { client_id, scope, state, user_id, session_id, auth_time, amr, expires_at, interval_secs, last_poll });

impl Device {
    pub fn polled(&self) -> Polled {
        let state = match self.state.as_str() {
            "approved" => State::Approved,
            "denied" => State::Denied,
            "consumed" => State::Consumed,
            _ => State::Pending,
        };
        Polled { state, expires_at: self.expires_at, interval: Duration::seconds(self.interval_secs.into()), last_poll: self.last_poll }
    }
}

const COLUMNS: &str = "client_id, scope, state, user_id, session_id, auth_time, amr, expires_at, interval_secs, last_poll";

/// `false`: the user code is in use; draw another.
pub async fn insert(pool: &PgPool, hash: &[u8], user_code: &str, device: &Device, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query(
        "insert into device_codes (hash, user_code, client_id, scope, created_at, expires_at, interval_secs)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict (user_code) do nothing",
    )
    .bind(hash)
    .bind(user_code)
    .bind(&device.client_id)
    .bind(&device.scope)
    .bind(now)
    .bind(device.expires_at)
    .bind(device.interval_secs)
    .execute(pool)
    .await?;
    Ok(inserted.rows_affected() > 0)
}

pub async fn by_user_code(pool: &PgPool, user_code: &str, now: OffsetDateTime) -> Result<Option<Device>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from device_codes where user_code = $1 and state = 'pending' and expires_at > $2");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(user_code).bind(now).fetch_optional(pool).await
}

pub struct Decision<'a> {
    pub approve: bool,
    pub user: UserId,
    pub session: Uuid,
    pub auth_time: OffsetDateTime,
    pub amr: &'a str,
}

/// The person's word; `false` when there is nothing to decide any more.
pub async fn decide(pool: &PgPool, user_code: &str, decision: &Decision<'_>, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let changed = sqlx::query(
        "update device_codes set state = case when $2 then 'approved' else 'denied' end, user_id = $3, session_id = $4, auth_time = $5, amr = $6
         where user_code = $1 and state = 'pending' and expires_at > $7",
    )
    .bind(user_code)
    .bind(decision.approve)
    .bind(decision.user.0)
    .bind(decision.session)
    .bind(decision.auth_time)
    .bind(decision.amr)
    .bind(now)
    .execute(pool)
    .await?;
    Ok(changed.rows_affected() > 0)
}

pub async fn lock(connection: &mut PgConnection, hash: &[u8]) -> Result<Option<Device>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from device_codes where hash = $1 for update");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(hash).fetch_optional(connection).await
}

pub async fn polled(connection: &mut PgConnection, hash: &[u8], now: OffsetDateTime, slower_by: i32) -> Result<(), sqlx::Error> {
    sqlx::query("update device_codes set last_poll = $2, interval_secs = least(interval_secs + $3, 60) where hash = $1")
        .bind(hash)
        .bind(now)
        .bind(slower_by)
        .execute(connection)
        .await?;
    Ok(())
}

pub async fn consume(connection: &mut PgConnection, hash: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query("update device_codes set state = 'consumed' where hash = $1").bind(hash).execute(connection).await?;
    Ok(())
}
