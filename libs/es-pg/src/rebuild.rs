//! Builds a projection of the own log anew beside the live one, which goes on serving, and swaps the two at the end.

use gantry_es::Recorded;
use sea_orm::{ConnectionTrait, DatabaseTransaction, TransactionTrait};
use sqlx::{AssertSqlSafe, Executor};

use crate::db::role_of;
use crate::log::Log;
use crate::projection::{Projection, lock_checkpoint, save_checkpoint};

const BATCH: i64 = 2_000;

/// Builds anew and swaps; returns the position at the swap. Running it twice at once is refused by a lock.
///
/// # Errors
/// When an event cannot be applied or the database refuses; the live tables are then untouched.
pub async fn rebuild(log: &Log, projection: &dyn Projection) -> anyhow::Result<i64> {
    let schema = &log.db.schema;
    let beside = format!("{schema}_new_{}", projection.name().replace('-', "_"));
    let role = role_of(schema);
    let mut lock = log.db.admin.acquire().await?;
    let free: bool = sqlx::query_scalar("select pg_try_advisory_lock(hashtext($1))").bind(&beside).fetch_one(&mut *lock).await?;
    anyhow::ensure!(free, "projection {} is being rebuilt already", projection.name());
    let result = build_and_swap(log, projection, schema, &beside, &role).await;
    sqlx::query("select pg_advisory_unlock(hashtext($1))").bind(&beside).execute(&mut *lock).await?;
    if result.is_err() {
        log.db.admin.execute(AssertSqlSafe(format!("drop schema if exists {beside} cascade"))).await?;
    }
    result
}

async fn build_and_swap(log: &Log, projection: &dyn Projection, schema: &str, beside: &str, role: &str) -> anyhow::Result<i64> {
    log.db
        .admin
        .execute(AssertSqlSafe(format!(
            "drop schema if exists {beside} cascade; create schema {beside}; set search_path to {beside}; {}; set search_path to {schema};
             grant usage on schema {beside} to {role}; grant select, insert, update, delete, truncate on all tables in schema {beside} to {role};
             grant usage, select on all sequences in schema {beside} to {role}",
            projection.ddl()
        )))
        .await?;
    let orm = log.db.admin_orm();
    let path = format!("set local search_path to {beside}, {schema}");
    let mut position = 0;
    loop {
        let events = log.read(position, BATCH).await?;
        let Some(last) = events.last().map(|e| e.position) else { break };
        let tx = orm.begin().await?;
        tx.execute_unprepared(&path).await?;
        apply_all(projection, &tx, &events).await?;
        tx.commit().await?;
        position = last;
    }
    // The live runner waits at this lock; what came meanwhile is little.
    let tx = orm.begin().await?;
    let live = lock_checkpoint(&tx, projection.name()).await?;
    tx.execute_unprepared(&path).await?;
    loop {
        let events = log.read(position, BATCH).await?;
        let Some(last) = events.last().map(|e| e.position) else { break };
        apply_all(projection, &tx, &events).await?;
        position = last;
    }
    for table in projection.tables() {
        tx.execute_unprepared(&format!("drop table if exists {schema}.{table} cascade")).await?;
    }
    for table in projection.tables() {
        tx.execute_unprepared(&format!("alter table {beside}.{table} set schema {schema}")).await?;
    }
    tx.execute_unprepared(&format!("drop schema {beside} cascade; set local search_path to {schema}")).await?;
    tx.execute_unprepared(&format!("update projections set version = {} where name = '{}'", projection.version(), projection.name())).await?;
    save_checkpoint(&tx, projection.name(), position.max(live), 0).await?;
    tx.commit().await?;
    Ok(position)
}

async fn apply_all(projection: &dyn Projection, tx: &DatabaseTransaction, events: &[Recorded]) -> anyhow::Result<()> {
    for event in events {
        projection.apply(tx, event).await.map_err(|e| e.context(format!("rebuilding {} at {}", projection.name(), event.position)))?;
    }
    Ok(())
}
