//! Signs of an intrusion as rows. Each is an event as well; beside the events, since they are only listed, and nothing is made of them.

use std::collections::BTreeSet;

use gantry_contract::scheduler::InstanceEvent;
use gantry_kernel::{AppId, InstanceId, OffsetDateTime, OrgId};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement, Value};

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Sign {
    pub instance: InstanceId,
    pub node: String,
    pub container: String,
    pub sign: String,
    pub detail: String,
    pub action: String,
    pub at: OffsetDateTime,
}

/// Keeps those among the events.
///
/// # Errors
/// When the database refuses; so for all of this.
pub async fn save_signs(db: &DatabaseConnection, events: &[InstanceEvent], now: OffsetDateTime) -> Result<(), DbErr> {
    for event in events {
        let InstanceEvent::Suspected { instance, app, org, node, container, sign, detail, action } = event else { continue };
        let sql = "insert into signs (instance, app, org, node, container, sign, detail, action, at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing";
        let text = |t: &str| Value::from(t);
        let ids = [instance.0, app.0, org.0].map(Value::from);
        let words = [text(node.as_str()), text(container), text(sign), text(detail), text(action), Value::from(now)];
        let values: Vec<Value> = ids.into_iter().chain(words).collect();
        db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    }
    Ok(())
}

/// The newest of an application, at most `most`.
pub async fn signs(db: &DatabaseConnection, org: OrgId, app: AppId, most: u32) -> Result<Vec<Sign>, DbErr> {
    let sql = "select instance, node, container, sign, detail, action, at from signs where org = $1 and app = $2 order by number desc limit $3";
    let values: [Value; 3] = [org.0.into(), app.0.into(), i64::from(most).into()];
    let rows = db.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    rows.iter()
        .map(|r| {
            Ok(Sign {
                instance: InstanceId(r.try_get("", "instance")?),
                node: r.try_get("", "node")?,
                container: r.try_get("", "container")?,
                sign: r.try_get("", "sign")?,
                detail: r.try_get("", "detail")?,
                action: r.try_get("", "action")?,
                at: r.try_get("", "at")?,
            })
        })
        .collect()
}

/// Of one instance those that are recorded: container, sign, detail.
pub async fn signs_known(db: &DatabaseConnection, instance: InstanceId) -> Result<BTreeSet<(String, String, String)>, DbErr> {
    let sql = "select container, sign, detail from signs where instance = $1";
    let rows = db.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [instance.0.into()])).await?;
    rows.iter().map(|r| Ok((r.try_get("", "container")?, r.try_get("", "sign")?, r.try_get("", "detail")?))).collect()
}
