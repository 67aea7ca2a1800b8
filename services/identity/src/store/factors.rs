//! Second factors: the read model, and what changes with each use (no events: uses are facts of high volume).

use gantry_kernel::{OffsetDateTime, UserId, Uuid};
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, QueryOrder};
use sqlx::PgPool;

use crate::store::entities::{factor, recovery};

pub async fn of_user(db: &DatabaseConnection, user: UserId) -> Result<Vec<factor::Model>, DbErr> {
    factor::Entity::find().filter(factor::Column::UserId.eq(user.0)).order_by_asc(factor::Column::CreatedAt).all(db).await
}

pub async fn recovery(db: &DatabaseConnection, user: UserId) -> Result<Option<recovery::Model>, DbErr> {
    recovery::Entity::find_by_id(user.0).one(db).await
}

/// When each factor was used last.
pub async fn uses(pool: &PgPool, user: UserId) -> Result<Vec<(Uuid, OffsetDateTime)>, sqlx::Error> {
    sqlx::query_as("select factor, last_used_at from factor_uses where user_id = $1").bind(user.0).fetch_all(pool).await
}

/// Uses up a step of a code generator. Of two requests at once with the same code, one gets it; older steps are gone too.
pub async fn take_step(pool: &PgPool, user: UserId, factor: Uuid, step: i64, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let sql = "insert into factor_uses (factor, user_id, counter, last_used_at) values ($1, $2, $3, $4)
               on conflict (factor) do update set counter = excluded.counter, last_used_at = excluded.last_used_at
               where factor_uses.counter < excluded.counter";
    Ok(sqlx::query(sql).bind(factor).bind(user.0).bind(step).bind(now).execute(pool).await?.rows_affected() > 0)
}

/// Notes the use of a passkey and its counter, which never goes back.
pub async fn used(pool: &PgPool, user: UserId, factor: Uuid, counter: i64, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    let sql = "insert into factor_uses (factor, user_id, counter, last_used_at) values ($1, $2, $3, $4)
               on conflict (factor) do update set counter = greatest(factor_uses.counter, excluded.counter), last_used_at = excluded.last_used_at";
    sqlx::query(sql).bind(factor).bind(user.0).bind(counter).bind(now).execute(pool).await?;
    Ok(())
}

pub async fn counter(pool: &PgPool, factor: Uuid) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("select counter from factor_uses where factor = $1").bind(factor).fetch_optional(pool).await
}

/// Uses up a recovery code, given by its keyed hash. Whether it was still there.
pub async fn take_recovery(pool: &PgPool, user: UserId, code: &str, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let sql = "insert into recovery_uses (user_id, code, used_at) values ($1, $2, $3) on conflict do nothing";
    Ok(sqlx::query(sql).bind(user.0).bind(code).bind(now).execute(pool).await?.rows_affected() > 0)
}

pub async fn used_recovery(pool: &PgPool, user: UserId) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select code from recovery_uses where user_id = $1").bind(user.0).fetch_all(pool).await
}
