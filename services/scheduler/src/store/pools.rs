//! The pools of public addresses as one row, from their events; and who has which address.

use async_trait::async_trait;
use gantry_contract::scheduler::PoolEvent;
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use gantry_kernel::Uuid;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, FromQueryResult, Statement, Value};

use super::entities::{app, instance, revision};

pub struct PoolProjection;

#[async_trait]
impl Projection for PoolProjection {
    fn name(&self) -> &'static str {
        "address_pools"
    }

    fn version(&self) -> i32 {
        1
    }

    fn ddl(&self) -> &'static str {
        "create table address_pools (one boolean primary key default true check (one), pools jsonb not null, version bigint not null)"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["address_pools"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if !event.is::<PoolEvent>() {
            return Ok(());
        }
        let version: Value = event.version.into();
        let (sql, values) = match event.decode()? {
            PoolEvent::Set { pool, addresses, orgs } => (
                "insert into address_pools (pools, version) values (jsonb_build_object($2::text, $3::jsonb), $1)
                 on conflict (one) do update set pools = address_pools.pools || excluded.pools, version = excluded.version",
                vec![version, pool.as_str().into(), serde_json::json!({ "addresses": addresses, "orgs": orgs }).into()],
            ),
            PoolEvent::Deleted { pool } => ("update address_pools set pools = pools - $2::text, version = $1", vec![version, pool.as_str().into()]),
        };
        tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
        Ok(())
    }
}

/// All pools by name, as events have them, and the version of their stream; nothing before the first.
///
/// # Errors
/// When the database refuses; so for all of this file.
pub async fn pools(db: &DatabaseConnection) -> Result<Option<(serde_json::Value, i64)>, DbErr> {
    let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, "select pools, version from address_pools")).await?;
    row.map(|r| Ok((r.try_get("", "pools")?, r.try_get("", "version")?))).transpose()
}

/// The names that are claimed in a scope, with the stream that has each.
pub async fn claimed(db: &DatabaseConnection, scope: &str) -> Result<Vec<(String, String)>, DbErr> {
    let sql = "select name, stream from claims where scope = $1";
    let rows = db.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [scope.into()])).await?;
    rows.iter().map(|r| Ok((r.try_get("", "name")?, r.try_get("", "stream")?))).collect()
}

/// What a stream has of these scopes: (scope, name).
pub async fn claimed_by(db: &DatabaseConnection, stream: &str, scopes: &[String]) -> Result<Vec<(String, String)>, DbErr> {
    let sql = "select scope, name from claims where scope = any($1) and stream = $2";
    let values = [scopes.to_vec().into(), stream.into()];
    let rows = db.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    rows.iter().map(|r| Ok((r.try_get("", "scope")?, r.try_get("", "name")?))).collect()
}

fn of(sql: &str, apps: &[Uuid]) -> Statement {
    // One array: thousands of ids would be as many parameters.
    Statement::from_sql_and_values(DbBackend::Postgres, sql, [apps.to_vec().into()])
}

/// The rows of these, also of deleted ones.
pub async fn holders(db: &DatabaseConnection, apps: &[Uuid]) -> Result<Vec<app::Model>, DbErr> {
    app::Model::find_by_statement(of("select * from apps where id = any($1)", apps)).all(db).await
}

/// Their instances that have not ended.
pub async fn holders_alive(db: &DatabaseConnection, apps: &[Uuid]) -> Result<Vec<instance::Model>, DbErr> {
    instance::Model::find_by_statement(of("select * from instances where app = any($1) and ended_at is null order by id", apps)).all(db).await
}

/// Their revisions that are at work, and those that are being replaced.
pub async fn holders_serving(db: &DatabaseConnection, apps: &[Uuid]) -> Result<Vec<revision::Model>, DbErr> {
    let sql = "select r.* from revisions r join apps a on a.id = r.app where a.id = any($1) and r.revision in (a.current, coalesce(a.release_from, a.current))";
    revision::Model::find_by_statement(of(sql, apps)).all(db).await
}
