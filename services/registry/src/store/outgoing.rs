//! Which projects have webhooks, or replications that go by events: what the projection `outgoing` looks at for every event.

use gantry_contract::registry::flow::{Replication, Webhook};
use gantry_kernel::Uuid;
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement};
use serde::{Deserialize, Serialize};

/// Without secrets: those are with the settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outgoing {
    pub webhooks: Vec<Webhook>,
    pub replications: Vec<Replication>,
}

/// Whether any project has.
///
/// # Errors
/// Database.
pub async fn any(db: &impl ConnectionTrait) -> anyhow::Result<bool> {
    let row = db.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, "select exists (select from outgoing) as there", [])).await?;
    Ok(row.map(|row| row.try_get("", "there")).transpose()?.unwrap_or(false))
}

/// # Errors
/// Database, or a stored document of another shape.
pub async fn find(db: &impl ConnectionTrait, project: Uuid) -> anyhow::Result<Option<Outgoing>> {
    #[derive(FromQueryResult)]
    struct Row {
        kept: serde_json::Value,
    }
    let sql = "select kept from outgoing where project = $1";
    let row = Row::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, [project.into()])).one(db).await?;
    Ok(row.map(|r| serde_json::from_value(r.kept)).transpose()?)
}

/// # Errors
/// Database.
pub async fn keep(db: &impl ConnectionTrait, project: Uuid, outgoing: &Outgoing) -> anyhow::Result<()> {
    let sql = if *outgoing == Outgoing::default() {
        "delete from outgoing where project = $1 and $2::json is not null"
    } else {
        "insert into outgoing (project, kept) values ($1, $2) on conflict (project) do update set kept = excluded.kept"
    };
    db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [project.into(), serde_json::to_value(outgoing)?.into()])).await?;
    Ok(())
}
