//! Why instances are where they are: what the planner found when it placed them. Beside the events, since only the present
//! ones matter and they hold the findings about other nodes.

use std::collections::BTreeMap;

use gantry_kernel::{AppId, InstanceId};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};

use crate::domain::placement::Chosen;

/// Records decisions; those of instances that ended some time ago are forgotten.
///
/// # Errors
/// When the database refuses.
pub async fn save(db: &DatabaseConnection, app: AppId, made: &[(InstanceId, Chosen)]) -> Result<(), DbErr> {
    if made.is_empty() {
        return Ok(());
    }
    let sql = "delete from decisions d where d.app = $1 and d.at < now() - interval '1 day'
               and not exists (select 1 from instances i where i.id = d.instance and i.ended_at is null)";
    db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [app.0.into()])).await?;
    // All with one statement: a release may place a thousand in one round.
    let all = serde_json::to_value(made).map_err(|e| DbErr::Custom(e.to_string()))?;
    let sql = "insert into decisions (instance, app, chosen, at) select (pair ->> 0)::uuid, $1::uuid, pair -> 1, now() from jsonb_array_elements($2::jsonb) as made(pair)
               on conflict (instance) do nothing";
    db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [app.0.into(), all.into()])).await?;
    Ok(())
}

/// Of an application's instances.
///
/// # Errors
/// When the database refuses.
pub async fn load(db: &DatabaseConnection, app: AppId) -> Result<BTreeMap<InstanceId, Chosen>, DbErr> {
    let sql = "select instance, chosen from decisions where app = $1";
    let rows = db.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [app.0.into()])).await?;
    let mut out = BTreeMap::new();
    for row in rows {
        let chosen: serde_json::Value = row.try_get("", "chosen")?;
        // As an older version wrote it: what cannot be read any more is not shown.
        if let Ok(chosen) = serde_json::from_value(chosen) {
            out.insert(InstanceId(row.try_get("", "instance")?), chosen);
        }
    }
    Ok(out)
}
