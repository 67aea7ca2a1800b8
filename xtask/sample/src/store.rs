//! All SQL of this service.

use gantry_es_pg::Db;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};

/// Text and version of an item.
pub async fn item(db: &Db, name: &str) -> Result<Option<(String, i64)>, sqlx::Error> {
    sqlx::query_as("select text, version from items where name = $1").bind(name).fetch_optional(&db.pool).await
}

pub async fn put(tx: &DatabaseTransaction, name: String, text: String, version: i64) -> Result<(), DbErr> {
    let sql = "insert into items (name, text, version) values ($1, $2, $3)
               on conflict (name) do update set text = excluded.text, version = excluded.version";
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [name.into(), text.into(), version.into()])).await?;
    Ok(())
}
