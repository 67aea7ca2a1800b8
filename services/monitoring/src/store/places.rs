//! Where objects lie, and which application a name means.

use gantry_kernel::{AppId, OffsetDateTime, SpaceId, Uuid};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};
use sqlx::PgPool;

use crate::domain::record::Place;

fn statement(sql: &str, values: impl IntoIterator<Item = sea_orm::Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

/// Remembers `place` of an object's first event (`first`), and completes what a later event leaves out.
///
/// # Errors
/// When the database refuses.
pub async fn complete(tx: &DatabaseTransaction, object: &str, place: Place, first: bool) -> Result<Place, DbErr> {
    if first {
        let sql = "insert into objects (object, org, project, space, name) values ($1, $2, $3, $4, $5) on conflict (object) do nothing";
        tx.execute_raw(statement(sql, [object.into(), place.org.into(), place.project.into(), place.space.into(), place.name.clone().into()])).await?;
        return Ok(place);
    }
    let Some(row) = tx.query_one_raw(statement("select org, project, space, name from objects where object = $1", [object.into()])).await? else {
        return Ok(place);
    };
    Ok(Place {
        org: place.org.or(row.try_get("", "org")?),
        project: place.project.or(row.try_get("", "project")?),
        space: place.space.or(row.try_get("", "space")?),
        name: place.name.or(row.try_get("", "name")?),
    })
}

/// # Errors
/// When the database refuses.
pub async fn app_created(tx: &DatabaseTransaction, app: AppId, space: SpaceId, name: &str, at: OffsetDateTime) -> Result<(), DbErr> {
    let sql = "insert into apps (app, space, name, created_at) values ($1, $2, $3, $4) on conflict (app) do nothing";
    tx.execute_raw(statement(sql, [app.0.into(), space.0.into(), name.into(), at.into()])).await?;
    Ok(())
}

/// # Errors
/// When the database refuses.
pub async fn app_deleted(tx: &DatabaseTransaction, app: AppId, at: OffsetDateTime) -> Result<(), DbErr> {
    tx.execute_raw(statement("update apps set deleted_at = $2 where app = $1", [app.0.into(), at.into()])).await?;
    Ok(())
}

/// The application of that name; of several over time the newest, so that the logs of a deleted one stay readable until its name is reused.
///
/// # Errors
/// When the database refuses.
pub async fn app_by_name(pool: &PgPool, space: SpaceId, name: &str) -> Result<Option<AppId>, sqlx::Error> {
    let sql = "select app from apps where space = $1 and name = $2 order by deleted_at is null desc, created_at desc limit 1";
    Ok(sqlx::query_scalar::<_, Uuid>(sql).bind(space.0).bind(name).fetch_optional(pool).await?.map(AppId))
}

/// Whether an object was ever heard of, e.g. `node:<name>`.
///
/// # Errors
/// When the database refuses.
pub async fn is_known(pool: &PgPool, object: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select 1 from objects where object = $1)").bind(object).fetch_one(pool).await
}
