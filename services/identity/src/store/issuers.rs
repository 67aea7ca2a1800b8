//! Outside issuers whose tokens are taken, per organisation or for the platform.

use gantry_kernel::{OffsetDateTime, OrgId, Uuid};
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgPool};

use crate::domain::outsider::TrustedIssuer;

#[derive(Clone, Debug)]
pub struct IssuerRow {
    pub id: Uuid,
    pub org: Option<Uuid>,
    pub name: String,
    pub settings: Json<TrustedIssuer>,
    pub created_at: OffsetDateTime,
}

crate::store::row!(IssuerRow { id, org, name, settings, created_at });

const COLUMNS: &str = "id, org, name, settings, created_at";

/// `false`: the name is taken there.
pub async fn insert(pool: &PgPool, row: &IssuerRow) -> Result<bool, sqlx::Error> {
    let sql = "insert into trusted_issuers (id, org, name, settings, created_at)
               select $1, $2, $3, $4, $5 where not exists (select from trusted_issuers where org is not distinct from $2 and name = $3) on conflict do nothing";
    let done = sqlx::query(sql).bind(row.id).bind(row.org).bind(&row.name).bind(&row.settings).bind(row.created_at).execute(pool).await?;
    Ok(done.rows_affected() > 0)
}

pub async fn list(pool: &PgPool, org: Option<OrgId>) -> Result<Vec<IssuerRow>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from trusted_issuers where org is not distinct from $1 order by name limit 1000");
    sqlx::query_as(AssertSqlSafe(sql)).bind(org.map(|o| o.0)).fetch_all(pool).await
}

pub async fn get(pool: &PgPool, id: Uuid) -> Result<Option<IssuerRow>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from trusted_issuers where id = $1");
    sqlx::query_as(AssertSqlSafe(sql)).bind(id).fetch_optional(pool).await
}

/// As [`get`], if its organisation is still there.
pub async fn trusted(pool: &PgPool, id: Uuid) -> Result<Option<IssuerRow>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from trusted_issuers where id = $1 and (org is null or org in (select id from orgs))");
    sqlx::query_as(AssertSqlSafe(sql)).bind(id).fetch_optional(pool).await
}

/// All that trust this issuer, on the platform and in organisations that are still there.
pub async fn of_issuer(pool: &PgPool, issuer: &str) -> Result<Vec<IssuerRow>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from trusted_issuers where settings ->> 'issuer' = $1 and (org is null or org in (select id from orgs)) limit 1000");
    sqlx::query_as(AssertSqlSafe(sql)).bind(issuer).fetch_all(pool).await
}

pub async fn delete(pool: &PgPool, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("delete from trusted_issuers where id = $1").bind(id).execute(pool).await?;
    Ok(())
}
