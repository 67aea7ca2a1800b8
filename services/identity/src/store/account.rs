//! What people see of their own account beside the directory: connected applications, facts, known devices.

use gantry_kernel::{OffsetDateTime, UserId};
use sqlx::PgPool;

use crate::store::refresh;

/// Applications with living tokens: client, scopes, since when.
pub async fn apps(pool: &PgPool, user: UserId, now: OffsetDateTime) -> Result<Vec<(String, Vec<String>, OffsetDateTime)>, sqlx::Error> {
    let sql = "select client_id, array_agg(distinct scope), min(created_at) from families
               where user_id = $1 and ended_at is null and expires_at > $2 group by client_id order by client_id limit 500";
    sqlx::query_as(sql).bind(user.0).bind(now).fetch_all(pool).await
}

/// Ends all that a client has of a person; how many families, codes and devices.
pub async fn disconnect(pool: &PgPool, user: UserId, client: &str, now: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let ended = refresh::disconnect(&mut tx, user, client, "disconnected", now).await?;
    tx.commit().await?;
    Ok(ended)
}

type FactRow = (OffsetDateTime, String, String, String, String, String);

/// Facts that a person did or that were about them, the latest first.
pub async fn facts(pool: &PgPool, subject: &str) -> Result<Vec<FactRow>, sqlx::Error> {
    let sql = "(select at, fact ->> 'action', object, fact ->> 'result', fact ->> 'reason', fact ->> 'from' from fact_chain where actor = $1 or object = $1
                order by at desc limit 5000)
               union all
               (select at, action, object, result, reason, from_addr from facts where actor = $1 or object = $1 order by at desc limit 5000)
               order by 1 desc limit 5000";
    sqlx::query_as(sql).bind(subject).fetch_all(pool).await
}

pub async fn devices(pool: &PgPool, user: UserId) -> Result<Vec<(OffsetDateTime, OffsetDateTime, String, String)>, sqlx::Error> {
    let sql = "select first_seen_at, last_seen_at, user_agent, from_addr from known_devices where user_id = $1 order by last_seen_at desc limit 200";
    sqlx::query_as(sql).bind(user.0).fetch_all(pool).await
}
