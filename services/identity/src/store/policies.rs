//! Security policies, read at every sign-in and session.

use gantry_kernel::Uuid;
use sea_orm::{DatabaseConnection, DbErr, EntityTrait};
use sqlx::PgPool;

use crate::store::entities::policy;

pub async fn of(db: &DatabaseConnection, org: Uuid) -> Result<Option<policy::Model>, DbErr> {
    policy::Entity::find_by_id(org).one(db).await
}

/// The platform's, and those of every organisation that somebody is a member of.
pub async fn for_user(pool: &PgPool, user: Uuid) -> Result<Vec<String>, sqlx::Error> {
    let sql = "select policy from security_policies where org = $1 or org in (select org from members where user_id = $2)";
    sqlx::query_scalar(sql).bind(Uuid::nil()).bind(user).fetch_all(pool).await
}
