//! How many instances workloads that follow measures shall have, why, and what was recommended lately. Beside the events:
//! only changes of the number are worth one.

use std::collections::BTreeMap;

use gantry_kernel::{AppId, Name, OffsetDateTime};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};

use crate::domain::scaling::History;

/// The last look at one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scaled {
    pub replicas: u32,
    pub reason: String,
    pub history: History,
    pub at: OffsetDateTime,
}

/// # Errors
/// When the database refuses.
pub async fn save(db: &DatabaseConnection, app: AppId, workload: &Name, scaled: &Scaled) -> Result<(), DbErr> {
    let sql = "insert into scalings (app, workload, replicas, reason, history, at) values ($1, $2, $3, $4, $5, $6)
               on conflict (app, workload) do update set replicas = excluded.replicas, reason = excluded.reason, history = excluded.history, at = excluded.at";
    let history = serde_json::to_value(&scaled.history).map_err(|e| DbErr::Custom(e.to_string()))?;
    let replicas = i32::try_from(scaled.replicas).unwrap_or(i32::MAX);
    let values = [app.0.into(), workload.as_str().into(), replicas.into(), scaled.reason.clone().into(), history.into(), scaled.at.into()];
    db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}

/// The last looks at an application's workloads.
#[derive(Debug, Default)]
pub struct Scalings {
    pub known: BTreeMap<Name, Scaled>,
    /// Workloads of which what was recommended cannot be read, and why; in `known` they have no history.
    pub unreadable: Vec<(String, String)>,
}

/// # Errors
/// When the database refuses.
pub async fn load(db: &DatabaseConnection, app: AppId) -> Result<Scalings, DbErr> {
    let sql = "select workload, replicas, reason, history, at from scalings where app = $1";
    let rows = db.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [app.0.into()])).await?;
    let mut out = Scalings::default();
    for row in rows {
        let (workload, history): (String, serde_json::Value) = (row.try_get("", "workload")?, row.try_get("", "history")?);
        let name = match Name::parse(&workload) {
            Ok(name) => name,
            Err(error) => {
                out.unreadable.push((workload, error.to_string()));
                continue;
            }
        };
        let replicas = u32::try_from(row.try_get::<i32>("", "replicas")?).unwrap_or(0);
        let history = serde_json::from_value(history).unwrap_or_else(|error| {
            out.unreadable.push((workload, error.to_string()));
            History::default()
        });
        out.known.insert(name, Scaled { replicas, reason: row.try_get("", "reason")?, history, at: row.try_get("", "at")? });
    }
    Ok(out)
}
