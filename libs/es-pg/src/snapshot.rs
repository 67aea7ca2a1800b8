//! States of aggregates kept beside the log. Each is sealed with the hash of the event it stands at, so one that was changed,
//! or belongs to another history (a restored database), does not pass for the truth.

use gantry_es::StreamId;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::db::Db;

/// Drafts that may wait to be written; one that finds no room is simply made later.
pub(crate) const WAITING: usize = 64;

/// A state to be kept.
pub(crate) struct Draft {
    pub stream: StreamId,
    pub version: i64,
    pub shape: i32,
    /// Renders the state: not the caller's time is spent on it.
    pub render: Box<dyn FnOnce() -> Result<String, serde_json::Error> + Send>,
}

/// A state as kept.
pub(crate) struct Kept {
    pub version: i64,
    pub state: String,
    seal: Vec<u8>,
}

impl Kept {
    pub async fn read(db: &Db, stream: &StreamId, shape: i32) -> Result<Option<Self>, sqlx::Error> {
        let sql = "select version, state::text, seal from snapshots where stream = $1 and shape = $2";
        let row: Option<(i64, String, Vec<u8>)> = sqlx::query_as(sql).bind(stream.as_str()).bind(shape).fetch_optional(&db.pool).await?;
        Ok(row.map(|(version, state, seal)| Self { version, state, seal }))
    }

    /// Whether it was made at the event with this hash, and is what was made then.
    pub fn belongs_to(&self, hash: &[u8], shape: i32) -> bool {
        self.seal == seal(hash, shape, &self.state)
    }
}

fn seal(hash: &[u8], shape: i32, state: &str) -> Vec<u8> {
    Sha256::new().chain_update(hash).chain_update(shape.to_be_bytes()).chain_update(state).finalize().to_vec()
}

/// Writes drafts, apart from whoever loads or appends.
pub(crate) async fn write_task(db: Db, mut drafts: mpsc::Receiver<Draft>, cancel: CancellationToken) {
    loop {
        let draft = tokio::select! {
            () = cancel.cancelled() => return,
            draft = drafts.recv() => draft,
        };
        let Some(draft) = draft else { return };
        let stream = draft.stream.clone();
        if let Err(error) = write(&db, draft).await {
            tracing::warn!(%stream, error = format!("{error:#}"), "a snapshot could not be kept; the events are read instead");
        }
    }
}

async fn write(db: &Db, draft: Draft) -> anyhow::Result<()> {
    let state = (draft.render)()?;
    let at = (draft.stream.as_str(), draft.version);
    let hash: Vec<u8> = sqlx::query_scalar("select hash from events where stream = $1 and version = $2").bind(at.0).bind(at.1).fetch_one(&db.pool).await?;
    // Whatever stood there is older, of another shape, or was found wanting.
    sqlx::query(
        "insert into snapshots (stream, version, shape, state, seal) values ($1, $2, $3, $4::text::json, $5)
         on conflict (stream) do update set version = excluded.version, shape = excluded.shape, state = excluded.state, seal = excluded.seal",
    )
    .bind(at.0)
    .bind(at.1)
    .bind(draft.shape)
    .bind(&state)
    .bind(seal(&hash, draft.shape, &state))
    .execute(&db.pool)
    .await?;
    Ok(())
}
