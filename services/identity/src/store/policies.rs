//! Security policies, read at every sign-in and session.

use gantry_kernel::{OffsetDateTime, Uuid};
use sea_orm::{DatabaseConnection, DbErr, EntityTrait};
use sqlx::PgPool;

use crate::store::entities::policy;

pub async fn of(db: &DatabaseConnection, org: Uuid) -> Result<Option<policy::Model>, DbErr> {
    policy::Entity::find_by_id(org).one(db).await
}

/// As [`for_user`], the kinds of the person's second factors, and when all sign-ins were ended last: all that a sign-in looks at once it is
/// proved, in one question.
pub async fn with_factors(pool: &PgPool, user: Uuid) -> Result<(Vec<String>, Vec<String>, Option<OffsetDateTime>), sqlx::Error> {
    let sql = "select array(select policy from security_policies where org = $1 or org in (select org from members where user_id = $2)),
                      array(select kind from factors where user_id = $2),
                      (select at from sign_ins_ended where user_id = $2)";
    sqlx::query_as(sql).bind(Uuid::nil()).bind(user).fetch_one(pool).await
}

/// The platform's, and those of every organisation that somebody is a member of.
pub async fn for_user(pool: &PgPool, user: Uuid) -> Result<Vec<String>, sqlx::Error> {
    let sql = "select policy from security_policies where org = $1 or org in (select org from members where user_id = $2)";
    sqlx::query_scalar(sql).bind(Uuid::nil()).bind(user).fetch_all(pool).await
}
