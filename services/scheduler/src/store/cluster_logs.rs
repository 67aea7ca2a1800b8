//! Up to when the lines of pods on clusters have been put on the log stream.

use gantry_kernel::{InstanceId, OffsetDateTime};
use sea_orm::prelude::Uuid;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};

/// # Errors
/// When the database refuses; so for all of this.
pub async fn upto(db: &DatabaseConnection, instance: InstanceId) -> Result<Option<OffsetDateTime>, DbErr> {
    let sql = "select upto from cluster_logs where instance = $1";
    let row = db.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [instance.0.into()])).await?;
    row.map(|r| r.try_get("", "upto")).transpose()
}

pub async fn reached(db: &DatabaseConnection, instance: InstanceId, upto: OffsetDateTime) -> Result<(), DbErr> {
    let sql = "insert into cluster_logs (instance, upto) values ($1, $2) on conflict (instance) do update set upto = excluded.upto";
    db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [instance.0.into(), upto.into()])).await?;
    Ok(())
}

/// Their pods are gone.
pub async fn forget(db: &DatabaseConnection, instances: &[InstanceId]) -> Result<(), DbErr> {
    for instance in instances {
        let id: Uuid = instance.0;
        db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, "delete from cluster_logs where instance = $1", [id.into()])).await?;
    }
    Ok(())
}
