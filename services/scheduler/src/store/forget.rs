//! What is kept beside the events goes with its application.

use gantry_kernel::AppId;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};

/// # Errors
/// When the database refuses.
pub async fn forget(db: &DatabaseConnection, app: AppId) -> Result<(), DbErr> {
    for table in ["cluster_shares", "decisions", "pending", "scalings", "signs"] {
        let sql = format!("delete from {table} where app = $1");
        db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [app.0.into()])).await?;
    }
    Ok(())
}

/// What earlier versions left of applications that are gone.
///
/// # Errors
/// When the database refuses.
pub async fn forget_gone(db: &DatabaseConnection) -> Result<(), DbErr> {
    for table in ["cluster_shares", "decisions", "pending", "scalings", "signs"] {
        let sql = format!(
            "delete from {table} t where exists (select 1 from apps a where a.id = t.app and a.deleted)
             and not exists (select 1 from instances i where i.app = t.app and i.ended_at is null)"
        );
        db.execute_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    }
    Ok(())
}
