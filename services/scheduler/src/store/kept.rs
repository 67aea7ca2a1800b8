//! Configs and secrets of spaces as rows, from their events; and since when each revision of an application is at work, which says
//! which newer versions its files follow.

use std::collections::BTreeMap;

use async_trait::async_trait;
use gantry_contract::kept::ConfigEvent;
use gantry_contract::scheduler::AppEvent;
use gantry_es::{Recorded, Sealed};
use gantry_es_pg::Projection;
use gantry_kernel::{AppId, OffsetDateTime, SpaceId, Uuid};
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, QueryResult, Statement, Value};

pub struct KeptProjection;

#[async_trait]
impl Projection for KeptProjection {
    fn name(&self) -> &'static str {
        "kept"
    }

    fn version(&self) -> i32 {
        2
    }

    fn ddl(&self) -> &'static str {
        "create table configs (id uuid primary key, space uuid not null, name text not null, secret boolean not null, immutable boolean not null, salt text not null,
            latest bigint not null default 0, version bigint not null, created_at timestamptz not null, changed_at timestamptz not null, changed_by text not null);
         create unique index configs_name on configs (space, name, secret);
         create table config_versions (config uuid not null, number bigint not null, content text not null, fingerprint text not null, keys jsonb not null, bytes bigint not null,
            reason text not null, came_from bigint, position bigint not null, at timestamptz not null, actor text not null, primary key (config, number));
         create table revisions_since (app uuid not null, revision bigint not null, position bigint not null, primary key (app, revision));"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["configs", "config_versions", "revisions_since"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if event.is::<AppEvent>() {
            return started(tx, event).await;
        }
        if !event.is::<ConfigEvent>() {
            return Ok(());
        }
        let (at, version, actor): (Value, Value, Value) = (event.at.into(), event.version.into(), event.meta.actor.as_str().into());
        match event.decode()? {
            ConfigEvent::Created { config, space, name, secret, immutable, salt, .. } => {
                let sql = "insert into configs (id, space, name, secret, immutable, salt, version, created_at, changed_at, changed_by) values ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)";
                let values = vec![config.into(), space.0.into(), name.into(), secret.into(), immutable.into(), salt.0.into(), version, at, actor];
                run(tx, sql, values).await
            }
            ConfigEvent::Set { config, number, content, fingerprint, keys, bytes, reason, from, .. } => {
                let sql = "insert into config_versions (config, number, content, fingerprint, keys, bytes, reason, came_from, position, at, actor)
                           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
                let number = i64::from(number);
                let values = vec![
                    config.into(),
                    number.into(),
                    content.0.into(),
                    fingerprint.into(),
                    serde_json::to_value(keys)?.into(),
                    i64::try_from(bytes).unwrap_or(i64::MAX).into(),
                    reason.into(),
                    from.map(i64::from).into(),
                    event.position.into(),
                    at.clone(),
                    actor.clone(),
                ];
                run(tx, sql, values).await?;
                let sql = "update configs set latest = $4, version = $2, changed_at = $3, changed_by = $5 where id = $1";
                run(tx, sql, vec![config.into(), version, at, number.into(), actor]).await
            }
            ConfigEvent::Deleted { config, .. } => {
                run(tx, "delete from config_versions where config = $1", vec![config.into()]).await?;
                run(tx, "delete from configs where id = $1", vec![config.into()]).await
            }
        }
    }
}

async fn started(tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
    // The others are many, and large.
    if event.kind != "app.release-started" {
        return Ok(());
    }
    match event.decode()? {
        AppEvent::ReleaseStarted { app, revision, .. } => {
            let sql = "insert into revisions_since (app, revision, position) values ($1, $2, $3) on conflict (app, revision) do update set position = excluded.position";
            run(tx, sql, vec![app.0.into(), i64::try_from(revision).unwrap_or(i64::MAX).into(), event.position.into()]).await
        }
        _ => Ok(()),
    }
}

async fn run(tx: &DatabaseTransaction, sql: &str, values: Vec<Value>) -> anyhow::Result<()> {
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}

/// One config or secret of a space.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub id: Uuid,
    pub space: SpaceId,
    pub name: String,
    pub secret: bool,
    /// It gets no further version.
    pub immutable: bool,
    pub salt: Sealed,
    /// The number of the newest version.
    pub latest: u32,
    /// Of the stream: the ETag.
    pub version: i64,
    pub created_at: OffsetDateTime,
    pub changed_at: OffsetDateTime,
    pub changed_by: String,
}

const COLUMNS: &str = "select id, space, name, secret, immutable, salt, latest, version, created_at, changed_at, changed_by from configs";

fn row(r: &QueryResult) -> Result<Kept, DbErr> {
    Ok(Kept {
        id: r.try_get("", "id")?,
        space: SpaceId(r.try_get("", "space")?),
        name: r.try_get("", "name")?,
        secret: r.try_get("", "secret")?,
        immutable: r.try_get("", "immutable")?,
        salt: Sealed(r.try_get("", "salt")?),
        latest: small(r.try_get("", "latest")?),
        version: r.try_get("", "version")?,
        created_at: r.try_get("", "created_at")?,
        changed_at: r.try_get("", "changed_at")?,
        changed_by: r.try_get("", "changed_by")?,
    })
}

/// One version; contents are opened only where they are needed.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptVersion {
    pub config: Uuid,
    pub number: u32,
    pub content: Sealed,
    pub fingerprint: String,
    /// Each key, and whether its content is no text.
    pub keys: BTreeMap<String, bool>,
    pub bytes: u64,
    pub reason: String,
    /// The version whose content came back.
    pub came_from: Option<u32>,
    pub at: OffsetDateTime,
    pub actor: String,
}

const VERSION_COLUMNS: &str = "select config, number, content, fingerprint, keys, bytes, reason, came_from, at, actor from config_versions";

fn version_row(r: &QueryResult) -> Result<KeptVersion, DbErr> {
    let keys: serde_json::Value = r.try_get("", "keys")?;
    Ok(KeptVersion {
        config: r.try_get("", "config")?,
        number: small(r.try_get("", "number")?),
        content: Sealed(r.try_get("", "content")?),
        fingerprint: r.try_get("", "fingerprint")?,
        keys: serde_json::from_value(keys).map_err(|e| DbErr::Custom(e.to_string()))?,
        bytes: r.try_get::<i64>("", "bytes")?.unsigned_abs(),
        reason: r.try_get("", "reason")?,
        came_from: r.try_get::<Option<i64>>("", "came_from")?.map(small),
        at: r.try_get("", "at")?,
        actor: r.try_get("", "actor")?,
    })
}

fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn asked(sql: String, values: Vec<Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

/// Those of a space, by name.
///
/// # Errors
/// When the database refuses; so for all of this.
pub async fn all_kept(db: &DatabaseConnection, space: SpaceId) -> Result<Vec<Kept>, DbErr> {
    let rows = db.query_all_raw(asked(format!("{COLUMNS} where space = $1 and latest > 0 order by name, secret"), vec![space.0.into()])).await?;
    rows.iter().map(row).collect()
}

pub async fn kept(db: &DatabaseConnection, space: SpaceId, name: &str, secret: bool) -> Result<Option<Kept>, DbErr> {
    Ok(kept_named(db, space, name).await?.into_iter().find(|k| k.secret == secret))
}

/// A config and a secret may have the same name.
pub async fn kept_named(db: &DatabaseConnection, space: SpaceId, name: &str) -> Result<Vec<Kept>, DbErr> {
    let found = db.query_all_raw(asked(format!("{COLUMNS} where space = $1 and name = $2 and latest > 0 order by secret"), vec![space.0.into(), name.into()]));
    found.await?.iter().map(row).collect()
}

pub async fn kept_by_id(db: &DatabaseConnection, id: Uuid) -> Result<Option<Kept>, DbErr> {
    let found = db.query_one_raw(asked(format!("{COLUMNS} where id = $1 and latest > 0"), vec![id.into()])).await?;
    found.as_ref().map(row).transpose()
}

/// The newest version of each of a space's configs.
pub async fn newest_versions(db: &DatabaseConnection, space: SpaceId) -> Result<Vec<KeptVersion>, DbErr> {
    let sql = format!("{VERSION_COLUMNS} v where exists (select 1 from configs c where c.space = $1 and c.id = v.config and c.latest = v.number)");
    let rows = db.query_all_raw(asked(sql, vec![space.0.into()])).await?;
    rows.iter().map(version_row).collect()
}

/// Newest first.
pub async fn kept_versions(db: &DatabaseConnection, config: Uuid) -> Result<Vec<KeptVersion>, DbErr> {
    let rows = db.query_all_raw(asked(format!("{VERSION_COLUMNS} where config = $1 order by number desc limit 500"), vec![config.into()])).await?;
    rows.iter().map(version_row).collect()
}

pub async fn kept_version(db: &DatabaseConnection, config: Uuid, number: u32) -> Result<Option<KeptVersion>, DbErr> {
    let found = db.query_one_raw(asked(format!("{VERSION_COLUMNS} where config = $1 and number = $2"), vec![config.into(), i64::from(number).into()])).await?;
    found.as_ref().map(version_row).transpose()
}

/// The newest version that was set after a revision was last put to work; none: its own counts.
pub async fn followed(db: &DatabaseConnection, config: Uuid, app: AppId, revision: u64) -> Result<Option<u32>, DbErr> {
    let sql = "select max(v.number) as number from config_versions v join revisions_since s on s.app = $2 and s.revision = $3
               where v.config = $1 and v.position > s.position";
    let revision = i64::try_from(revision).unwrap_or(i64::MAX);
    let found = db.query_one_raw(asked(sql.into(), vec![config.into(), app.0.into(), revision.into()])).await?;
    Ok(found.map(|r| r.try_get::<Option<i64>>("", "number")).transpose()?.flatten().map(small))
}
