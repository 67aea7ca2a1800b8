//! What the events of an object have said so far, so that the next one has a `before`.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};
use serde_json::Value;

use crate::domain::history::{Turn, after, part};

/// Takes an event in; gives what it changed, as it was before.
///
/// # Errors
/// When the database refuses.
pub async fn turn(tx: &DatabaseTransaction, object: &str, kind: &str, content: &Value) -> Result<Option<Value>, DbErr> {
    let Some(part) = part(kind, content) else { return Ok(None) };
    let statement = |sql: &str, values: Vec<sea_orm::Value>| Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    let found =
        tx.query_one_raw(statement("select content from object_states where object = $1 and part = $2", vec![object.into(), part.clone().into()])).await?;
    let known: Option<Value> = found.map(|row| row.try_get("", "content")).transpose()?;
    let Turn { before, now } = after(kind, known, content);
    match now {
        Some(now) => {
            let sql =
                "insert into object_states (object, part, content) values ($1, $2, $3) on conflict (object, part) do update set content = excluded.content";
            tx.execute_raw(statement(sql, vec![object.into(), part.into(), now.into()])).await?;
        }
        // What is gone takes its parts along.
        None if part.is_empty() => {
            tx.execute_raw(statement("delete from object_states where object = $1", vec![object.into()])).await?;
        }
        None => {
            tx.execute_raw(statement("delete from object_states where object = $1 and part = $2", vec![object.into(), part.into()])).await?;
        }
    }
    Ok(before)
}
