//! Queries of the clients' read model.

use gantry_contract::identity::{ClientSecret, ClientSettings};
use gantry_kernel::{OffsetDateTime, OrgId, Uuid};
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgPool};

#[derive(Clone, Debug)]
pub struct ClientRow {
    pub id: String,
    pub org: Option<Uuid>,
    pub settings: Json<ClientSettings>,
    pub secrets: Json<Vec<ClientSecret>>,
    pub dynamic: bool,
    pub version: i64,
    pub created_at: OffsetDateTime,
    pub changed_at: OffsetDateTime,
}

crate::store::row!(ClientRow { id, org, settings, secrets, dynamic, version, created_at, changed_at });

const COLUMNS: &str = "id, org, settings, secrets, dynamic, version, created_at, changed_at";

pub async fn get(pool: &PgPool, id: &str) -> Result<Option<ClientRow>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from clients where id = $1");
    sqlx::query_as(AssertSqlSafe(sql)).bind(id).fetch_optional(pool).await
}

/// By id, after `after`; those of `org`, or with `None` all of the platform and of every organisation.
pub async fn list(pool: &PgPool, org: Option<OrgId>, after: Option<&str>, limit: i64) -> Result<Vec<ClientRow>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from clients where ($1::uuid is null or org = $1) and id > $2 order by id limit $3");
    sqlx::query_as(AssertSqlSafe(sql)).bind(org.map(|o| o.0)).bind(after.unwrap_or_default()).bind(limit).fetch_all(pool).await
}

/// Whether some client registered `address` to come back to after signing out.
pub async fn logout_redirect(pool: &PgPool, address: &str) -> Result<bool, sqlx::Error> {
    let sql = "select exists (select from clients where settings -> 'post_logout_redirect_uris' @> to_jsonb($1::text))";
    sqlx::query_scalar(sql).bind(address).fetch_one(pool).await
}
