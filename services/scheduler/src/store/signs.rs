//! Signs of an intrusion as rows. Each is an event as well; beside the events, since they are only listed, and nothing is made of them.
//! Who has looked into which is told by `acknowledged`.

use std::collections::BTreeSet;

use gantry_contract::scheduler::InstanceEvent;
use gantry_kernel::{AppId, InstanceId, OffsetDateTime, OrgId, SpaceId};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, QueryResult, Statement, Value};

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Sign {
    /// Of this one alone.
    pub number: i64,
    pub app: AppId,
    pub instance: InstanceId,
    pub node: String,
    pub container: String,
    pub sign: String,
    pub detail: String,
    pub action: String,
    pub at: OffsetDateTime,
    /// None: it is open.
    pub acknowledged: Option<Acknowledged>,
}

/// That somebody has looked into it.
#[derive(Clone, Debug, PartialEq)]
pub struct Acknowledged {
    pub at: OffsetDateTime,
    pub actor: String,
    pub reason: String,
}

const COLUMNS: &str = "s.number, s.app, s.instance, s.node, s.container, s.sign, s.detail, s.action, s.at,
    k.at as acknowledged_at, k.actor as acknowledged_by, k.reason as acknowledged_reason";
const WITH_ACKNOWLEDGED: &str =
    "left join acknowledged_signs k on k.instance = s.instance and k.container = s.container and k.sign = s.sign and k.detail = s.detail";

/// Which are wanted; every one that nothing is said of.
#[derive(Clone, Debug, Default)]
pub struct SignFilter {
    /// The application's name.
    pub app: Option<String>,
    /// program | privilege | connection
    pub sign: Option<String>,
    pub node: Option<String>,
    /// Only those that nobody has looked into.
    pub open: bool,
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
    let sql = format!("select {COLUMNS} from signs s {WITH_ACKNOWLEDGED} where s.org = $1 and s.app = $2 order by s.number desc limit $3");
    let values: [Value; 3] = [org.0.into(), app.0.into(), i64::from(most).into()];
    let rows = db.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    rows.iter().map(read).collect()
}

/// The newest of all applications of a space, at most `most`, each with its application's name.
pub async fn space_signs(db: &DatabaseConnection, space: SpaceId, wanted: &SignFilter, most: u32) -> Result<Vec<(String, Sign)>, DbErr> {
    let sql = format!(
        "select a.name as app_name, {COLUMNS} from signs s join apps a on a.id = s.app {WITH_ACKNOWLEDGED}
        where a.space = $1 and not a.deleted and ($2::text is null or a.name = $2) and ($3::text is null or s.sign = $3) and ($4::text is null or s.node = $4)
        and (not $6::boolean or k.at is null) order by s.number desc limit $5"
    );
    let text = |t: &Option<String>| Value::from(t.clone());
    let values: [Value; 6] = [space.0.into(), text(&wanted.app), text(&wanted.sign), text(&wanted.node), i64::from(most).into(), wanted.open.into()];
    let rows = db.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    rows.iter().map(|r| Ok((r.try_get("", "app_name")?, read(r)?))).collect()
}

/// One of a space, with its application's name.
pub async fn space_sign(db: &DatabaseConnection, space: SpaceId, number: i64) -> Result<Option<(String, Sign)>, DbErr> {
    let sql = format!(
        "select a.name as app_name, {COLUMNS} from signs s join apps a on a.id = s.app {WITH_ACKNOWLEDGED}
        where a.space = $1 and not a.deleted and s.number = $2"
    );
    let values: [Value; 2] = [space.0.into(), number.into()];
    let row = db.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    row.map(|r| Ok((r.try_get("", "app_name")?, read(&r)?))).transpose()
}

fn read(r: &QueryResult) -> Result<Sign, DbErr> {
    let acknowledged_at: Option<OffsetDateTime> = r.try_get("", "acknowledged_at")?;
    let acknowledged = match acknowledged_at {
        Some(at) => Some(Acknowledged { at, actor: r.try_get("", "acknowledged_by")?, reason: r.try_get("", "acknowledged_reason")? }),
        None => None,
    };
    Ok(Sign {
        number: r.try_get("", "number")?,
        app: AppId(r.try_get("", "app")?),
        instance: InstanceId(r.try_get("", "instance")?),
        node: r.try_get("", "node")?,
        container: r.try_get("", "container")?,
        sign: r.try_get("", "sign")?,
        detail: r.try_get("", "detail")?,
        action: r.try_get("", "action")?,
        at: r.try_get("", "at")?,
        acknowledged,
    })
}

/// Of one instance those that are recorded: container, sign, detail.
pub async fn signs_known(db: &DatabaseConnection, instance: InstanceId) -> Result<BTreeSet<(String, String, String)>, DbErr> {
    let sql = "select container, sign, detail from signs where instance = $1";
    let rows = db.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [instance.0.into()])).await?;
    rows.iter().map(|r| Ok((r.try_get("", "container")?, r.try_get("", "sign")?, r.try_get("", "detail")?))).collect()
}
