//! Why instances wait for a place: the planner's findings at the last attempt. Not events: they change with every breath of
//! a node, and only the present ones matter.

use std::collections::BTreeMap;

use gantry_kernel::{AppId, OffsetDateTime};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};
use serde::{Deserialize, Serialize};

use crate::domain::placement::{Against, Finding, Remedy, Verdict};

/// What keeps a workload from having all its instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Pending {
    /// How many wait.
    pub instances: u32,
    /// Not about nodes: a dependency, a pause after failures.
    pub reason: String,
    pub findings: Vec<Finding>,
    /// How many nodes were looked at.
    #[serde(default)]
    pub nodes: u32,
    #[serde(default)]
    pub against: Vec<Against>,
    #[serde(default)]
    pub remedies: Vec<Remedy>,
}

impl Pending {
    /// Not about nodes.
    pub fn because(instances: u32, reason: String) -> Self {
        Self { instances, reason, findings: Vec::new(), nodes: 0, against: Vec::new(), remedies: Vec::new() }
    }

    pub fn without_place(verdict: &Verdict, reason: String) -> Self {
        let Verdict { nodes, against, remedies, findings, .. } = verdict.clone();
        Self { instances: 0, reason, findings, nodes, against, remedies }
    }
}

/// Replaces what is recorded of an application; `since` of a workload that goes on waiting stays.
///
/// # Errors
/// When the database refuses.
pub async fn save(db: &DatabaseConnection, app: AppId, pending: &BTreeMap<String, Pending>, now: OffsetDateTime) -> Result<(), DbErr> {
    let workloads: Vec<String> = pending.keys().cloned().collect();
    let sql = "delete from pending where app = $1 and not (workload = any($2))";
    db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [app.0.into(), workloads.into()])).await?;
    for (workload, one) in pending {
        let findings = serde_json::to_value(one).map_err(|e| DbErr::Custom(e.to_string()))?;
        let sql = "insert into pending (app, workload, findings, since) values ($1, $2, $3, $4) on conflict (app, workload) do update set findings = excluded.findings";
        db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [app.0.into(), workload.clone().into(), findings.into(), now.into()])).await?;
    }
    Ok(())
}

/// By workload, with since when.
///
/// # Errors
/// When the database refuses.
pub async fn load(db: &DatabaseConnection, app: AppId) -> Result<BTreeMap<String, (Pending, OffsetDateTime)>, DbErr> {
    let sql = "select workload, findings, since from pending where app = $1";
    let rows = db.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [app.0.into()])).await?;
    let mut out = BTreeMap::new();
    for row in rows {
        let findings: serde_json::Value = row.try_get("", "findings")?;
        let pending = serde_json::from_value(findings).map_err(|e| DbErr::Custom(e.to_string()))?;
        out.insert(row.try_get("", "workload")?, (pending, row.try_get("", "since")?));
    }
    Ok(out)
}
