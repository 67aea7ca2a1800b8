//! Clusters as rows, from their events.

use async_trait::async_trait;
use gantry_contract::cluster::ClusterEvent;
use gantry_es::{Recorded, Sealed};
use gantry_es_pg::Projection;
use gantry_kernel::{OffsetDateTime, OrgId, Uuid};
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, QueryResult, Statement, Value};

pub struct ClusterProjection;

#[async_trait]
impl Projection for ClusterProjection {
    fn name(&self) -> &'static str {
        "clusters"
    }

    fn version(&self) -> i32 {
        3
    }

    fn ddl(&self) -> &'static str {
        "create table clusters (id uuid primary key, name text not null unique, org uuid, server text not null, credential text not null, settings jsonb not null,
            access text not null, version bigint not null, added_at timestamptz not null, changed_at timestamptz not null, scope uuid not null,
            lost_at timestamptz, lost_reason text);
         create table cluster_scopes (scope uuid primary key, name text not null, org uuid);
         create index cluster_scopes_name on cluster_scopes (name);"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["clusters", "cluster_scopes"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if !event.is::<ClusterEvent>() {
            return Ok(());
        }
        let (at, version): (Value, Value) = (event.at.into(), event.version.into());
        let event: ClusterEvent = event.decode()?;
        if let ClusterEvent::Added { cluster, name, org, .. } = &event {
            let sql = "insert into cluster_scopes (scope, name, org)
                select $1::uuid, $2::text, $3::uuid where not exists (select 1 from cluster_scopes where name = $2::text and org is not distinct from $3::uuid)";
            let values: [Value; 3] = [(*cluster).into(), name.as_str().into(), org.map(|o| o.0).into()];
            tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
        }
        if let ClusterEvent::Adopted { cluster, scope } = &event {
            // The name goes on with it, also when it is imported anew: with no other.
            let sql =
                "delete from cluster_scopes s using clusters c where c.id = $1 and s.scope <> $2 and s.name = c.name and s.org is not distinct from c.org";
            let values: [Value; 2] = [(*cluster).into(), (*scope).into()];
            tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
            let sql = "update cluster_scopes s set name = c.name, org = c.org from clusters c where c.id = $1 and s.scope = $2";
            let values: [Value; 2] = [(*cluster).into(), (*scope).into()];
            tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
        }
        let (sql, values) = match event {
            ClusterEvent::Added { cluster, name, org, server, credential, settings, access } => (
                "insert into clusters (id, name, org, server, credential, settings, access, version, added_at, changed_at, scope) values ($1, $4, $5, $6, $7, $8, $9, $2, $3, $3,
                    (select scope from cluster_scopes where name = $4 and org is not distinct from $5))",
                vec![
                    cluster.into(),
                    version,
                    at,
                    name.as_str().into(),
                    org.map(|o| o.0).into(),
                    server.into(),
                    credential.into(),
                    settings.into(),
                    access.0.into(),
                ],
            ),
            ClusterEvent::AccessChanged { cluster, server, credential, access } => (
                "update clusters set server = $4, credential = $5, access = $6, version = $2, changed_at = $3 where id = $1",
                vec![cluster.into(), version, at, server.into(), credential.into(), access.0.into()],
            ),
            ClusterEvent::SettingsChanged { cluster, settings } => {
                ("update clusters set settings = $4, version = $2, changed_at = $3 where id = $1", vec![cluster.into(), version, at, settings.into()])
            }
            ClusterEvent::Removed { cluster } => ("delete from clusters where id = $1", vec![cluster.into()]),
            ClusterEvent::Adopted { cluster, scope } => {
                ("update clusters set scope = $4, version = $2, changed_at = $3 where id = $1", vec![cluster.into(), version, at, scope.into()])
            }
            ClusterEvent::Lost { cluster, reason } => {
                ("update clusters set lost_at = $3, lost_reason = $4, version = $2 where id = $1", vec![cluster.into(), version, at, reason.into()])
            }
            ClusterEvent::Returned { cluster } => {
                ("update clusters set lost_at = null, lost_reason = null, version = $2 where id = $1", vec![cluster.into(), version])
            }
        };
        tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
        Ok(())
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    pub id: Uuid,
    /// What its objects are labelled with: the id of the first import of this name by this organisation. So what an earlier
    /// import has made is known again, and labels in fields that cannot be changed stay right.
    pub scope: Uuid,
    pub name: String,
    /// Whose it is; none: the platform's.
    pub org: Option<OrgId>,
    pub server: String,
    /// token | certificate | exec | in-cluster
    pub credential: String,
    /// `domain::cluster::ClusterSettings`
    pub settings: serde_json::Value,
    /// Opened only to connect.
    pub access: Sealed,
    /// Of the stream: the ETag.
    pub version: i64,
    pub added_at: OffsetDateTime,
    pub changed_at: OffsetDateTime,
    /// Since when it is lost, and why, if it is.
    pub lost: Option<(OffsetDateTime, String)>,
}

const COLUMNS: &str = "select id, name, org, server, credential, settings, access, version, added_at, changed_at, scope, lost_at, lost_reason from clusters";

fn row(r: &QueryResult) -> Result<Cluster, DbErr> {
    Ok(Cluster {
        id: r.try_get("", "id")?,
        scope: r.try_get("", "scope")?,
        name: r.try_get("", "name")?,
        org: r.try_get::<Option<Uuid>>("", "org")?.map(OrgId),
        server: r.try_get("", "server")?,
        credential: r.try_get("", "credential")?,
        settings: r.try_get("", "settings")?,
        access: Sealed(r.try_get("", "access")?),
        version: r.try_get("", "version")?,
        added_at: r.try_get("", "added_at")?,
        changed_at: r.try_get("", "changed_at")?,
        lost: r.try_get::<Option<OffsetDateTime>>("", "lost_at")?.zip(r.try_get::<Option<String>>("", "lost_reason")?),
    })
}

/// All of them, by name: who may know which is the caller's to say.
///
/// # Errors
/// When the database refuses; so for all of this.
pub async fn clusters(db: &DatabaseConnection) -> Result<Vec<Cluster>, DbErr> {
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, format!("{COLUMNS} order by name"))).await?;
    rows.iter().map(row).collect()
}

pub async fn cluster(db: &DatabaseConnection, name: &str) -> Result<Option<Cluster>, DbErr> {
    let sql = format!("{COLUMNS} where name = $1");
    let found = db.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [name.into()])).await?;
    found.as_ref().map(row).transpose()
}

/// The name, and whose it was, of the import that objects with this label were made through.
///
/// # Errors
/// When the database refuses.
pub async fn cluster_scope(db: &DatabaseConnection, scope: Uuid) -> Result<Option<(String, Option<OrgId>)>, DbErr> {
    let sql = "select name, org from cluster_scopes where scope = $1";
    let found = db.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [scope.into()])).await?;
    found.map(|r| Ok((r.try_get("", "name")?, r.try_get::<Option<Uuid>>("", "org")?.map(OrgId)))).transpose()
}
