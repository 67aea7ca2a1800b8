//! Reading the projection. Every query of tenant data takes the space, the project or an id that was found by one first.

use std::collections::BTreeMap;

use gantry_kernel::{AppId, InstanceId, OffsetDateTime, SpaceId};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, EntityTrait, ExprTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
    Statement,
};

use super::entities::{app, instance, node, revision};
use crate::domain::jobs::Tries;

type Db = DatabaseConnection;

/// # Errors
/// When the database refuses; so for all of this file.
pub async fn apps(db: &Db, space: SpaceId, after: Option<&str>, limit: u64) -> Result<Vec<app::Model>, DbErr> {
    let mut query = app::Entity::find().filter(app::Column::Space.eq(space.0)).filter(app::Column::Deleted.eq(false)).order_by_asc(app::Column::Name);
    if let Some(after) = after {
        query = query.filter(app::Column::Name.gt(after));
    }
    query.limit(limit).all(db).await
}

pub async fn app(db: &Db, space: SpaceId, name: &str) -> Result<Option<app::Model>, DbErr> {
    app::Entity::find().filter(app::Column::Space.eq(space.0)).filter(app::Column::Name.eq(name)).filter(app::Column::Deleted.eq(false)).one(db).await
}

/// Also a deleted one.
pub async fn app_by_id(db: &Db, id: AppId) -> Result<Option<app::Model>, DbErr> {
    app::Entity::find_by_id(id.0).one(db).await
}

/// Those that the reconciler has to look after: not deleted, or with instances left.
pub async fn cared_for(db: &Db) -> Result<Vec<AppId>, DbErr> {
    let sql = "select id from apps a where not deleted or exists (select 1 from instances i where i.app = a.id and i.ended_at is null) order by id";
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    rows.iter().map(|r| r.try_get::<sea_orm::prelude::Uuid>("", "id").map(AppId)).collect()
}

/// The rows of these, by id.
pub async fn apps_cared_for(db: &Db) -> Result<Vec<app::Model>, DbErr> {
    let sql = "select * from apps a where not deleted or exists (select 1 from instances i where i.app = a.id and i.ended_at is null) order by id";
    app::Model::find_by_statement(Statement::from_string(DbBackend::Postgres, sql)).all(db).await
}

/// An application whose newest revision waits for room in the quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    pub app: AppId,
    pub name: String,
    /// Who brought the revision: `user:<uuid>`.
    pub author: String,
}

impl Queued {
    /// To those who came later.
    pub fn says(&self) -> String {
        format!("`{}` of this space came first", self.name)
    }
}

/// Those of a space that wait for room in the quota, the first first.
pub async fn queued(db: &Db, space: SpaceId) -> Result<Vec<Queued>, DbErr> {
    let sql = "select a.id, a.name, r.actor from apps a join revisions r on r.app = a.id and r.revision = a.current
               where a.space = $1 and a.queued is not null and not a.deleted and not a.stopped order by r.at, a.id";
    let rows = db.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [space.0.into()])).await?;
    rows.iter().map(|r| Ok(Queued { app: AppId(r.try_get("", "id")?), name: r.try_get("", "name")?, author: r.try_get("", "actor")? })).collect()
}

pub async fn revisions(db: &Db, app: AppId) -> Result<Vec<revision::Model>, DbErr> {
    revision::Entity::find().filter(revision::Column::App.eq(app.0)).order_by_desc(revision::Column::Revision).limit(200).all(db).await
}

pub async fn revision(db: &Db, app: AppId, number: i64) -> Result<Option<revision::Model>, DbErr> {
    revision::Entity::find_by_id((app.0, number)).one(db).await
}

/// Replicas set by hand, of all applications that have any.
pub async fn scales(db: &Db) -> Result<Vec<(AppId, serde_json::Value)>, DbErr> {
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, "select id, scale from apps where not deleted and scale <> '{}'")).await?;
    rows.iter().map(|r| Ok((AppId(r.try_get("", "id")?), r.try_get("", "scale")?))).collect()
}

/// Instances that have not ended, by workload and number.
pub async fn alive(db: &Db, app: AppId) -> Result<Vec<instance::Model>, DbErr> {
    let query = instance::Entity::find().filter(instance::Column::App.eq(app.0)).filter(instance::Column::EndedAt.is_null());
    query.order_by_asc(instance::Column::Workload).order_by_asc(instance::Column::Number).order_by_asc(instance::Column::Id).all(db).await
}

/// All of a space's that have not ended.
pub async fn alive_in(db: &Db, space: SpaceId) -> Result<Vec<instance::Model>, DbErr> {
    instance::Entity::find().filter(instance::Column::Space.eq(space.0)).filter(instance::Column::EndedAt.is_null()).all(db).await
}

/// Which of these are recorded for an application, ended ones too.
pub async fn instances_of(db: &Db, app: AppId, ids: &[InstanceId]) -> Result<Vec<instance::Model>, DbErr> {
    let ids: Vec<sea_orm::prelude::Uuid> = ids.iter().map(|i| i.0).collect();
    let query = instance::Entity::find().filter(instance::Column::App.eq(app.0)).filter(instance::Column::Id.is_in(ids));
    query.all(db).await
}

/// Of all applications, ended ones too: what is recorded under these ids.
pub async fn instances(db: &Db, ids: &[sea_orm::prelude::Uuid]) -> Result<Vec<instance::Model>, DbErr> {
    // One array: thousands of ids would be as many parameters.
    let sql = "select * from instances where id = any($1)";
    instance::Model::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, [ids.to_vec().into()])).all(db).await
}

/// Of all applications.
pub async fn all_alive(db: &Db) -> Result<Vec<instance::Model>, DbErr> {
    instance::Entity::find().filter(instance::Column::EndedAt.is_null()).order_by_asc(instance::Column::Id).all(db).await
}

/// Ended instances of an application, newest first.
pub async fn ended(db: &Db, app: AppId, limit: u64) -> Result<Vec<instance::Model>, DbErr> {
    let query = instance::Entity::find().filter(instance::Column::App.eq(app.0)).filter(instance::Column::EndedAt.is_not_null());
    query.order_by_desc(instance::Column::EndedAt).limit(limit).all(db).await
}

/// Of ended instances of these workloads, however many others have ended since: the last one of each number, and those of a revision that ended
/// well (the last 1000).
pub async fn ended_of(db: &Db, app: AppId, revision: i64, workloads: &[String]) -> Result<Vec<instance::Model>, DbErr> {
    let sql = "select * from (select distinct on (workload, number) * from instances
                   where app = $1 and workload = any($3) and ended_at is not null order by workload, number, position desc) l
               union (select * from instances
                   where app = $1 and workload = any($3) and revision = $2 and phase = 'completed' order by position desc limit 1000)";
    let values = [app.0.into(), revision.into(), workloads.to_vec().into()];
    instance::Model::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).all(db).await
}

/// How many instances of a workload that were placed since then have ended, by the phase in which they did.
pub async fn ended_since(db: &Db, app: AppId, workload: &str, since: OffsetDateTime) -> Result<BTreeMap<String, u32>, DbErr> {
    let sql = "select phase, count(*) as n from instances where app = $1 and workload = $2 and placed_at >= $3 and ended_at is not null group by phase";
    let rows = db.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [app.0.into(), workload.into(), since.into()])).await?;
    rows.iter().map(|r| Ok((r.try_get("", "phase")?, u32::try_from(r.try_get::<i64>("", "n")?).unwrap_or(u32::MAX)))).collect()
}

/// When the first of a workload's instances since then was placed, whatever has become of it.
pub async fn first_placed(db: &Db, app: AppId, workload: &str, since: OffsetDateTime) -> Result<Option<OffsetDateTime>, DbErr> {
    let sql = "select min(placed_at) as first from instances where app = $1 and workload = $2 and placed_at >= $3";
    let row = db.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [app.0.into(), workload.into(), since.into()])).await?;
    row.map_or(Ok(None), |row| row.try_get("", "first"))
}

/// What has become of a workload's instances of a revision that were placed after a position of the log.
pub async fn tries(db: &Db, app: AppId, workload: &str, revision: i64, after: i64) -> Result<Tries, DbErr> {
    let sql = "select min(placed_at) as began, count(*) filter (where phase in ('failed', 'lost')) as failed from instances
               where app = $1 and workload = $2 and revision = $3 and position > $4";
    let values = [app.0.into(), workload.into(), revision.into(), after.into()];
    let Some(row) = db.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await? else { return Ok(Tries::default()) };
    Ok(Tries { began: row.try_get("", "began")?, failed: u32::try_from(row.try_get::<i64>("", "failed")?).unwrap_or(u32::MAX) })
}

/// Instances that existed at any moment between the two.
pub async fn alive_between(db: &Db, from: OffsetDateTime, to: OffsetDateTime) -> Result<Vec<instance::Model>, DbErr> {
    let ended_later = Expr::col(instance::Column::EndedAt).is_null().or(Expr::col(instance::Column::EndedAt).gt(from));
    instance::Entity::find().filter(instance::Column::PlacedAt.lt(to)).filter(ended_later).order_by_asc(instance::Column::Id).all(db).await
}

pub async fn nodes(db: &Db) -> Result<Vec<node::Model>, DbErr> {
    node::Entity::find().filter(node::Column::Removed.eq(false)).order_by_asc(node::Column::Name).all(db).await
}

/// Also those that were removed, or are only to come; in no order.
pub async fn all_nodes(db: &Db) -> Result<Vec<node::Model>, DbErr> {
    node::Entity::find().all(db).await
}

/// Those of them that are called so.
pub async fn nodes_named(db: &Db, names: &[String]) -> Result<Vec<node::Model>, DbErr> {
    // One array, as for instances.
    let sql = "select * from nodes where name = any($1)";
    node::Model::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, [names.to_vec().into()])).all(db).await
}

pub async fn node(db: &Db, name: &str) -> Result<Option<node::Model>, DbErr> {
    node::Entity::find_by_id(name.to_owned()).filter(node::Column::Removed.eq(false)).one(db).await
}

/// Also one that was removed, or is only to come.
pub async fn any_node(db: &Db, name: &str) -> Result<Option<node::Model>, DbErr> {
    node::Entity::find_by_id(name.to_owned()).one(db).await
}

/// Whether a node, also one that was removed or is to come, ever showed a certificate of its own.
pub async fn is_certified(db: &Db, name: &str) -> Result<bool, DbErr> {
    Ok(any_node(db, name).await?.is_some_and(|row| row.certified))
}

/// Those that were removed and may not attach.
pub async fn removed_nodes(db: &Db) -> Result<Vec<String>, DbErr> {
    let rows = node::Entity::find().filter(node::Column::Removed.eq(true)).all(db).await?;
    // What was only set for a node that is to come was never removed.
    Ok(rows.into_iter().filter(|row| row.facts != serde_json::Value::Null).map(|row| row.name).collect())
}

/// Up to when usage has been published; `None` before the first time.
pub async fn metered_upto(db: &Db) -> Result<Option<OffsetDateTime>, DbErr> {
    let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, "select upto from metered")).await?;
    row.map(|r| r.try_get("", "upto")).transpose()
}

/// Puts down that usage is published next from where it was published up to, `from`, up to `to`; gives up to when it is: what was put
/// down before and not published to its end is published as it was begun, or its beginning would count twice. `None`: it was published
/// further than `from` meanwhile.
pub async fn meter_next(db: &Db, from: OffsetDateTime, to: OffsetDateTime) -> Result<Option<OffsetDateTime>, DbErr> {
    let sql = "insert into metered as m (upto, next) values ($1, $2)
               on conflict (one) do update set next = case when m.next > m.upto then m.next else excluded.next end where m.upto = excluded.upto
               returning next";
    let row = db.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [from.into(), to.into()])).await?;
    row.map(|r| r.try_get("", "next")).transpose()
}

/// What [`meter_next`] gave is published to its end.
pub async fn metered_next(db: &Db, from: OffsetDateTime, to: OffsetDateTime) -> Result<(), DbErr> {
    let sql = "update metered set upto = next where upto = $1 and next = $2";
    db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [from.into(), to.into()])).await?;
    Ok(())
}

/// What counts for where a space's workloads run, with the version of its stream; `None` if nothing was said.
pub async fn space_rules(db: &Db, space: SpaceId) -> Result<Option<(serde_json::Value, i64)>, DbErr> {
    let sql = "select rules, version from placements where space = $1";
    let row = db.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [space.0.into()])).await?;
    row.map(|r| Ok((r.try_get("", "rules")?, r.try_get("", "version")?))).transpose()
}

/// Of all spaces that said something.
pub async fn all_space_rules(db: &Db) -> Result<Vec<(SpaceId, serde_json::Value)>, DbErr> {
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, "select space, rules from placements")).await?;
    rows.iter().map(|r| Ok((SpaceId(r.try_get("", "space")?), r.try_get("", "rules")?))).collect()
}
