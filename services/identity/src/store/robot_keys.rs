//! Keys of service accounts, as hashes. At most two live at once, so that one can replace the other without a gap.

use gantry_kernel::{OffsetDateTime, Uuid};
use sqlx::PgPool;

#[derive(Clone, Debug)]
pub struct RobotKey {
    pub id: Uuid,
    pub robot: Uuid,
    pub name: String,
    /// Its first letters.
    pub hint: String,
    pub created_by: String,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub last_used_at: Option<OffsetDateTime>,
}

crate::store::row!(RobotKey { id, robot, name, hint, created_by, created_at, expires_at, last_used_at });

const COLUMNS: &str = "id, robot, name, hint, created_by, created_at, expires_at, last_used_at";

/// `false`: `most` live keys are there already. Two requests at once cannot both slip in.
pub async fn insert(pool: &PgPool, key: &RobotKey, hash: &[u8], most: i64) -> Result<bool, sqlx::Error> {
    let mut tx = pool.begin().await?;
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 7203310))").bind(key.robot.to_string()).execute(&mut *tx).await?;
    let live: i64 = sqlx::query_scalar("select count(*) from robot_keys where robot = $1 and revoked_at is null and expires_at > $2")
        .bind(key.robot)
        .bind(key.created_at)
        .fetch_one(&mut *tx)
        .await?;
    if live >= most {
        return Ok(false);
    }
    sqlx::query("insert into robot_keys (id, robot, name, hint, hash, created_by, created_at, expires_at) values ($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(key.id)
        .bind(key.robot)
        .bind(&key.name)
        .bind(&key.hint)
        .bind(hash)
        .bind(&key.created_by)
        .bind(key.created_at)
        .bind(key.expires_at)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(true)
}

pub async fn of_robot(pool: &PgPool, robot: Uuid) -> Result<Vec<RobotKey>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from robot_keys where robot = $1 and revoked_at is null order by created_at");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(robot).fetch_all(pool).await
}

/// The living key of a hash; notes the use, at most once a minute.
pub async fn find(pool: &PgPool, hash: &[u8], now: OffsetDateTime) -> Result<Option<RobotKey>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from robot_keys where hash = $1 and revoked_at is null and expires_at > $2");
    let found: Option<RobotKey> = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(hash).bind(now).fetch_optional(pool).await?;
    if let Some(key) = &found {
        sqlx::query("update robot_keys set last_used_at = $2 where id = $1 and (last_used_at is null or last_used_at < $2 - interval '1 minute')")
            .bind(key.id)
            .bind(now)
            .execute(pool)
            .await?;
    }
    Ok(found)
}

/// Of an account that is suspended or gone none is.
pub async fn is_alive(pool: &PgPool, id: Uuid, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let sql = "select exists (select from robot_keys k join robots r on r.id = k.robot
        where k.id = $1 and k.revoked_at is null and k.expires_at > $2 and r.suspended_reason is null)";
    sqlx::query_scalar(sql).bind(id).bind(now).fetch_one(pool).await
}

pub async fn revoke(pool: &PgPool, robot: Uuid, id: Uuid, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let sql = "update robot_keys set revoked_at = $3 where id = $2 and robot = $1 and revoked_at is null";
    Ok(sqlx::query(sql).bind(robot).bind(id).bind(now).execute(pool).await?.rows_affected() > 0)
}
