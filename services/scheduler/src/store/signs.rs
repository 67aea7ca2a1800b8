//! Signs of an intrusion as rows. Each is an event as well; beside the events, since they are only listed, and nothing is made of them.

use std::collections::BTreeSet;

use gantry_contract::scheduler::InstanceEvent;
use gantry_kernel::{AppId, InstanceId, OffsetDateTime, OrgId, SpaceId};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, QueryResult, Statement, Value};

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

/// Which are wanted; every one that nothing is said of.
#[derive(Clone, Debug, Default)]
pub struct SignFilter {
    /// The application's name.
    pub app: Option<String>,
    /// program | privilege | connection
    pub sign: Option<String>,
    pub node: Option<String>,
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
    rows.iter().map(read).collect()
}

/// The newest of all applications of a space, at most `most`, each with its application's name.
pub async fn space_signs(db: &DatabaseConnection, space: SpaceId, wanted: &SignFilter, most: u32) -> Result<Vec<(String, Sign)>, DbErr> {
    let sql = "select a.name as app, s.instance, s.node, s.container, s.sign, s.detail, s.action, s.at from signs s join apps a on a.id = s.app
        where a.space = $1 and not a.deleted and ($2::text is null or a.name = $2) and ($3::text is null or s.sign = $3) and ($4::text is null or s.node = $4)
        order by s.number desc limit $5";
    let text = |t: &Option<String>| Value::from(t.clone());
    let values: [Value; 5] = [space.0.into(), text(&wanted.app), text(&wanted.sign), text(&wanted.node), i64::from(most).into()];
    let rows = db.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    rows.iter().map(|r| Ok((r.try_get("", "app")?, read(r)?))).collect()
}

fn read(r: &QueryResult) -> Result<Sign, DbErr> {
    Ok(Sign {
        instance: InstanceId(r.try_get("", "instance")?),
        node: r.try_get("", "node")?,
        container: r.try_get("", "container")?,
        sign: r.try_get("", "sign")?,
        detail: r.try_get("", "detail")?,
        action: r.try_get("", "action")?,
        at: r.try_get("", "at")?,
    })
}

/// Of one instance those that are recorded: container, sign, detail.
pub async fn signs_known(db: &DatabaseConnection, instance: InstanceId) -> Result<BTreeSet<(String, String, String)>, DbErr> {
    let sql = "select container, sign, detail from signs where instance = $1";
    let rows = db.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [instance.0.into()])).await?;
    rows.iter().map(|r| Ok((r.try_get("", "container")?, r.try_get("", "sign")?, r.try_get("", "detail")?))).collect()
}
