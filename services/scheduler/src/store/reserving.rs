//! Reservations at billing that may be for nothing: what is about to be accepted is reserved first, and a process can end between the two;
//! or billing could not be told what an application holds by now.

use gantry_kernel::{AppId, OrgId, ProjectId, Uuid};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, QueryResult, Statement, Value};

/// One that has to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    pub id: Uuid,
    pub app: AppId,
    pub org: OrgId,
    pub project: ProjectId,
}

fn asked(sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

/// Before billing is asked. `id` is this request's own: two may be under way for one application.
///
/// # Errors
/// When the database refuses; so for all of this.
pub async fn begin(db: &DatabaseConnection, of: &Left) -> Result<(), DbErr> {
    let sql = "insert into reserving (id, app, org, project, at) values ($1, $2, $3, $4, now())";
    db.execute_raw(asked(sql, [of.id.into(), of.app.0.into(), of.org.0.into(), of.project.0.into()])).await?;
    Ok(())
}

/// Billing has what is right.
pub async fn end(db: &DatabaseConnection, id: Uuid) -> Result<(), DbErr> {
    db.execute_raw(asked("delete from reserving where id = $1", [id.into()])).await?;
    Ok(())
}

/// It is over, and what billing has may be wrong: nobody has to wait longer.
pub async fn hasten(db: &DatabaseConnection, id: Uuid) -> Result<(), DbErr> {
    db.execute_raw(asked("update reserving set at = to_timestamp(0) where id = $1", [id.into()])).await?;
    Ok(())
}

/// It could not be set right now.
pub async fn postpone(db: &DatabaseConnection, id: Uuid) -> Result<(), DbErr> {
    db.execute_raw(asked("update reserving set at = now() where id = $1", [id.into()])).await?;
    Ok(())
}

/// Billing does not know what an application holds. `soon`: it was away, and is told as soon as it is back; else in five minutes. Either way
/// it goes behind those that wait already: what is refused each time must not stand before them for ever.
pub async fn owe(db: &DatabaseConnection, app: AppId, org: OrgId, project: ProjectId, soon: bool) -> Result<(), DbErr> {
    // One for each application, however often it is tried.
    let sql = "insert into reserving (id, app, org, project, at)
               values ($1, $1, $2, $3, case when $4 then now() - interval '5 minutes' else now() end) on conflict (id) do nothing";
    db.execute_raw(asked(sql, [app.0.into(), org.0.into(), project.0.into(), soon.into()])).await?;
    Ok(())
}

/// Those whose requests are over, or must be: none takes five minutes from its reservation to its append. The oldest first.
pub async fn left(db: &DatabaseConnection, limit: i64) -> Result<Vec<Left>, DbErr> {
    let sql = "select id, app, org, project from reserving where at < now() - interval '5 minutes' order by at, id limit $1";
    let rows = db.query_all_raw(asked(sql, [limit.into()])).await?;
    let one = |row: &QueryResult| -> Result<Left, DbErr> {
        Ok(Left {
            id: row.try_get("", "id")?,
            app: AppId(row.try_get("", "app")?),
            org: OrgId(row.try_get("", "org")?),
            project: ProjectId(row.try_get("", "project")?),
        })
    };
    rows.iter().map(one).collect()
}
