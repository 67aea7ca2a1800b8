//! What an operator does to a projection: each is recorded in the log before it is done.

use gantry_es::{EventData, Meta, ProjectionEvent, StreamId};

use crate::append::Append;
use crate::log::Log;

/// Passes over the one event that a projection cannot take in.
///
/// # Errors
/// When the projection does not stand still right before `position`.
pub async fn skip(log: &Log, name: &str, position: i64, meta: Meta) -> anyhow::Result<()> {
    let stands: Option<i64> =
        sqlx::query_scalar("select position from projections where name = $1 and error is not null").bind(name).fetch_optional(&log.db.pool).await?;
    anyhow::ensure!(stands == Some(position - 1), "projection {name} does not stand still right before position {position}; see `gantryd admin projections`");
    record(log, name, ProjectionEvent::EventSkipped { projection: name.to_owned(), position }, meta).await?;
    sqlx::query("update projections set position = $2, error = null where name = $1 and position = $2 - 1")
        .bind(name)
        .bind(position)
        .execute(&log.db.pool)
        .await?;
    Ok(())
}

/// Asks the running service to build a projection anew beside the live one, which serves until the two are swapped.
/// [`crate::checkpoints`] shows when it is done; a service that does not run does it when it starts.
///
/// # Errors
/// When there is no such projection.
pub async fn request_rebuild(log: &Log, name: &str, meta: Meta) -> anyhow::Result<()> {
    let known: Vec<String> = sqlx::query_scalar("select name from projections order by name").fetch_all(&log.db.pool).await?;
    anyhow::ensure!(known.iter().any(|k| k == name), "there is no projection `{name}`; {} has {}", log.origin, known.join(", "));
    record(log, name, ProjectionEvent::RebuildRequested { projection: name.to_owned() }, meta).await?;
    sqlx::query("update projections set rebuild_since = now(), rebuild_error = null where name = $1").bind(name).execute(&log.db.pool).await?;
    Ok(())
}

async fn record(log: &Log, name: &str, event: ProjectionEvent, meta: Meta) -> anyhow::Result<()> {
    log.append(Append::one(StreamId::of::<ProjectionEvent>(name), None, vec![event.encode()], meta)).await?;
    Ok(())
}
