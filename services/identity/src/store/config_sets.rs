//! What documents of `gantry apply` named when they were applied last, so that what they do not name any more can be told.

use gantry_es_pg::Expect;
use gantry_kernel::{OffsetDateTime, OrgId, Uuid};
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgPool};

use crate::domain::config_set::Item;

pub const TABLES: &str = "create table configuration_sets (
        org uuid, name text not null, items jsonb not null, version bigint not null, changed_by text not null, changed_at timestamptz not null
    );
    create unique index configuration_sets_name on configuration_sets (coalesce(org, '00000000-0000-0000-0000-000000000000'::uuid), name);";

#[derive(Clone, Debug)]
pub struct SetRow {
    /// None: the platform's.
    pub org: Option<Uuid>,
    pub name: String,
    pub items: Json<Vec<Item>>,
    pub version: i64,
    pub changed_by: String,
    pub changed_at: OffsetDateTime,
}

crate::store::row!(SetRow { org, name, items, version, changed_by, changed_at });

const COLUMNS: &str = "org, name, items, version, changed_by, changed_at";

pub async fn list(pool: &PgPool, org: Option<OrgId>) -> Result<Vec<SetRow>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from configuration_sets where org is not distinct from $1 order by name limit 1000");
    sqlx::query_as(AssertSqlSafe(sql)).bind(org.map(|o| o.0)).fetch_all(pool).await
}

pub async fn get(pool: &PgPool, org: Option<OrgId>, name: &str) -> Result<Option<SetRow>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from configuration_sets where org is not distinct from $1 and name = $2");
    sqlx::query_as(AssertSqlSafe(sql)).bind(org.map(|o| o.0)).bind(name).fetch_optional(pool).await
}

/// The row as it is now; `None`: it is not at the expected version.
pub async fn put(pool: &PgPool, row: &SetRow, expect: Expect) -> Result<Option<SetRow>, sqlx::Error> {
    let expected = match expect {
        Expect::Any => None,
        Expect::Version(version) => Some(version),
    };
    let sql = format!(
        "insert into configuration_sets (org, name, items, version, changed_by, changed_at) select $1, $2, $3, 1, $4, $5 where $6::bigint is null or $6 = 0
             or exists (select from configuration_sets where org is not distinct from $1 and name = $2)
         on conflict (coalesce(org, '00000000-0000-0000-0000-000000000000'::uuid), name) do update
             set items = excluded.items, version = configuration_sets.version + 1, changed_by = excluded.changed_by, changed_at = excluded.changed_at
             where $6::bigint is null or configuration_sets.version = $6
         returning {COLUMNS}"
    );
    let query = sqlx::query_as(AssertSqlSafe(sql)).bind(row.org).bind(&row.name).bind(&row.items).bind(&row.changed_by).bind(row.changed_at);
    query.bind(expected).fetch_optional(pool).await
}

pub async fn delete(pool: &PgPool, org: Option<OrgId>, name: &str) -> Result<bool, sqlx::Error> {
    let sql = "delete from configuration_sets where org is not distinct from $1 and name = $2";
    Ok(sqlx::query(sql).bind(org.map(|o| o.0)).bind(name).execute(pool).await?.rows_affected() > 0)
}
