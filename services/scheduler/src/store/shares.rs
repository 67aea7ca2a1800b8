//! What each cluster of a space is asked for of an application, as it was decided last. Not events: what came of it is told by
//! those of instances. But where something was decided to be is not decided anew, also after a restart.

use std::collections::BTreeSet;

use gantry_kernel::AppId;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement, TransactionTrait};

/// Of one workload on one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub workload: String,
    pub cluster: String,
    /// Asked for now.
    pub replicas: u32,
    /// Asked for when all that moves has moved.
    pub target: u32,
    /// Why, for a person.
    pub reason: String,
}

/// Replaces what is recorded of an application.
///
/// # Errors
/// When the database refuses; so for all of this.
pub async fn save(db: &DatabaseConnection, app: AppId, shares: &[Share]) -> Result<(), DbErr> {
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let tx = db.begin().await?;
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, "delete from cluster_shares where app = $1", [app.0.into()])).await?;
    for one in shares {
        let sql = "insert into cluster_shares (app, workload, cluster, replicas, target, reason) values ($1, $2, $3, $4, $5, $6)";
        let values: [sea_orm::Value; 6] = [
            app.0.into(),
            one.workload.clone().into(),
            one.cluster.clone().into(),
            number(one.replicas).into(),
            number(one.target).into(),
            one.reason.clone().into(),
        ];
        tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    }
    tx.commit().await
}

/// By workload and cluster.
pub async fn load(db: &DatabaseConnection, app: AppId) -> Result<Vec<Share>, DbErr> {
    let sql = "select workload, cluster, replicas, target, reason from cluster_shares where app = $1 order by workload collate \"C\", cluster collate \"C\"";
    let rows = db.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [app.0.into()])).await?;
    let mut out = Vec::new();
    for r in rows {
        out.push(Share {
            workload: r.try_get("", "workload")?,
            cluster: r.try_get("", "cluster")?,
            replicas: r.try_get::<i32>("", "replicas")?.unsigned_abs(),
            target: r.try_get::<i32>("", "target")?.unsigned_abs(),
            reason: r.try_get("", "reason")?,
        });
    }
    Ok(out)
}

/// Applications that something is recorded of.
pub async fn shared_apps(db: &DatabaseConnection) -> Result<BTreeSet<AppId>, DbErr> {
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, "select distinct app from cluster_shares")).await?;
    rows.iter().map(|r| Ok(AppId(r.try_get("", "app")?))).collect()
}
